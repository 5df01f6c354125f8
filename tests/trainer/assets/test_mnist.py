"""MNIST: found, fetched, verified, stood in for."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from support.data import shared_data

from trainer.assets.idx import write_idx
from trainer.assets.mnist import (
    CHECKSUMS,
    fetch_mnist,
    find_mnist,
    mnist_folders,
    mnist_set,
    sklearn_digits,
    verify_mnist,
)
from trainer.environment import Settings
from trainer.errors import InputError


def write_mnist(folder: Path, suffix: str = ".gz") -> Path:
    """Four idx files of a few digits."""
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, count in (("train", 5), ("t10k", 3)):
        images = np.full((count, 28, 28), count, dtype=np.uint8)
        write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", np.arange(count, dtype=np.uint8))
    return folder


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """Settings of a machine without MNIST."""
    monkeypatch.setattr("trainer.assets.mnist.checkout", lambda: None)
    return Settings(cache=tmp_path / "cache")


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_places_in_their_order(tmp_path, nowhere, suffix):
    assert find_mnist(settings=nowhere) is None
    cache = write_mnist(tmp_path / "cache" / "mnist", suffix)
    assert find_mnist(settings=nowhere) == cache
    data = write_mnist(tmp_path / "data" / "mnist", suffix)
    both = Settings(data=tmp_path / "data", cache=tmp_path / "cache")
    assert find_mnist(settings=both) == data
    own = write_mnist(tmp_path / "own", suffix)
    assert find_mnist(settings=Settings(mnist=own, data=tmp_path / "data")) == own
    option = write_mnist(tmp_path / "option", suffix)
    assert find_mnist(option, Settings(mnist=own)) == option


def test_a_folder_that_was_chosen_must_have_the_files(tmp_path, nowhere):
    folder = write_mnist(tmp_path / "own")
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError) as caught:
        find_mnist(folder, nowhere)
    assert str(caught.value) == (
        f"{folder} lacks t10k-labels-idx1-ubyte (plain or .gz); "
        "it must hold MNIST's four idx files: `metasim data mnist` fetches them"
    )


def test_the_environment(tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.assets.mnist.checkout", lambda: tmp_path / "repository")
    settings = Settings.from_environment({"METASIM_DATA": "/data", "METASIM_MNIST": "", "XDG_CACHE_HOME": "/cache"})
    assert settings == Settings(data=Path("/data"), mnist=None, cache=Path("/cache/metasim"))
    assert mnist_folders(None, settings) == [
        Path("/data/mnist"),
        tmp_path / "shared" / "data" / "mnist",
        Path("/cache/metasim/mnist"),
    ]
    assert mnist_folders(None, Settings.from_environment({"METASIM_MNIST": "/m"})) == [Path("/m")]
    assert Settings.from_environment({}).cache == Path.home() / ".cache" / "metasim"


def test_parts(tmp_path, nowhere):
    folder = write_mnist(tmp_path / "own")
    train, test = (mnist_set("digits", part, folder, nowhere) for part in ("train", "test"))
    assert (len(train.digits), len(test.digits), train.note) == (5, 3, None)
    assert (train.digits.label(4), int(test.digits.images[0, 0, 0])) == (4, 3)


def test_scikit_learns_digits_stand_in_and_say_so(tmp_path, nowhere):
    located = mnist_set("digits", "train", settings=nowhere)
    assert located.note == (
        f"MNIST was not found (looked in {tmp_path}/cache/mnist): scikit-learn's 8 x 8 digits stand in for it, "
        "enlarged. `metasim data mnist` fetches the real ones."
    )
    train, test = located.digits, sklearn_digits("digits", "test")
    assert (len(train), len(test)) == (1438, 359)
    assert train.images.shape == (1438, 28, 28)
    assert train.images.dtype == np.uint8
    assert train.labels == test.labels == tuple(range(10))
    rows = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in rows for image in test.images)
    assert train.images[:, :4].max() == 0  # like MNIST's: the digit in the middle 20 x 20
    assert train.images.max(axis=(1, 2)).min() > 180
    assert 0.08 < train.images.mean() / 255 < 0.25  # MNIST: 0.13


def test_real_mnist_is_whole():
    folder = shared_data("mnist")
    verify_mnist(folder)
    digits = mnist_set("digits", "test", folder).digits
    assert (len(digits), digits.label(0), digits.labels) == (10_000, 7, tuple(range(10)))
    assert digits.images.shape == (10_000, 28, 28)


class Mirror(BaseHTTPRequestHandler):
    files: dict[str, bytes]

    def do_GET(self) -> None:
        data = self.files.get(self.path.lstrip("/"))
        self.send_response(200 if data is not None else 404)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *arguments: object) -> None:
        del arguments


@pytest.fixture
def mirror() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A mirror's address, and the files that it has."""
    handler = type("Handler", (Mirror,), {"files": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", handler.files
    server.shutdown()
    thread.join()
    server.server_close()


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_fetching_takes_the_first_mirror_that_has_a_file_whole(tmp_path, mirror):
    address, files = mirror
    files.update({"bad/a.gz": b"damaged", "good/a.gz": b"right", "good/b.gz": b"also right"})
    names: list[str] = []
    sums = {"a.gz": md5(b"right"), "b.gz": md5(b"also right")}
    mirrors = (address + "bad/", address + "good/")
    folder = fetch_mnist(tmp_path / "new" / "mnist", mirrors=mirrors, checksums=sums, on_file=names.append)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a.gz": b"right", "b.gz": b"also right"}
    assert names == ["a.gz", "b.gz"]
    (folder / "b.gz").write_bytes(b"cut off")
    fetch_mnist(folder, mirrors=mirrors, checksums=sums, on_file=names.append)
    assert (folder / "b.gz").read_bytes() == b"also right"
    assert names == ["a.gz", "b.gz", "b.gz"]  # what is there and whole is left alone


def test_every_mirrors_failure_is_told_and_nothing_is_left(tmp_path, mirror):
    address, files = mirror
    files["bad/a.gz"] = b"damaged"
    sums = {"a.gz": md5(b"right")}
    mirrors = (address + "bad/", address + "none/", "http://127.0.0.1:1/")
    with pytest.raises(InputError) as caught:
        fetch_mnist(tmp_path / "mnist", mirrors=mirrors, checksums=sums, timeout_s=5)
    assert str(caught.value) == (
        f"a.gz could not be fetched: {address}bad/a.gz has the MD5 {md5(b'damaged')}; MNIST's is {md5(b'right')}; "
        f"{address}none/a.gz: Not Found; http://127.0.0.1:1/a.gz: [Errno 111] Connection refused"
    )
    assert list((tmp_path / "mnist").iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=f"^{tmp_path}/file cannot be written: File exists$"):
        fetch_mnist(tmp_path / "file", checksums={})


def test_verification_names_the_file(tmp_path):
    folder = write_mnist(tmp_path / "own")
    first = next(iter(CHECKSUMS))
    with pytest.raises(InputError) as caught:
        verify_mnist(folder)
    assert str(caught.value) == (
        f"{folder / first} has the MD5 {md5((folder / first).read_bytes())}; MNIST's is {CHECKSUMS[first]}"
    )
