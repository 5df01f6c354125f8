"""Help is complete, and comes without loading what only commands need."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from trainer.cli import app
from trainer.datasets.writers import FORMATS

_HEAVY = ("torch", "grpc", "numpy", "PIL", "yaml", "rich.progress", "trainer.grammar", "trainer.pool")
#: What typer itself takes to read the arguments of a command.
_OF_TYPER = ("pydantic", "importlib.metadata")
_LOADED_BY = "import sys; from trainer.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"


def commands(group: TyperGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


ROOT = get_command(app)
COMMANDS = sorted(commands(ROOT))  # type: ignore[arg-type]


def test_commands() -> None:
    assert [" ".join(path) for path in COMMANDS] == [
        "bench ablation",
        "bench camera",
        "bench generate",
        "bench jacobian",
        "bench jobs",
        "bench pool",
        "bench render",
        "bench train",
        "check endpoint",
        "check gradient",
        "data assets",
        "data blood",
        "data coins",
        "data kitti",
        "data mnist",
        "data screws",
        "dataset compare",
        "dataset merge",
        "doctor",
        "evaluate",
        "generate",
        "grammar check",
        "grammar sample",
        "grammar show",
        "init",
        "pool render",
        "pool scale",
        "pool status",
        "report",
        "train",
        "translate apply",
        "translate fit",
        "version",
    ]


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["generate", "--help"], ["grammar"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    command = [sys.executable, "-c", _LOADED_BY, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert loaded & set(_HEAVY) == set()
    if arguments == ["--help"]:
        assert loaded & set(_OF_TYPER) == set()
    assert "Usage: metasim" in done.stdout


def test_the_check_of_loaded_modules_can_fail() -> None:
    command = [sys.executable, "-c", _LOADED_BY, "grammar", "check", "mnist-rot"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert {"pydantic", "yaml", "trainer.grammar"} <= set(done.stderr.split())


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_is_explained(path: tuple[str, ...]) -> None:
    command = ROOT
    for name in path:
        command = command.commands[name]  # type: ignore[attr-defined]
    assert command.help
    for paragraph in command.help.split("\n\n"):
        if not paragraph.startswith("[bold]Example"):
            assert "\n" not in paragraph, "it fills the terminal's lines"
            assert paragraph.endswith("."), "it is finished"
    for parameter in command.params:
        assert parameter.help, parameter.name  # type: ignore[attr-defined]
    if path != ("version",):
        assert f"metasim {' '.join(path)}" in command.help, "it has an example"


def test_formats_are_those_that_can_be_written(metasim: Callable) -> None:
    out = metasim("generate", "-h").out
    assert [name for name in FORMATS if re.search(rf"(?<![\w-]){name}[,:. ]", out) is None] == []


def test_version(metasim: Callable) -> None:
    assert metasim("version").out == metasim("--version").out == "metasim 0.1.0\n"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((), "Learn to generate scenes that look like the target"),
        (("grammar",), "Draw scenes of a grammar"),
        (("data",), "Find MNIST"),
        (("bench",), "the overhead of the pool"),
    ],
)
def test_no_command_is_a_call_for_help(metasim: Callable, arguments: tuple[str, ...], part: str) -> None:
    done = metasim(*arguments)
    assert (done.status, done.err) == (0, "")
    assert part in done.out
