"""A folder of images. Sub-folders are labels; a metadata.jsonl (Hugging Face's imagefolder) says more."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from trainer.datasets.dataset import ImageDataset, read_json
from trainer.datasets.example import IMAGE_SUFFIXES, Example, ExampleObject, read_image, read_mask
from trainer.errors import InputError

METADATA = "metadata.jsonl"
#: Names of the classes in the order of the class masks' numbers, from 1; of the project's own exports.
CLASSES = "classes.json"


class ImageFolder(ImageDataset):
    """The images of a folder and of the folders in it, in the order of their paths.

    Labels: `label` of a metadata.jsonl; without one, where every image lies in a sub-folder, the sub-folder's name.
    """

    kind = "images"

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            InputError: there is no image, or the metadata cannot be read.
        """
        super().__init__(folder)
        self._rows: dict[str, dict[str, Any]] = {}
        if (folder / METADATA).is_file():
            self._rows = _metadata(folder / METADATA)
            self._names = list(self._rows)
        else:
            self._names = image_names(folder)
        if not self._names:
            raise InputError(f"{folder} holds no image; looked for names that end in {', '.join(IMAGE_SUFFIXES)}")
        if self._rows:
            objects = {name for row in self._rows.values() for name in row.get("objects", {}).get("categories", ())}
            labels = {str(row["label"]) for row in self._rows.values() if "label" in row}
            self.classes = tuple(sorted(objects | labels))
            if (folder / CLASSES).is_file():
                self.classes = tuple(str(name) for name in read_json(folder / CLASSES))
            self._labelled = False
        else:
            self._labelled = all("/" in name for name in self._names)
            self.classes = tuple(sorted({name.split("/")[0] for name in self._names})) if self._labelled else ()

    def __len__(self) -> int:
        return len(self._names)

    def example(self, index: int) -> Example:
        name = self._names[index]
        row = self._rows.get(name, {})
        image = read_image(self.folder / name)
        objects = None
        if self._rows:
            boxes = row.get("objects", {"bbox": [], "categories": []})
            try:
                objects = tuple(
                    ExampleObject(str(category), (float(x), float(y), float(width), float(height)))
                    for category, (x, y, width, height) in zip(boxes["categories"], boxes["bbox"], strict=True)
                )
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{self.folder / METADATA}: objects of {name} are no `bbox` and `categories`: {error}"
                ) from error
        mask = row.get("class_mask_file_name")
        return Example(
            name=name,
            image=image,
            label=row.get("label") if self._rows else name.split("/")[0] if self._labelled else None,
            objects=objects,
            class_mask=None if mask is None else lambda: self._mask(image, str(mask)),
        )

    def _mask(self, image: np.ndarray, name: str) -> np.ndarray:
        mask = read_mask(self.folder / name)
        if mask.shape != image.shape[:2]:
            raise InputError(f"{self.folder / name} has the shape {mask.shape}; its image has {image.shape[:2]}")
        return mask


def image_names(folder: Path) -> list[str]:
    """Paths of the images in and below a folder, from it, sorted; hidden ones are left out."""
    found = (path for path in folder.glob("**/*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    names = (path.relative_to(folder) for path in found)
    return sorted(name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))


def _metadata(path: Path) -> dict[str, dict[str, Any]]:
    rows = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            rows[str(row["file_name"])] = row
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}, line {number}: it must be a JSON object with a file_name") from error
    return rows
