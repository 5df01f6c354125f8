"""`grammar check` and `train` refuse, before anything renders, what a run would fail at."""

from pathlib import Path

import pytest
from support.grammars import SPRITES, write_sprites
from typer.testing import CliRunner

from trainer.cli import app
from trainer.errors import InputError
from trainer.pool import PoolOptions
from trainer.train import TrainOptions, train

TARGET = "target: {count: 4, overrides: {thing.yaw: 30}}\n"


def refusals(tmp_path: Path, text: str) -> tuple[str, str]:
    """Return what `grammar check` and `train` say of a world."""
    world = write_sprites(tmp_path, text)
    checked = CliRunner().invoke(app, ["grammar", "check", str(world)])
    with pytest.raises(InputError) as caught:
        train(TrainOptions(str(world), tmp_path / "run", pool=PoolOptions(renderer="127.0.0.1:1")))
    assert not (tmp_path / "run").exists()
    return str(checked.exception or checked.output), str(caught.value)


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("task: detection-mask-rcnn\n", "task detection-mask-rcnn: KITTI's rules score the class car"),
        ("training: {epochs: 0}\n", "training.epochs is 0: input should be greater than or equal to 1"),
        ("training: {epoch: 3}\n", "training.epoch: unknown key; did you mean 'epochs'"),
        (
            "training: {stages: [{attributes: ['thing.z']}]}\n",
            r"no mutable attribute is called 'thing.z'; there are: thing.",
        ),
        ("max_nodes: 1\n", "a scene has more than 1 nodes"),
    ],
)
def test_what_training_refuses_is_refused_by_check(tmp_path: Path, addition: str, message: str) -> None:
    for said in refusals(tmp_path, SPRITES + TARGET + addition):
        assert message.split("; there")[0] in said


@pytest.mark.parametrize("task", ["classification", "pose"])
def test_a_task_of_one_object_needs_one(tmp_path: Path, task: str) -> None:
    text = SPRITES.replace("thing]", "{kind: thing, count: {integers: [0, 3]}}]") + TARGET
    for said in refusals(tmp_path, text + f"task: {task}\n"):
        assert f"task {task} needs exactly one node with a class in each scene, and there are 0 to 3" in said
    world = write_sprites(tmp_path, text)
    told = CliRunner().invoke(app, ["grammar", "check", str(world)])
    assert told.exit_code == 0
    assert "`metasim evaluate` cannot score the data: task classification needs exactly one node" in told.output


def test_cars_seen_from_above_are_not_scored_by_rules_of_streets(tmp_path: Path) -> None:
    text = SPRITES.replace("class: thing", "class: car") + TARGET + "task: detection\n"
    assert "class: car" in text
    for said in refusals(tmp_path, text):
        assert "follows KITTI's rules, which need a perspective camera" in said


def test_a_target_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for said in refusals(tmp_path, SPRITES + "target: {images: photos}\n"):
        assert "photos: there is no such folder" in said


def test_every_file_of_a_set_is_read(tmp_path: Path) -> None:
    world = write_sprites(tmp_path, SPRITES + TARGET)
    last = sorted((tmp_path / "shapes").glob("**/*.png"))[-1]
    data = last.read_bytes()
    last.write_bytes(data[: len(data) // 2])
    told = CliRunner().invoke(app, ["grammar", "check", str(world)])
    assert f"{last} is damaged" in str(told.exception or told.output)
