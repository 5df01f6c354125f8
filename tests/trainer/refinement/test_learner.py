"""A whole training on a small world, with the fake engine's blobs."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from metasim.v1 import render_pb2 as pb
from support.crafted import moving
from support.grammars import SHIFTED, write_sprites

from trainer.errors import InputError
from trainer.features import features_of
from trainer.grammar import load_grammar
from trainer.inference.monitoring import Monitor
from trainer.inference.pretraining import reconstruction_error
from trainer.inference.problem import Problem
from trainer.inference.training_settings import TrainingSettings
from trainer.model.encoding import Encoding
from trainer.pool import PoolOptions
from trainer.progress import Silent
from trainer.rendering import Audits
from trainer.runs.folder import Run
from trainer.runs.loading import open_run
from trainer.train import TrainOptions, train

WORLD = (
    SHIFTED
    + """\
  pretraining_steps: 100
  inference: {rounds: 2, simulations: 600, epochs: [2, 1], transport_passes: 12}
  monitor_scenes: 128
  epochs: 2

"""
)


#: Little is learned, but everything runs.
TINY = {
    f"training.{key}": value
    for key, value in {
        "epochs": 2,
        "steps": 3,
        "batch": 8,
        "pretraining_steps": 5,
        "inference": {"rounds": 1, "simulations": 64, "epochs": [1], "transport_passes": 1},
        "monitor_scenes": 16,
        "monitor_images": 16,
        "target_images": 64,
    }.items()
}


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return write_sprites(tmp_path, WORLD)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that has been trained to its end."""
    return run_once(write_sprites(tmp_path_factory.mktemp("finished"), WORLD), "run", workers=1)


def run_once(world: Path, out: str, workers: int = 1, **options: object) -> Run:
    return train(
        TrainOptions(
            experiment=str(world), out=world.parent / out, **options, pool=PoolOptions(engine="fake", workers=workers)
        )
    )  # type: ignore[arg-type]


def figures(run: Run) -> list[dict]:
    timed = ("seconds", "renders_per_s", "waiting_share", "workers")
    return [
        {key: value for key, value in record.items() if key not in timed} for record in run.records("metrics.jsonl")
    ]


def weights(run: Run) -> dict[str, torch.Tensor]:
    checkpoint = run.load_checkpoint()
    assert checkpoint is not None
    return {f"{group}/{name}": value for group, part in checkpoint[1].items() for name, value in part.items()}


def test_mean_and_spread_reach_the_target(finished: Run) -> None:
    summary = finished.summary
    (prior,), (learned,), (target,) = (summary["attributes"][name] for name in ("prior", "learned", "target"))
    assert prior["mean"] == pytest.approx(0, abs=0.2)
    assert learned["mean"] == pytest.approx(target["mean"], abs=0.5)
    assert learned["std"] == pytest.approx(target["std"], rel=0.3)
    assert abs(summary["mmd"][-1]) < 0.1 * summary["mmd_prior"][0]
    for record in finished.records("metrics.jsonl"):
        assert record["mmd_prior"] == summary["mmd_prior"][0], "of the same renders in every epoch"
        assert record["mmd_batch"] < record["mmd_prior"]
    assert summary["reconstruction_error"]["thing.x"] < 0.01
    assert sorted(path.name for path in (finished.folder / "samples").iterdir()) == [
        f"epoch-{i:03}.png" for i in range(len(finished.records("metrics.jsonl")) + 1)
    ]


def test_the_summary_states_the_population_and_the_verdict(finished: Run) -> None:
    summary = finished.summary
    assert any(line.startswith("thing.x: ") for line in summary["population"])
    assert summary["verdict"]["outcome"] in ("matches", "closer")
    assert set(summary["verdict"]) >= {"text", "matches", "p_value"}
    assert summary["inference"][0]["transport_error"]["thing.x"] < 0.3
    assert "kept" in summary["inference"][0]["descent"]


def test_the_estimator_is_the_feature_space_of_the_run(finished: Run) -> None:
    features = open_run(finished.folder).features
    assert features is not None
    assert features.name == "estimator"


