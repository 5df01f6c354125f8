"""Commands of the documents are taken by the command line; those of the tutorial do what it says."""

import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.data import shared_data
from support.documents import DOCUMENTS, ROOT, commands, snippets
from typer.core import TyperGroup
from typer.main import get_command

from trainer.cli import app, main
from trainer.experiments import load_experiment
from trainer.inference.training_settings import TrainingSettings

TUTORIAL = ROOT / "docs" / "tutorial.md"
COMMANDS = [
    pytest.param(command, id=f"{document.name}:{line}")
    for document in DOCUMENTS
    for line, command in commands(document)
]
#: Placeholders, and what is built up by the shell.
_NOT_LITERAL = ("...", "$(", "[", "|")


def take(command: str) -> None:
    """Reads a command's arguments as the command line does, without calling it."""
    words = shlex.split(command)[1:]
    chosen = get_command(app)
    while isinstance(chosen, TyperGroup) and not words[0].startswith("-"):
        chosen = chosen.commands[words.pop(0)]
    if not isinstance(chosen, TyperGroup):
        chosen.make_context("metasim", words)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_takes_it(command: str) -> None:
    if "=" not in command and any(part in command for part in _NOT_LITERAL):
        pytest.skip("it has a placeholder")
    take(command)


def test_the_check_can_fail() -> None:
    with pytest.raises(Exception, match="No such option"):
        take("metasim train mnist-rot --epoch 3")
    assert len(COMMANDS) > 20


def write_worlds(folder: Path) -> None:
    for snippet in snippets(TUTORIAL, "yaml"):
        (folder / snippet.info.split()[1]).write_text(snippet.text)


def test_the_tutorials_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_worlds(tmp_path)
    assert len((tmp_path / "table.yaml").read_text().splitlines()) < 60
    for _, command in commands(TUTORIAL):
        if command.split()[1] == "data" or command.split()[1:3] in (["grammar", "check"], ["grammar", "show"]):
            assert main(shlex.split(command)[1:]) == 0, command
    world = load_experiment("table.yaml")
    assert sum(spec.mutable for _, spec in world.grammar.specs) == 5
    assert world.grammar.classes == ("bottle", "box", "mug")
    assert TrainingSettings.parse(world.training).epochs == 6
    photos = load_experiment("photos.yaml").grammar
    changed = [
        f"{kind}.{spec.name}"
        for (kind, spec), (_, other) in zip(world.grammar.specs, photos.specs, strict=True)
        if spec.distribution != other.distribution
    ]
    assert changed == ["sun.intensity", "thing.x", "thing.y", "thing.yaw", "thing.scale"]


def test_the_same_world_of_models_that_the_project_does_not_ship(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = shared_data("assets3d/kenney_car_kit")
    monkeypatch.chdir(tmp_path)
    write_worlds(tmp_path)
    main(["data", "assets", "household-tables", "--out", "textures"])
    for name in ("sedan", "van", "truck"):
        (tmp_path / "models" / name).mkdir(parents=True)
        shutil.copy(models / f"{name}.glb", tmp_path / "models" / name)
        shutil.copytree(models / "Textures", tmp_path / "models" / name / "Textures")
    grammar = load_experiment("table.yaml", {"assets.things.scale": 0.05}).grammar
    assert grammar.classes == ("sedan", "truck", "van")
    assert all(grammar.asset_sets["things"].data(index) for index in range(3))


@pytest.mark.tutorial
@pytest.mark.timeout(7200)
def test_the_tutorial_word_for_word(tmp_path: Path) -> None:
    """Fifteen minutes on two cores that nothing else uses; what it took is printed."""
    write_worlds(tmp_path)
    program = "import sys; from trainer.cli import main; sys.exit(main(sys.argv[1:]))"
    began_s = time.monotonic()
    for _, command in commands(TUTORIAL):
        subprocess.run([sys.executable, "-c", program, *shlex.split(command)[1:]], cwd=tmp_path, check=True)
    seconds = time.monotonic() - began_s
    for snippet in snippets(TUTORIAL, "python"):
        subprocess.run([sys.executable, "-c", snippet.text], cwd=tmp_path, check=True)
    learned = json.loads((tmp_path / "runs" / "table" / "summary.json").read_text())["attributes"]["learned"]
    found = {f"{item['kind']}.{item['name']}": item["mean"] for item in learned}
    sys.stdout.write(f"the tutorial took {seconds:.0f} s and learned {found}\n")
    wanted = {"thing.x": (0.06, 0.02), "thing.y": (-0.04, 0.02), "thing.yaw": (60, 15), "thing.scale": (0.8, 0.1)}
    for name, (mean, tolerance) in wanted.items():
        assert found[name] == pytest.approx(mean, abs=tolerance), name
