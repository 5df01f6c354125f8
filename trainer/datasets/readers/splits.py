"""Datasets that are divided into parts for training, validation and testing."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np

from trainer.datasets.dataset import ImageDataset
from trainer.datasets.example import Example
from trainer.errors import InputError

#: Lower-case names of split folders, in reading order.
SPLITS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")


def split_folders(folder: Path) -> list[Path]:
    """Return the folders of a dataset's parts; empty if any visible folder has another name."""
    folders = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))]
    if not folders or any(path.name.lower() not in SPLITS for path in folders):
        return []
    return sorted(folders, key=lambda path: (SPLITS.index(path.name.lower()), path.name))


class JoinedDataset(ImageDataset):
    """The parts of a dataset in order. Names of images begin with the part's folder."""

    def __init__(self, folder: Path, parts: Sequence[ImageDataset]) -> None:
        """
        Args:
            parts: at least one, all of one kind.

        Raises:
            InputError: the parts are of different kinds.
        """
        super().__init__(folder)
        kinds = sorted({part.kind for part in parts})
        if len(kinds) > 1:
            raise InputError(f"{folder} has parts of the layouts {' and '.join(kinds)}; give the folder of one of them")
        self.kind = kinds[0]  # type: ignore[misc]  # An instance's own.
        self._parts = parts
        self._ends = list(accumulate(len(part) for part in parts))
        self.classes = tuple(dict.fromkeys(name for part in parts for name in part.classes))

    def __len__(self) -> int:
        return self._ends[-1]

    def image_path(self, index: int) -> Path | None:
        """See `ImageDataset.image_path`."""
        part, place = self._place(index)
        return part.image_path(place)

    def example(self, index: int) -> Example:
        part, place = self._place(index)
        example = part.example(place)
        prefix = part.folder.relative_to(self.folder).as_posix()
        mask = example.class_mask
        if mask is not None and part.classes != self.classes:
            numbers = np.array([0, *(self.classes.index(name) + 1 for name in part.classes)])
            return replace(example, name=f"{prefix}/{example.name}", class_mask=lambda: numbers[mask()])
        return replace(example, name=f"{prefix}/{example.name}")

    def _place(self, index: int) -> tuple[ImageDataset, int]:
        """Return the part that an image lies in, and its number there."""
        number = bisect_right(self._ends, index)
        return self._parts[number], index - (self._ends[number - 1] if number else 0)
