"""Parquet files with images as bytes, in the layout of Hugging Face's datasets."""

import bisect
import importlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from trainer.datasets.dataset import ImageDataset
from trainer.datasets.example import Example
from trainer.datasets.pixels import read_mask_file, read_photo_file
from trainer.datasets.readers.webdataset import objects_of
from trainer.errors import InputError


class ParquetDataset(ImageDataset):
    """`*.parquet` in a folder or in its `data/`. A row is an image.

    `image` holds its bytes and the optional `label` its class number. In files of `metasim generate`, `description`
    holds label and objects, and `class_mask` a mask of the classes.
    """

    kind = "parquet"

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            InputError: pyarrow is not installed, or a file is not a Parquet file with images.
        """
        super().__init__(folder)
        try:
            self._parquet: Any = importlib.import_module("pyarrow.parquet")
        except ImportError as error:
            raise InputError(
                f"{folder}: Parquet files need pyarrow ({error}); pip install 'metasim[parquet]'"
            ) from error
        self._files = [self._opened(path) for path in parquet_files(folder)]
        self._ends = np.cumsum([file.metadata.num_rows for _, file in self._files]).tolist()
        self._group: tuple[int, int] | None = None
        self._rows: list[dict[str, Any]] = []
        if not self._files or not self._ends[-1]:
            raise InputError(f"{folder} holds no Parquet file with images")
        self.classes = _classes(self._files[0][1].schema_arrow.metadata or {})

    def __len__(self) -> int:
        return int(self._ends[-1])

    def example(self, index: int) -> Example:
        number = bisect.bisect_right(self._ends, index)
        path, _ = self._files[number]
        row = self._row(number, index - (self._ends[number - 1] if number else 0))
        name = f"{path.name}/{index}"
        image = row["image"] or {}
        if not image.get("bytes"):
            raise InputError(f"{path}: row {index} has no bytes of an image")
        photo = read_photo_file(io.BytesIO(image["bytes"]), f"{path}: row {index}")
        described = json.loads(row["description"]) if row.get("description") else {}
        label = described.get("label")
        if label is None and row.get("label") is not None:
            label = self.classes[row["label"]] if self.classes else row["label"]
        mask = (row.get("class_mask") or {}).get("bytes")
        return Example(
            name=name,
            image=photo.pixels,
            label=label,
            objects=objects_of(described, f"{path}: row {index}") if described else None,
            class_mask=(lambda: read_mask_file(io.BytesIO(mask), f"{path}: row {index}")) if mask else None,
        )

    def first_rows(self) -> dict[Path, int]:
        """Return the files with the number of the first image in each."""
        starts = [0, *self._ends[:-1]]
        return {path: start for (path, _), start in zip(self._files, starts, strict=True)}

    def _row(self, number: int, place: int) -> dict[str, Any]:
        """Return a row of a file. Adjacent rows are read together."""
        file, group = self._files[number][1], 0
        while place >= file.metadata.row_group(group).num_rows:
            place -= file.metadata.row_group(group).num_rows
            group += 1
        if self._group != (number, group):
            self._rows = file.read_row_group(group).to_pylist()
            self._group = (number, group)
        return self._rows[place]

    def _opened(self, path: Path) -> tuple[Path, Any]:
        try:
            file = self._parquet.ParquetFile(path)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is not a whole Parquet file: {str(error).splitlines()[0]}") from error
        if "image" not in file.schema_arrow.names:
            raise InputError(f"{path} has the columns {', '.join(file.schema_arrow.names)}; one must be `image`")
        return path, file


def parquet_files(folder: Path) -> list[Path]:
    """Return the Parquet files of a folder, or those of its `data/`, in the order of their names."""
    found = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))
    return found or sorted(path for path in folder.glob("data/*.parquet") if not path.name.startswith("."))


def _classes(metadata: dict[bytes, bytes]) -> tuple[str, ...]:
    """Return the class names in Hugging Face's metadata."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        objects = features.get("objects", {}).get("categories", {}).get("feature", {}).get("names")
        names = features.get("label", {}).get("names") or objects or ()
    except (KeyError, ValueError, AttributeError):
        return ()
    return tuple(str(name) for name in names)
