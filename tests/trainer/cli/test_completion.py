"""The Tab key: names that are completed, and that nothing heavy is loaded for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.cli import completion
from trainer.datasets.writers import FORMATS

_PROGRAM = (
    "import atexit, sys; from trainer.cli import main; "
    "atexit.register(lambda: print(*sys.modules, file=sys.stderr)); main()"
)


def complete(folder: Path, words: str) -> tuple[list[str], set[str]]:
    """What bash is offered behind `words`, and the modules that were loaded for it."""
    variables = {"_METASIM_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split(), set(done.stderr.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("metasim trai", ["train"]),
        ("metasim train mnist-rot", ["mnist-rot", "mnist-rot-trans"]),
        ("metasim grammar show mnist-rot-", ["mnist-rot-trans"]),
        ("metasim check gradient mnist-rot-", ["mnist-rot-trans"]),
        ("metasim train mnist-rot --engine r", ["raster"]),
        ("metasim generate runs/a --format coco", ["coco", "coco-rle"]),
        ("metasim generate run", ["runs/a"]),
        ("metasim report ", ["runs/a"]),
        ("metasim evaluate elsewhere/", []),
    ],
)
def test_completion(tmp_path: Path, words: str, offered: list[str]) -> None:
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "config.json").touch()
    (tmp_path / "runs" / "no-run").mkdir()
    found, loaded = complete(tmp_path, words)
    assert found == offered
    assert loaded & {"torch", "grpc", "numpy", "PIL", "yaml", "trainer.grammar", "trainer.datasets.writers"} == set()
    assert "trainer.cli" in loaded


def test_formats_are_those_that_can_be_written() -> None:
    assert list(completion.FORMATS) == sorted(FORMATS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(shell: str) -> None:
    command = [sys.executable, "-c", "from trainer.cli import main; main()", "--show-completion", shell]
    variables = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert "_METASIM_COMPLETE" in done.stdout
