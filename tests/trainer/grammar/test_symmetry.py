from pathlib import Path

import pytest
from support.bop import bop_folder, plate

from trainer.experiments import load_experiment
from trainer.experiments.describe import check_text, show_text
from trainer.grammar.symmetry import ambiguities

ROUND = {"symmetries_continuous": [{"axis": [0, 0, 1], "offset": [0, 0, 0]}]}
LYING = {"symmetries_continuous": [{"axis": [0, 1, 0], "offset": [0, 0, 0]}]}
QUARTERS = {"symmetries_discrete": [[0, -1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
                                    [-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]]}  # fmt: skip

WORLD = """
render: {{width: 8, height: 8}}
assets: {{things: {{bop: models}}}}
nodes:
  camera: {{camera: orthographic, fov: 1, z: 2}}
  thing: {{mesh: things, {angles}}}
scene: [camera, thing]
"""

YAW = "yaw: {normal: [0, 10], mutable: true}"


def world(folder: Path, angles: str, *entries: dict) -> Path:
    bop_folder(folder / "models", dict.fromkeys(range(1, len(entries) + 1), plate()), dict(enumerate(entries, 1)))
    (folder / "world.yaml").write_text(WORLD.format(angles=angles))
    return folder / "world.yaml"


def test_yaw_of_a_round_thing_is_meaningless(tmp_path: Path) -> None:
    experiment = load_experiment(world(tmp_path, YAW, ROUND))
    (found,) = ambiguities(experiment.grammar)
    assert (found.kind, found.attribute, found.turn_deg, found.models, found.of, found.mutable) == (
        "thing", "yaw", None, ("obj_000001",), 1, True)  # fmt: skip
    sentence = "thing.yaw cannot be seen: the model looks the same after any such turn"
    assert sentence in check_text(experiment).splitlines()
    assert sentence in show_text(experiment).splitlines()


def test_it_is_said_which_of_the_models(tmp_path: Path) -> None:
    experiment = load_experiment(world(tmp_path, YAW, ROUND, {}, QUARTERS))
    assert [found.text for found in ambiguities(experiment.grammar)] == [
        "thing.yaw cannot be seen for obj_000001 (1 of 3): the model looks the same after any such turn",
        "thing.yaw is only known up to turns by 90 deg for obj_000003 (1 of 3): they look alike",
    ]


@pytest.mark.parametrize(
    ("angles", "entry", "meaningless"),
    [
        (f"{YAW}, pitch: {{normal: [0, 10]}}", ROUND, []),  # The way it leans shows its yaw.
        (f"{YAW}, roll: 90", ROUND, []),
        (f"{YAW}, roll: 90", LYING, ["yaw"]),
        ("yaw: 30", ROUND, []),  # Always the same: nobody asks.
        ("pitch: {uniform: [0, 9]}, yaw: {uniform: [0, 9]}", LYING, ["pitch"]),
        ("pitch: {uniform: [0, 9]}, roll: {uniform: [0, 9]}", LYING, []),
        ("yaw: {uniform: [0, 9]}", {}, []),
    ],
)
def test_other_turns_decide_whether_a_turn_can_be_seen(
    tmp_path: Path, angles: str, entry: dict, meaningless: list[str]
) -> None:
    found = ambiguities(load_experiment(world(tmp_path, angles, entry)).grammar)
    assert [item.attribute for item in found] == meaningless


def test_only_models_that_can_be_drawn_count(tmp_path: Path) -> None:
    path = world(tmp_path, YAW, ROUND, {})
    overrides = {"thing.mesh": {"set": "things", "weights": {"obj_000002": 1.0}}}
    assert ambiguities(load_experiment(path, overrides).grammar) == ()
