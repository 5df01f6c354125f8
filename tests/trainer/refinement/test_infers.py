"""A whole training whose population is inferred, with the fake engine's blobs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.grammars import SHIFTED, write_sprites

from trainer.inference import rounds as inference_rounds
from trainer.inference.deconvolution import Fit
from trainer.inference.population import Population
from trainer.inference.variables import Number, Variables
from trainer.pool import PoolOptions
from trainer.refinement.judge import doubts
from trainer.runs.folder import Run
from trainer.train import TrainOptions, train

#: Little is learned, but all that is kept is kept.
WORLD = (
    SHIFTED
    + """\
  inference: {rounds: 2, simulations: 64, epochs: [1], transport_passes: 1}
  pretraining_steps: 5
  monitor_scenes: 16
  monitor_images: 16
  epochs: 1
  steps: 2
  batch: 4
"""
)


def run_once(world: Path, out: str, *, resume: bool = False) -> Run:
    pool = PoolOptions(engine="fake", workers=1)
    return train(TrainOptions(str(world), world.parent / out, pool=pool, resume=resume))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_once(write_sprites(tmp_path_factory.mktemp("tiny"), WORLD), "run")


@pytest.mark.parametrize("checkpoints", [1, 3])
def test_a_run_that_stops_in_its_preparation_goes_on_to_the_same_bits(
    tiny: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoints: int
):
    kept, saved = Run.save_checkpoint, []

    def stops(self: Run, *given: object) -> None:
        kept(self, *given)  # type: ignore[arg-type]
        saved.append(self)
        if len(saved) == checkpoints:
            raise KeyboardInterrupt

    world = write_sprites(tmp_path, WORLD)
    with monkeypatch.context() as patched:
        patched.setattr(Run, "save_checkpoint", stops)
        with pytest.raises(KeyboardInterrupt):
            run_once(world, "run")
    run = run_once(world, "run", resume=True)
    wanted, found = tiny.load_checkpoint(), run.load_checkpoint()
    assert wanted is not None
    assert found is not None
    for group in ("average", "transformer", "features"):
        for name, value in wanted[1][group].items():
            assert torch.equal(found[1][group][name], value), f"{group}.{name}"
    assert run.summary["population"] == tiny.summary["population"]


def test_a_stage_in_which_nothing_joins_is_not_inferred_again(tmp_path: Path):
    twice = WORLD + "  stages: [{name: first}, {name: second}]\n"
    run = run_once(write_sprites(tmp_path, twice), "run")
    assert [record["stage"] for record in run.records("metrics.jsonl")] == ["first", "second"]
    assert [found["stage"] for found in run.summary["inference"]] == ["first"]


def test_kinds_that_repeat_are_inferred_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inference_rounds, "CORRECTED_BY", 64)
    twice = WORLD.replace("scene: [camera, thing]", "scene: [camera, thing, thing]")
    run = run_once(write_sprites(tmp_path, twice), "run")
    assert any(line.startswith("thing.x:") for line in run.summary["population"])


def test_doubts_name_ends_of_ranges_and_readings_that_nothing_explains():
    variables = Variables("thing", (Number("x", "m", -1.0, 1.0, False, 0.0, 0.1),), ())
    population = Population(variables, np.ones(1), np.array([[0.95]]), np.full((1, 1, 1), 0.01), ())
    unexplained = np.where(np.arange(100) < 30, 0.9, 0.0)
    found = doubts({"thing": Fit(population, 0.0, unexplained, np.ones((1, 1)))})
    assert found == ["30% of the readings of thing fit no component", "thing.x lies at the end of its range (0.95 m)"]