def test_it_learns_from_other_frames_than_data_sets_have(world: Path) -> None:
    small = TINY | {"training.render": {"width": 16, "height": 12}, "training.epochs": 1}
    run = run_once(world, "small", workers=1, overrides=small)
    loaded = open_run(run.folder)
    assert loaded.features is not None
    assert loaded.features.size == (12, 16)
    render = loaded.experiment.grammar.render
    assert (render.height_px, render.width_px) == (32, 32)
    whole = np.random.default_rng(0).integers(0, 255, (2, 24, 32, 3), dtype=np.uint8)
    halved = whole.reshape(2, 12, 2, 16, 2, 3).mean((2, 4))
    expected = loaded.features(torch.from_numpy(halved).permute(0, 3, 1, 2).float() / 255)
    assert torch.allclose(features_of(loaded.features, whole), expected, atol=1e-4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Runs of two epochs that nothing has disturbed, by their start."""

    @functools.cache
    def trained(start: str) -> Run:
        world = write_sprites(tmp_path_factory.mktemp(f"whole-{start}"), WORLD)
        return run_once(world, "whole", overrides=TINY | {"training.start": start})

    return trained


def test_the_number_of_workers_changes_nothing(world: Path, whole: Callable[[str], Run]) -> None:
    one = whole("infer")
    two = run_once(world, "two", workers=2, overrides=TINY | {"training.start": "infer"})

    assert figures(one) == figures(two)
    assert all(torch.equal(value, weights(two)[name]) for name, value in weights(one).items())


@pytest.mark.parametrize("start", ["infer", "prior"])
def test_a_resumed_run_ends_with_the_same_bits(
    world: Path, whole: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    undisturbed = whole(start)

    write_records = Run.write_records

    def killed_in_the_second_epoch(self: Run, name: str, records: list) -> None:
        write_records(self, name, records)
        if name == "metrics.jsonl" and len(records) == 2:  # Written, but not yet in a checkpoint
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "write_records", killed_in_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            run_once(world, "part", workers=1, overrides=TINY | {"training.start": start})
    resumed = run_once(world, "part", workers=1, resume=True)

    assert figures(resumed) == figures(undisturbed)
    assert resumed.records("attributes.jsonl") == undisturbed.records("attributes.jsonl")
    assert all(torch.equal(value, weights(resumed)[name]) for name, value in weights(undisturbed).items())
    assert resumed.summary["features"] == {"infer": "estimator", "prior": "natural"}[start]


def test_a_run_folder_is_never_overwritten(world: Path) -> None:
    (world.parent / "taken").mkdir()

    with pytest.raises(InputError, match="taken exists, and runs are never overwritten: add --resume"):
        run_once(world, "taken")

    assert list((world.parent / "taken").iterdir()) == []


def test_what_a_run_has_learned_can_be_opened(finished: Run) -> None:
    loaded = open_run(finished.folder)

    average = {name: weights(finished)[f"average/{name}"] for name in loaded.transformer.state_dict()}
    assert all(torch.equal(value, average[name]) for name, value in loaded.transformer.state_dict().items())
    assert json.loads((finished.folder / "config.json").read_text())["seed"] == 0


def test_a_world_without_mutable_attributes_has_nothing_to_learn(world: Path) -> None:
    with pytest.raises(InputError, match="has no mutable attribute: mark what may be learned with `mutable: true`"):
        run_once(world, "run", overrides={"thing.x": {"normal": [0, 1], "mutable": False}})

    assert not (world.parent / "run").exists()


def test_an_unfinished_run_cannot_be_opened(finished: Run, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "begun", finished.config)

    with pytest.raises(InputError, match=r"has no checkpoint yet: resume it with `metasim train --resume --out"):
        open_run(run.folder)


def test_reconstruction_errors_are_fractions_of_the_range(world: Path) -> None:
    grammar = load_grammar(world)
    rng = np.random.default_rng(0)
    transformer = moving(Encoding(grammar), {"thing.x": 2.0})

    error = reconstruction_error(transformer, [grammar.sample(rng) for _ in range(20)])

    assert error == {"thing.x": pytest.approx(2.0 / 20, abs=1e-5)}


def test_audits_are_recorded_in_each_epoch(world: Path) -> None:
    quick = {"epochs": 2, "steps": 1, "batch": 4, "pretraining_steps": 1, "start": "prior"}
    overrides = TINY | {f"training.{key}": value for key, value in quick.items()} | {"training.features": "random"}

    run = run_once(world, "audited", workers=1, overrides={**overrides, "training.probing.audit": 1.0})

    for record in run.records("metrics.jsonl"):
        # The fake engine's regions are whole frames.
        assert record["audit"]["cosine"] == pytest.approx(1)
        assert record["audit"]["norm_ratio"] == pytest.approx(1)
        assert record["audit"]["columns"] == 4
        assert record["audit_worst"] == "thing.x"


def test_a_bad_audit_is_told_once(world: Path) -> None:
    told: list[str] = []

    class Told(Silent):
        def note(self, text: str) -> None:
            told.append(text)

    renderer = SimpleNamespace(audits=Audits())
    settings = TrainingSettings.parse({})
    target = np.zeros((2, 32, 32, 3), np.uint8)
    problem = Problem(load_grammar(world), settings, 0, renderer, target, progress=Told())  # type: ignore[arg-type]
    monitor = Monitor(problem)
    for _ in range(2):
        renderer.audits.add("thing.x", pb.Audit(region_norm=3, frame_norm=5, product=9))

        assert monitor.audits()["audit"] == {"cosine": 0.6, "norm_ratio": 0.6, "columns": 1}

    assert len(told) == 1
    assert told[0].startswith("regions of probes miss part of the gradient: cosine 0.6000, norm ratio 0.600")
