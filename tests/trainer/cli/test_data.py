"""`metasim data mnist`"""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.data import shared_data


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that MNIST was fetched into; nothing is, here."""
    folders: list[Path] = []

    def fetch(folder: Path, on_file: Callable[[str], None]) -> Path:
        on_file("train-images-idx3-ubyte.gz")
        folders.append(folder)
        return folder

    monkeypatch.setattr("trainer.assets.mnist.fetch_mnist", fetch)
    monkeypatch.setattr("trainer.assets.mnist.verify_mnist", lambda _: None)
    for name in ("METASIM_DATA", "METASIM_MNIST"):
        monkeypatch.delenv(name, raising=False)
    return folders


def test_it_is_found_and_verified(metasim: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shared_data("mnist")
    monkeypatch.setenv("METASIM_MNIST", str(folder))
    done = metasim("data mnist")
    assert (done.status, done.out, done.err) == (0, f"{folder}\n", "")


def test_it_is_fetched_where_it_was_asked_for(metasim: Callable, fetched: list[Path]) -> None:
    done = metasim("data mnist --out here")
    assert (done.status, done.out) == (0, "here\n")
    assert done.err == "downloading train-images-idx3-ubyte.gz\n"
    assert fetched == [Path("here")]


def test_it_is_fetched_where_the_environment_says(
    metasim: Callable, fetched: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METASIM_MNIST", str(tmp_path / "mine"))
    assert metasim("data mnist").out == f"{tmp_path / 'mine'}\n"
    assert fetched == [tmp_path / "mine"]


def test_else_it_goes_to_the_cache(
    metasim: Callable, fetched: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("trainer.assets.mnist.checkout", lambda: None)
    assert metasim("data mnist").out == f"{tmp_path / 'metasim/mnist'}\n"
    assert fetched == [tmp_path / "metasim/mnist"]


def test_assets_as_files(metasim: Callable) -> None:
    done = metasim("data assets household mug --out models")
    assert (done.status, done.out) == (0, "models: 1 file\n")
    assert [path.name for path in Path("models/mug").iterdir()] == ["mug.glb"]
