"""A folder of images. Subfolders are labels; a metadata.jsonl (Hugging Face's imagefolder) can state more."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from trainer.assets.folder_files import files_below
from trainer.datasets.dataset import ImageDataset, parse_json, read_json, read_text
from trainer.datasets.example import Example, ExampleObject
from trainer.datasets.label_frame import LabelFrame
from trainer.datasets.pixels import IMAGE_SUFFIXES, Photo, read_mask, read_photo
from trainer.datasets.readers.splits import SPLITS
from trainer.errors import InputError

#: Metadata files, in search order.
METADATA = ("metadata.jsonl", "metadata.csv")
#: Class names in the order of the class masks' numbers, from 1, in metasim's exports.
CLASSES = "classes.json"
#: Folder names that are not labels if all images lie in such folders.
_NO_CLASS = (*SPLITS, "images")


class ImageFolder(ImageDataset):
    """The images of a folder and of the folders in it, in the order of their paths.

    Labels come from `label` in a metadata file, or otherwise, if every image lies in a subfolder, from its name.
    Folders of splits (`train`, `test`) are no labels.
    """

    kind = "images"

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            InputError: there is no image, or the metadata cannot be read.
        """
        super().__init__(folder)
        self._rows = _metadata(folder)
        self._names = list(self._rows) or image_names(folder)
        self._labels: dict[str, str] = {}
        if not self._names:
            raise InputError(f"{folder} holds no image; looked for names that end in {', '.join(IMAGE_SUFFIXES)}")
        if not self._rows:
            self._labels = _folder_labels(self._names)
            self.classes = tuple(sorted(set(self._labels.values())))
            return
        self._lists_objects = any("objects" in row for row in self._rows.values())
        labels = {str(row["label"]) for row in self._rows.values() if row.get("label") is not None}
        names = {item.class_name for name in self._names for item in self._objects(name) or ()}
        self.classes = tuple(sorted(labels | names))
        if (folder / CLASSES).is_file():
            self.classes = tuple(str(name) for name in read_json(folder / CLASSES))

    def __len__(self) -> int:
        return len(self._names)

    def image_path(self, index: int) -> Path:
        """See `ImageDataset.image_path`."""
        return self.folder / self._names[index]

    def example(self, index: int) -> Example:
        name = self._names[index]
        photo = read_photo(self.folder / name)
        mask = self._rows.get(name, {}).get("class_mask_file_name")
        return Example(
            name=name,
            image=photo.pixels,
            label=self._rows[name].get("label") if self._rows else self._labels.get(name),
            objects=self._objects(name) if self._rows and self._lists_objects else None,
            class_mask=None if mask is None else lambda: mask_of(photo, self.folder / str(mask)),
        )

    def _objects(self, name: str) -> tuple[ExampleObject, ...] | None:
        content = self._rows[name].get("objects") or {"bbox": [], "categories": []}
        try:
            boxes = [tuple(float(value) for value in box) for box in content["bbox"]]
            if not all(len(box) == 4 and all(map(math.isfinite, box)) for box in boxes):
                raise ValueError("a bbox has 4 finite numbers: x, y, width, height")
            return tuple(
                ExampleObject(str(category), (box[0], box[1], box[2], box[3]))
                for category, box in zip(content["categories"], boxes, strict=True)
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{self.folder}: objects of {name} must be an object with the lists `bbox` and `categories`: {error}"
            ) from error


def image_names(folder: Path) -> list[str]:
    """Return sorted relative paths of the images in and below a folder; links are followed, hidden files skipped."""
    found = (path for path in files_below(folder) if path.suffix.lower() in IMAGE_SUFFIXES)
    return [path.relative_to(folder).as_posix() for path in found]


def has_metadata(folder: Path) -> bool:
    """Return whether a folder has a file that describes its images."""
    return any((folder / name).is_file() for name in METADATA)


def mask_of(photo: Photo, path: Path) -> np.ndarray:
    """Return the mask of an image from a file, scaled and rotated to match the image.

    Raises:
        InputError: the file is damaged, or has another shape than the image.
    """
    mask = read_mask(path)
    return LabelFrame.of(photo, (mask.shape[1], mask.shape[0]), str(path)).mask(mask)


def _folder_labels(names: list[str]) -> dict[str, str]:
    """Return the label of each image by name; empty if an image lies in no folder that can be a label."""
    parts = {name: name.split("/")[:-1] for name in names}
    while all(parts.values()) and all(folders[0].lower() in _NO_CLASS for folders in parts.values()):
        parts = {name: folders[1:] for name, folders in parts.items()}
    return {name: folders[0] for name, folders in parts.items()} if all(parts.values()) else {}


def _metadata(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of a folder's metadata by image name; empty without such a file."""
    path = next((folder / name for name in METADATA if (folder / name).is_file()), None)
    if path is None:
        return {}
    lines = read_text(path).splitlines()
    rows = {}
    for number, row in _csv_rows(lines) if path.suffix == ".csv" else _json_rows(lines, path):
        if not isinstance(row, dict) or not row.get("file_name"):
            raise InputError(f"{path}, line {number}: it must be a JSON object with a file_name")
        rows[str(row["file_name"])] = row
    return rows


def _json_rows(lines: list[str], path: Path) -> list[tuple[int, Any]]:
    problem = f"{path}, line {{}}: it must be a JSON object with a file_name"
    return [(number, parse_json(line, problem.format(number))) for number, line in enumerate(lines, 1) if line.strip()]


def _csv_rows(lines: list[str]) -> list[tuple[int, Any]]:
    rows = []
    for number, row in enumerate(csv.DictReader(lines), 2):
        values: dict[str, Any] = {key: value for key, value in row.items() if key and value not in (None, "")}
        if isinstance(values.get("objects"), str):
            values["objects"] = json.loads(values["objects"])
        rows.append((number, values))
    return rows
