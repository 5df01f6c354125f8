"""YOLO's text files: boxes, polygons, or boxes with keypoints."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from trainer.assets.folder_files import files_below
from trainer.datasets.dataset import ImageDataset, read_text
from trainer.datasets.example import Example, ExampleObject
from trainer.datasets.pixels import read_image
from trainer.datasets.rasterisation import polygons_mask
from trainer.datasets.readers.image_folder import image_names
from trainer.errors import InputError

_BOX = 4
#: Tolerance of coordinates outside of 0 to 1, for rounding by other tools.
_ROUNDING = 0.01


@dataclass(frozen=True)
class _DataFile:
    """What data.yaml states."""

    names: Mapping[int, str]
    #: Number of keypoint values per line; 0: none.
    keypoint_numbers: int = 0


class YoloDataset(ImageDataset):
    """`images/`, and `labels/` with the same file names; class names from `data.yaml`, otherwise `class-0`, ...

    An image without a file of labels has no objects, as in YOLO; without any such file there are no labels. `data.yaml`
    may lie in the folder above, as in Roboflow's exports. Keypoints (`kpt_shape`) are skipped.
    """

    kind = "yolo"

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            InputError: there is no image, or data.yaml is damaged.
        """
        super().__init__(folder)
        self._names = image_names(folder / "images")
        if not self._names:
            raise InputError(f"{folder / 'images'} holds no image; YOLO's layout is images/ and labels/")
        labels = folder / "labels"
        self._labelled = labels.is_dir() and any(path.suffix == ".txt" for path in files_below(labels))
        self._data = _data_file(folder)
        self.classes = tuple(self._data.names.values())

    def __len__(self) -> int:
        return len(self._names)

    def image_path(self, index: int) -> Path:
        """See `ImageDataset.image_path`."""
        return self.folder / "images" / self._names[index]

    def example(self, index: int) -> Example:
        name = self._names[index]
        image = read_image(self.folder / "images" / name)
        return Example(
            name=f"images/{name}", image=image, objects=self._objects(name, image) if self._labelled else None
        )

    def _objects(self, name: str, image: np.ndarray) -> tuple[ExampleObject, ...]:
        path = (self.folder / "labels" / name).with_suffix(".txt")
        if not path.is_file():
            return ()
        lines = enumerate(read_text(path).splitlines(), 1)
        return tuple(
            self._object(line, f"{path}, line {number}", image.shape[0], image.shape[1])
            for number, line in lines
            if line.strip()
        )

    def _object(self, line: str, where: str, height: int, width: int) -> ExampleObject:
        try:
            first, *rest = line.split()
            values = np.array([float(text) for text in rest])
            class_number = int(first)
            if class_number < 0 or not np.isfinite(values).all():
                raise ValueError
        except ValueError:
            raise InputError(f"{where}: {line[:60]!r} is no class number with coordinates") from None
        names = self._data.names
        if names and class_number not in names:
            raise InputError(f"{where}: class {class_number} has no name in data.yaml, which lists {len(names)}")
        class_name = names.get(class_number, f"class-{class_number}")
        keypoints = self._data.keypoint_numbers
        if keypoints and len(values) == _BOX + keypoints:
            values = values[:_BOX]
        if len(values) != _BOX and (keypoints or len(values) < 2 * 3 or len(values) % 2):
            expected = f"a box with keypoints {_BOX + keypoints}" if keypoints else "a polygon 6 or more"
            raise InputError(f"{where}: {len(values)} coordinates; a box has {_BOX}, {expected}")
        if values.min() < -_ROUNDING or values.max() > 1 + _ROUNDING:
            raise InputError(
                f"{where}: coordinate {values[np.argmax(np.abs(values - 0.5))]:g}; YOLO's are fractions of the image's "
                "width and height, from 0 to 1"
            )
        if len(values) == _BOX:
            x, y, w, h = values
            box = _clipped(x - w / 2, y - h / 2, x + w / 2, y + h / 2, height, width)
            return ExampleObject(class_name, box)
        ring = values.reshape(-1, 2) * (width, height)
        corners = values.reshape(-1, 2)
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        box = _clipped(left, top, right, bottom, height, width)
        return ExampleObject(class_name, box, mask=lambda: polygons_mask([ring], height, width))


def _clipped(
    left: float, top: float, right: float, bottom: float, height: int, width: int
) -> tuple[float, float, float, float]:
    """Return a box given by fractions as left, top, width, height in px, clipped to the image."""
    x0, y0 = max(float(left), 0.0) * width, max(float(top), 0.0) * height
    x1, y1 = min(float(right), 1.0) * width, min(float(bottom), 1.0) * height
    return x0, y0, x1 - x0, y1 - y0


def _data_file(folder: Path) -> _DataFile:
    path = next((place / "data.yaml" for place in (folder, folder.parent) if (place / "data.yaml").is_file()), None)
    if path is None:
        return _DataFile({})
    try:
        content: Any = yaml.safe_load(read_text(path)) or {}
        names = content.get("names") or {}
        numbered = names.items() if isinstance(names, dict) else enumerate(names)
        by_number = {int(number): str(name) for number, name in numbered}
        points, dimensions = content.get("kpt_shape") or (0, 0)
        return _DataFile({number: by_number[number] for number in sorted(by_number)}, int(points) * int(dimensions))
    except (yaml.YAMLError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is no YOLO data file: names must be a list or numbers with names, kpt_shape two numbers"
        ) from error
