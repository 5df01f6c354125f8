"""A run keeps what it was made from: it can be moved, and tells what has changed."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import runs
from support.grammars import SPRITES, write_sprites

from trainer.errors import InputError
from trainer.experiments import load_experiment
from trainer.runs.folder import Run
from trainer.runs.inputs import changed_inputs, keep_inputs, kept_copies

EXPERIMENT = """\
grammar: worlds/base.yaml
overrides:
  thing.yaw: {normal: [0, 20]}
target:
  count: 8
  overrides:
    thing.yaw: {normal: [90, 10]}
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "worlds").mkdir(parents=True)
    write_sprites(folder / "worlds", SPRITES, "base.yaml")
    path = folder / "mine.yaml"
    path.write_text(EXPERIMENT)
    return path


@pytest.fixture
def run(experiment: Path, tmp_path: Path) -> Run:
    made = runs.new_run(tmp_path / "run")
    keep_inputs(made, str(experiment), {})
    return made


def test_unchanged_files_are_not_mentioned(run: Run) -> None:
    assert changed_inputs(run) == []


def test_an_edited_grammar_is_named_and_the_copy_is_used(run: Run, experiment: Path) -> None:
    base = experiment.parent / "worlds/base.yaml"
    base.write_text(base.read_text().replace("uniform: [-4, 4]", "uniform: [-1, 1]"))
    (note,) = changed_inputs(run)
    copy = run.folder / "inputs/base.yaml"
    assert note == f"{base} has changed since {run.folder} was made; the run uses its copy, {copy}"
    grammar = load_experiment(str(experiment), copies=kept_copies(run)).grammar
    (x,) = (spec for spec in grammar.kinds["thing"].specs if spec.name == "x")
    assert x.distribution.support == (-4, 4)
    (edited,) = (spec for spec in load_experiment(experiment).grammar.kinds["thing"].specs if spec.name == "x")
    assert edited.distribution.support == (-1, 1)


def test_a_moved_run_finds_assets_beside_its_copies(run: Run, experiment: Path, tmp_path: Path) -> None:
    expected = load_experiment(experiment)
    moved = tmp_path / "elsewhere"
    shutil.move(run.folder, moved)
    shutil.move(experiment.parent / "worlds/shapes", moved / "inputs/shapes")
    shutil.rmtree(experiment.parent)
    found = load_experiment(str(experiment), copies=kept_copies(Run.open(moved)))
    assert changed_inputs(Run.open(moved)) == []
    assert (found.name, found.grammar.kinds) == (expected.name, expected.grammar.kinds)
    assert found.target is not None
    rng = np.random.default_rng(0), np.random.default_rng(0)
    assert found.grammar.sample(rng[0]).nodes == expected.grammar.sample(rng[1]).nodes


def test_changed_asset_files_are_named(run: Run, experiment: Path) -> None:
    shapes = sorted((experiment.parent / "worlds/shapes").iterdir())
    for path in shapes[:2]:
        Image.fromarray(np.zeros((5, 4, 4), np.uint8)).save(path)
    (note,) = changed_inputs(run)
    assert note.startswith(f"{shapes[0]} and 1 other asset files have changed since {run.folder} was made: ")


def test_a_touched_file_is_not_a_changed_one(run: Run, experiment: Path) -> None:
    for path in (experiment.parent / "worlds/shapes").iterdir():
        path.touch()
    assert changed_inputs(run) == []


def test_files_of_the_same_name_do_not_overwrite_each_other(experiment: Path, tmp_path: Path) -> None:
    experiment.write_text(EXPERIMENT.replace("worlds/base.yaml", "worlds/mine.yaml"))
    (experiment.parent / "worlds/base.yaml").rename(experiment.parent / "worlds/mine.yaml")
    made = runs.new_run(tmp_path / "other")
    keep_inputs(made, str(experiment), {})
    copies = kept_copies(made)
    assert copies is not None
    assert copies.world is not None
    assert copies.experiment.copy.read_text() != copies.world.copy.read_text()
    assert load_experiment(str(experiment), copies=copies).target is not None


def test_experiments_that_ship_are_kept_too(tmp_path: Path) -> None:
    made = runs.new_run(tmp_path / "run")
    keep_inputs(made, "mnist-rot-trans", {})
    assert {path.name for path in (made.folder / "inputs").glob("*.yaml")} == {"mnist-rot-trans.yaml"}
    assert changed_inputs(made) == []


def test_a_run_of_an_older_version_keeps_nothing(tmp_path: Path) -> None:
    made = runs.new_run(tmp_path / "run")
    assert kept_copies(made) is None
    assert changed_inputs(made) == []


def test_a_missing_copy_and_a_damaged_manifest_are_one_line(run: Run) -> None:
    (run.folder / "inputs/base.yaml").unlink()
    with pytest.raises(InputError, match=r"inputs/base\.yaml is missing: it is the copy of .*worlds/base\.yaml"):
        kept_copies(run)
    (run.folder / "inputs/manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest\.json is damaged"):
        kept_copies(run)
