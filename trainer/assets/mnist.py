"""MNIST: finds, downloads and verifies its files; scikit-learn's digits replace them if they are missing."""

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from trainer.assets.asset_sets import DigitSet, idx_set
from trainer.environment import Settings, checkout
from trainer.errors import InputError

Part = Literal["train", "test"]

#: MD5 of the four gzipped files, as their publishers state them.
CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_PREFIX = {"train": "train", "test": "t10k"}
_LARGEST_FILE = 64 << 20
#: Of scikit-learn's 1,797 digits, every fifth is a test digit.
_SKLEARN_COUNT, _SKLEARN_TEST_EVERY = 1797, 5


@dataclass(frozen=True)
class Located:
    """A set of digits, and a note for its user."""

    digits: DigitSet
    note: str | None = None


def mnist_folders(option: Path | None, settings: Settings) -> list[Path]:
    """Return the folders that are searched; the first one with the files is taken.

    An explicit choice (the option, else METASIM_MNIST) is the only one.
    """
    if option is not None or settings.mnist is not None:
        return [path for path in (option, settings.mnist) if path is not None][:1]
    root = checkout()
    candidates = [
        settings.data / "mnist" if settings.data else None,
        root.parent / "shared" / "data" / "mnist" if root else None,
        settings.cache / "mnist",
    ]
    return [path for path in candidates if path is not None]


def find_mnist(option: Path | None = None, settings: Settings | None = None) -> Path | None:
    """Return the folder with MNIST's four idx files, plain or gzipped; None if there is none.

    Raises:
        InputError: the folder that was chosen explicitly lacks a file.
    """
    settings = settings or Settings.from_environment()
    folders = mnist_folders(option, settings)
    for folder in folders:
        missing = [name for name in CHECKSUMS if _existing(folder, name) is None]
        if not missing:
            return folder
        if option is not None or settings.mnist is not None:
            raise InputError(
                f"{folder} lacks {missing[0].removesuffix('.gz')} (plain or .gz); "
                "it must hold MNIST's four idx files: `metasim data mnist` fetches them"
            )
    return None


def mnist_set(name: str, part: Part, folder: Path | None = None, settings: Settings | None = None) -> Located:
    """Return MNIST's training or test part; if its files are missing, scikit-learn's digits and a note.

    Raises:
        InputError: the folder that was chosen explicitly lacks a file, or a file is damaged.
    """
    settings = settings or Settings.from_environment()
    found = find_mnist(folder, settings)
    if found is None:
        looked = ", ".join(str(path) for path in mnist_folders(folder, settings))
        return Located(
            sklearn_digits(name, part),
            f"MNIST was not found (looked in {looked}): scikit-learn's 8 x 8 digits stand in for it, enlarged. "
            "`metasim data mnist` fetches the real ones.",
        )
    images = _existing(found, f"{_PREFIX[part]}-images-idx3-ubyte.gz")
    labels = _existing(found, f"{_PREFIX[part]}-labels-idx1-ubyte.gz")
    if images is None or labels is None:
        raise InputError(f"{found} changed while it was read")
    return Located(idx_set(name, images, labels))


def _existing(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / name.removesuffix(".gz")) if path.is_file()), None)


def sklearn_digits(name: str, part: Part) -> DigitSet:
    """Return the digits that scikit-learn ships (UCI "optdigits"), enlarged from 8 x 8 to 20 x 20 in 28 x 28 images.

    The parts are disjoint: every fifth digit is a test digit.
    """
    test = np.arange(_SKLEARN_COUNT) % _SKLEARN_TEST_EVERY == _SKLEARN_TEST_EVERY - 1
    chosen = np.flatnonzero(test if part == "test" else ~test)

    def images() -> np.ndarray:
        small = _load_digits().images[chosen]  # [count, 8, 8], 0 to 16
        padded = np.zeros((len(small), 28, 28), dtype=np.uint8)
        for index, image in enumerate(small):
            grey = Image.fromarray((image * (255 / 16)).round().astype(np.uint8), "L")
            padded[index, 4:24, 4:24] = np.asarray(grey.resize((20, 20), Image.Resampling.BICUBIC))
        return padded

    return DigitSet(name, len(chosen), images, lambda: _load_digits().target[chosen])


def _load_digits():  # type: ignore[no-untyped-def]  # scikit-learn has no types
    from sklearn.datasets import load_digits  # takes a second to import, and few runs need it

    return load_digits()


def verify_mnist(folder: Path) -> None:
    """Compare the four files with their published checksums; files that are not gzipped are read instead.

    Raises:
        InputError: a file is missing, or its content is not MNIST's.
    """
    for name, wanted in CHECKSUMS.items():
        path = _existing(folder, name)
        if path is None:
            raise InputError(f"{folder} lacks {name}; `metasim data mnist` fetches it")
        if path.name == name:
            _check(path.read_bytes(), wanted, str(path))
    for part in ("train", "test"):
        digits = mnist_set("mnist", part, folder).digits
        expected = 60_000 if part == "train" else 10_000
        if len(digits) != expected:
            raise InputError(f"{folder} holds {len(digits)} digits in MNIST's {part} part; there are {expected}")


def fetch_mnist(
    folder: Path,
    *,
    mirrors: Sequence[str] = MIRRORS,
    checksums: dict[str, str] = CHECKSUMS,
    timeout_s: float = 30.0,
    on_file: Callable[[str], None] | None = None,
) -> Path:
    """Download the files that `folder` lacks, each from the first mirror that has it.

    A file appears under its name only when its checksum is right. Calls `on_file` with the name before each.

    Raises:
        InputError: no mirror has a file (each mirror's failure is named), or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, checksum in checksums.items():
            path = folder / name
            if path.is_file() and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == checksum:
                continue
            if on_file is not None:
                on_file(name)
            data = _fetch(name, checksum, mirrors, timeout_s)
            part = path.with_name(f"{name}.{os.getpid()}.part")
            part.write_bytes(data)
            part.replace(path)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from error
    return folder


def _fetch(name: str, checksum: str, mirrors: Sequence[str], timeout_s: float) -> bytes:
    failures = []
    for mirror in mirrors:
        try:
            with urllib.request.urlopen(mirror + name, timeout=timeout_s) as reply:
                data = reply.read(_LARGEST_FILE)
            _check(data, checksum, mirror + name)
            return data
        except InputError as error:
            failures.append(str(error))
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            failures.append(f"{mirror + name}: {getattr(error, 'reason', None) or error}")
    raise InputError(f"{name} could not be fetched: {'; '.join(failures)}")


def _check(data: bytes, checksum: str, source: str) -> None:
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != checksum:
        raise InputError(f"{source} has the MD5 {found}; MNIST's is {checksum}")
