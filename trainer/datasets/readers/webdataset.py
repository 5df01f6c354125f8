"""WebDataset's tar files."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainer.datasets.dataset import ImageDataset, parse_json, read_json
from trainer.datasets.example import Example, ExampleObject
from trainer.datasets.pixels import IMAGE_SUFFIXES, read_mask_file, read_photo_file
from trainer.errors import InputError

CLASSES = "classes.json"


class WebDataset(ImageDataset):
    """`*.tar` in a folder. The files of a sample have the same name up to the first dot.

    A sample has an image (`png`, `jpg` ...) and optionally `cls` (a class number), `json` (`label`, `objects` with
    `bbox` and `categories`) and `class.png` (a mask of the classes in `classes.json`, from 1).
    """

    kind = "webdataset"

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            InputError: there is no image, or a file is not a tar file.
        """
        super().__init__(folder)
        self._samples: list[tuple[Path, str, Mapping[str, tuple[int, int]]]] = []
        for path in shards(folder):
            self._samples += [(path, key, members) for key, members in _members(path).items() if _image(members)]
        if not self._samples:
            raise InputError(f"{folder} holds no tar file with images")
        self.classes = ()
        if (folder / CLASSES).is_file():
            self.classes = tuple(str(name) for name in read_json(folder / CLASSES))

    def __len__(self) -> int:
        return len(self._samples)

    def example(self, index: int) -> Example:
        path, key, members = self._samples[index]
        name = f"{path.name}/{key}"
        photo = read_photo_file(io.BytesIO(self._bytes(index, _image(members))), f"{self.folder / name}")
        description: Any = {}
        if "json" in members:
            problem = f"{self.folder / name}.json is not a JSON file"
            description = parse_json(self._bytes(index, "json"), problem)
        label = description.get("label") if isinstance(description, dict) else None
        if label is None and "cls" in members:
            label = self._bytes(index, "cls").decode("ascii", "replace").strip()
        masked = "class.png" in members and self.classes
        return Example(
            name=name,
            image=photo.pixels,
            label=label,
            objects=objects_of(description, f"{self.folder / name}") if "json" in members else None,
            class_mask=(lambda: self._mask(index)) if masked else None,
        )

    def image_member(self, index: int) -> tuple[Path, str]:
        """Return the tar file of an image and the name of its member."""
        path, key, members = self._samples[index]
        return path, f"{key}.{_image(members)}"

    def _mask(self, index: int) -> np.ndarray:
        path, key, _ = self._samples[index]
        return read_mask_file(io.BytesIO(self._bytes(index, "class.png")), f"{path}/{key}.class.png")

    def _bytes(self, index: int, suffix: str) -> bytes:
        path, _, members = self._samples[index]
        offset, size = members[suffix]
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)


def shards(folder: Path) -> list[Path]:
    """Return the tar files of a folder in the order of their names."""
    return sorted(path for path in folder.glob("*.tar") if not path.name.startswith("."))


def _members(path: Path) -> dict[str, dict[str, tuple[int, int]]]:
    """Return the offset and size of each file, by sample key and suffix."""
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(path) as file:
            for member in file:
                folder, _, name = member.name.rpartition("/")
                key, dot, suffix = name.partition(".")
                if member.isfile() and dot:
                    samples.setdefault(f"{folder}/{key}" if folder else key, {})[suffix.lower()] = (
                        member.offset_data,
                        member.size,
                    )
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{path} is not a whole tar file: {error}") from error
    return samples


def _image(members: Mapping[str, object]) -> str:
    return next((suffix[1:] for suffix in IMAGE_SUFFIXES if suffix[1:] in members), "")


def objects_of(description: Any, where: str) -> tuple[ExampleObject, ...]:
    """Return the objects of a sample's description.

    Raises:
        InputError: their lists do not fit.
    """
    content = (description.get("objects") if isinstance(description, dict) else None) or {"bbox": [], "categories": []}
    try:
        return tuple(
            ExampleObject(str(name), (float(x), float(y), float(width), float(height)))
            for name, (x, y, width, height) in zip(content["categories"], content["bbox"], strict=True)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}.json: objects must have the lists `bbox` and `categories`: {error}") from error
