"""Which losses and attributes run when."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.grammars import write_sprites

from trainer.errors import InputError
from trainer.grammar import Grammar, load_grammar
from trainer.inference.problem import Problem
from trainer.inference.training_settings import TrainingSettings
from trainer.pool import PoolOptions
from trainer.rendering.columns import plan_columns
from trainer.rendering.probing import Probing
from trainer.runs.loading import open_run, open_stages
from trainer.train import TrainOptions, train

WORLD = """\
unit: px
render: {width: 32, height: 32, samples: 1, filter_width: 0, view_transform: raw}
assets:
  shapes: {images: shapes}
nodes:
  camera: {camera: orthographic, z: 10, fov: {normal: [32, 1], mutable: true, range: [20, 40]}}
  thing:
    class: thing
    sprite: {set: shapes, mutable: true}
    width: 8
    height: 8
    x: {normal: [0, 1], mutable: true, range: [-10, 10]}
    y: {normal: [0, 1], mutable: true, range: [-10, 10]}
scene: [camera, thing]
"""

STREET = """\
render: {width: 64, height: 32, samples: 1}
nodes:
  camera: {camera: perspective, fov: 40, z: {normal: [5, 0.1], mutable: true, range: [4, 6]}}
  car: {mesh: cube, x: {normal: [0, 1], mutable: true, range: [-3, 3]}}
scene: [camera, car, car]
"""


@pytest.fixture
def grammar(tmp_path: Path) -> Grammar:
    return load_grammar(write_sprites(tmp_path, WORLD))


def problem(grammar: Grammar, *stages: dict[str, object]) -> Problem:
    settings = TrainingSettings.parse({"stages": list(stages)} if stages else {})
    return Problem(grammar, settings, 0, SimpleNamespace(), np.zeros((2, 4, 4, 3), np.uint8))  # type: ignore[arg-type]


def test_by_default_one_stage_matches_distributions_with_all_attributes(grammar: Grammar) -> None:
    found = problem(grammar)
    found.check_stages()
    assert [stage.losses for stage in found.settings.stages] == [["mmd"]]
    assert found.active(0) == [0, 1, 2]
    assert found.redrawn(0) == [0, 1, 2]


def test_attributes_join_and_stay(grammar: Grammar) -> None:
    found = problem(
        grammar, {"attributes": ["thing.x"]}, {"attributes": ["camera.*"]}, {"attributes": ["thing.sprite"]}
    )
    names, choices = found.names, found.choice_names
    assert [[names[place] for place in found.active(stage)] for stage in range(3)] == [
        ["thing.x"],
        ["camera.fov", "thing.x"],
        ["camera.fov", "thing.x"],
    ]
    modes = ["camera.mode", "thing.mode"]
    assert [sorted(choices[place] for place in found.redrawn(stage)) for stage in range(3)] == [
        modes,
        modes,
        [*modes, "thing.sprite"],
    ]


def test_only_what_a_stage_learns_is_probed(grammar: Grammar) -> None:
    scenes = [grammar.sample(np.random.default_rng(seed)) for seed in range(4)]
    plan = plan_columns(scenes, Probing(), 0, {("thing", "x")})
    assert [
        [scene.mutable[index].name for index in part.indices] for scene, part in zip(scenes, plan, strict=True)
    ] == [["x"]] * 4


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (
            {"attributes": ["thing.z"]},
            "no mutable attribute is called 'thing.z'; there are: camera.fov, thing.x, thing.y",
        ),
        ({"losses": ["task"]}, "the task loss needs labelled images of the target; there are none"),
    ],
)
def test_a_stage_that_cannot_run_is_refused(grammar: Grammar, stage: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        problem(grammar, stage).check_stages()


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"losses": ["mse"]}, "training.stages.0.losses.0 is 'mse': input should be 'mmd' or 'task'"),
        ({"epoch": 3}, "training.stages.0.epoch is 3: extra inputs are not permitted"),
        ({"losses": []}, r"training.stages.0.losses is \[\]: list should have at least 1 item"),
    ],
)
def test_wrong_stages_are_told_in_one_line(stage: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainingSettings.parse({"stages": [stage]})


TWO_STAGES = """\
target: {count: 16, overrides: {thing.x: {normal: [4, 1]}}}
training:
  stages: [{name: across, attributes: [thing.x]}, {name: up, attributes: [thing.y]}]
  epochs: 1
  steps: 2
  batch: 4
  pretraining_steps: 5
  start: prior
  monitor_scenes: 8
  monitor_images: 0
"""


def test_what_a_stage_ends_with_is_kept(tmp_path: Path) -> None:
    world = write_sprites(tmp_path, WORLD + TWO_STAGES)
    run = train(TrainOptions(experiment=str(world), out=tmp_path / "run", pool=PoolOptions(engine="fake", workers=1)))
    assert [record["stage"] for record in run.records("metrics.jsonl")] == ["across", "up"]
    assert [path.name for path in sorted((run.folder / "stages").iterdir())] == ["1.safetensors", "2.safetensors"]
    loaded = open_run(run.folder)
    across, up = open_stages(loaded)
    names = ["camera.fov", "thing.x", "thing.y"]
    assert [dict(zip(names, each.active.tolist(), strict=True)) for each in (across, up)] == [
        {"camera.fov": False, "thing.x": True, "thing.y": False},
        {"camera.fov": False, "thing.x": True, "thing.y": True},
    ]
    last = loaded.transformer.state_dict()
    assert all(torch.equal(value, last[name]) for name, value in up.state_dict().items())
    assert not torch.equal(across.output.weight, up.output.weight)

    (run.folder / "stages" / "1.safetensors").unlink()
    with pytest.raises(InputError, match=r"run has no weights of its stages: no stage has ended yet, or an older"):
        open_stages(loaded)
