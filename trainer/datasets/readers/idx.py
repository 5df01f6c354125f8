"""idx files, MNIST's format: grey images, optionally with labels."""

from functools import cached_property
from pathlib import Path

import numpy as np

from trainer.assets.idx import idx_shape, read_idx
from trainer.datasets.dataset import ImageDataset
from trainer.datasets.example import Example
from trainer.errors import InputError


class IdxDataset(ImageDataset):
    """`*-images-idx3-ubyte` with `*-labels-idx1-ubyte` in the same folder, plain or gzipped.

    Of several, the training part is read.
    """

    kind = "idx"

    def __init__(self, path: Path) -> None:
        """
        Args:
            path: the folder, or the file of images.

        Raises:
            InputError: there is no file of images, or the two files do not match.
        """
        super().__init__(path if path.is_dir() else path.parent)
        self._images = path if path.is_file() else _first(path)
        labels = self._images.with_name(self._images.name.replace("images", "labels").replace("idx3", "idx1"))
        self._labels = labels if labels != self._images and labels.is_file() else None
        self._count = idx_shape(self._images, 3)[0]
        if self._labels is not None and idx_shape(self._labels, 1)[0] != self._count:
            raise InputError(f"{self._images} and {self._labels} must hold as many images as labels")
        if not self._count:
            raise InputError(f"{self._images} holds no image")
        if self._labels is not None:
            self.classes = tuple(str(number) for number in range(int(self._all_labels.max()) + 1))

    def __len__(self) -> int:
        return self._count

    @property
    def images_file(self) -> Path:
        """Return the file of images."""
        return self._images

    def example(self, index: int) -> Example:
        image = np.repeat(self._all_images[index][:, :, None], 3, axis=2)
        label = None if self._labels is None else int(self._all_labels[index])
        return Example(name=f"{self._images.name}[{index}]", image=image, label=label)

    @cached_property
    def _all_images(self) -> np.ndarray:
        return read_idx(self._images, 3)

    @cached_property
    def _all_labels(self) -> np.ndarray:
        if self._labels is None:
            raise InputError(f"{self._images} has no labels beside it")
        return read_idx(self._labels, 1)


def image_files(folder: Path) -> list[Path]:
    """Return the idx files of images in a folder, training files first."""
    found = [path for mark in "-." for end in ("", ".gz") for path in folder.glob(f"*{mark}idx3-ubyte{end}")]
    return sorted(found, key=lambda path: (not path.name.startswith("train"), path.name))


def _first(folder: Path) -> Path:
    found = image_files(folder)
    if not found:
        raise InputError(f"{folder} holds no idx file of images (NAME-images-idx3-ubyte, plain or .gz)")
    return found[0]
