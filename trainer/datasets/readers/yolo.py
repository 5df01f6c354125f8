"""YOLO's text files, boxes or polygons."""

from pathlib import Path

import numpy as np
import yaml

from trainer.datasets.dataset import ImageDataset
from trainer.datasets.drawing import polygons_mask
from trainer.datasets.example import Example, ExampleObject, read_image
from trainer.datasets.readers.image_folder import image_names
from trainer.errors import InputError

_BOX = 4


class YoloDataset(ImageDataset):
    """`images/`, and `labels/` with the same names in it; class names from `data.yaml`, else `class-0`, ...

    An image without a file of labels shows nothing, as YOLO has it; without any such file there are no labels.
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
        self._labelled = labels.is_dir() and any(labels.glob("**/*.txt"))
        self.classes = _class_names(folder)

    def __len__(self) -> int:
        return len(self._names)

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
        height, width = image.shape[:2]
        objects = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                first, *rest = line.split()
                values = np.array([float(text) for text in rest])
                class_number = int(first)
                if class_number < 0 or not np.isfinite(values).all():
                    raise ValueError
            except ValueError:
                raise InputError(f"{path}, line {number}: {line[:60]!r} is no class number with coordinates") from None
            class_name = self.classes[class_number] if class_number < len(self.classes) else f"class-{class_number}"
            if len(values) == _BOX:
                x, y, w, h = values * (width, height, width, height)
                objects.append(ExampleObject(class_name, (x - w / 2, y - h / 2, w, h)))
            elif len(values) >= 2 * 3 and len(values) % 2 == 0:
                ring = values.reshape(-1, 2) * (width, height)
                (left, top), (right, bottom) = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
                objects.append(
                    ExampleObject(
                        class_name,
                        (left, top, right - left, bottom - top),
                        mask=lambda ring=ring: polygons_mask([ring], height, width),  # type: ignore[misc]
                    )
                )
            else:
                raise InputError(f"{path}, line {number}: {len(values)} coordinates; a box has 4, a polygon 6 or more")
        return tuple(objects)


def _class_names(folder: Path) -> tuple[str, ...]:
    path = folder / "data.yaml"
    if not path.is_file():
        return ()
    try:
        names = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("names", ())
        ordered = [names[number] for number in sorted(names)] if isinstance(names, dict) else list(names)
    except (yaml.YAMLError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is no YOLO data file: names must be a list or numbers with names") from error
    return tuple(str(name) for name in ordered)
