"""The command line in this process: what it prints, and its exit status."""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.servers import server

from trainer.cli import main


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


@pytest.fixture
def metasim(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Outcome]:
    """Runs a command in an empty folder; its parts are joined and taken apart again as by a shell."""
    monkeypatch.chdir(tmp_path)

    def run(*parts: str) -> Outcome:
        capsys.readouterr()
        status = main(shlex.split(" ".join(parts)))
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """A worker with the raster engine."""
    with server("--engine", "raster", "--workers", "1") as running:
        yield running.address
