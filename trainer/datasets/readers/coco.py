"""COCO's instances: a JSON file and a folder of images."""

from pathlib import Path
from typing import Any

import numpy as np

from trainer.datasets.dataset import ImageDataset, read_json
from trainer.datasets.drawing import polygons_mask, runs_mask, unpacked_runs
from trainer.datasets.example import Example, ExampleObject, read_image
from trainer.errors import InputError


class CocoDataset(ImageDataset):
    """A JSON file of instances, with the images beside it.

    They are looked for in `images/`, in the folder that the file is named after (`instances_val2017.json`: `val2017/`)
    and in the folder itself, which is the file's or, if that is called `annotations`, the one above.
    """

    kind = "coco"

    def __init__(self, path: Path) -> None:
        """
        Args:
            path: the JSON file, or the folder with it, alone or in `annotations/`.

        Raises:
            InputError: there is no such file or several, it is not COCO's, or an image is missing.
        """
        self._path = path if path.is_file() else _annotations(path)
        root = self._path.parent.parent if self._path.parent.name == "annotations" else self._path.parent
        super().__init__(root)
        content = read_json(self._path)
        try:
            self._images = sorted(content["images"], key=lambda image: str(image["file_name"]))
            self._categories = {category["id"]: str(category["name"]) for category in content["categories"]}
            self._annotations: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in self._images}
            for annotation in content.get("annotations", ()):
                self._annotations[annotation["image_id"]].append(annotation)
            self._labelled = "annotations" in content
        except (KeyError, TypeError) as error:
            raise InputError(f"{self._path} is no COCO file of instances: {error} is missing") from error
        if not self._images:
            raise InputError(f"{self._path} names no image")
        self.classes = tuple(self._categories[number] for number in sorted(self._categories))
        places = [root / "images", root / self._path.stem.rpartition("_")[2], root]
        first = str(self._images[0]["file_name"])
        self._folder = next((place for place in places if (place / first).is_file()), root / "images")

    def __len__(self) -> int:
        return len(self._images)

    def example(self, index: int) -> Example:
        image = self._images[index]
        name = str(image["file_name"])
        pixels = read_image(self._folder / name)
        height, width = pixels.shape[:2]
        objects = [self._object(item, height, width) for item in self._annotations[image["id"]]]
        return Example(name=name, image=pixels, objects=tuple(objects) if self._labelled else None)

    def _object(self, annotation: dict[str, Any], height: int, width: int) -> ExampleObject:
        where = f"{self._path}: annotation {annotation.get('id')}"
        try:
            x, y, w, h = (float(value) for value in annotation["bbox"])
            class_name = self._categories[annotation["category_id"]]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where} has no bbox of four numbers with a known category_id") from error
        segmentation = annotation.get("segmentation")

        def mask() -> np.ndarray:
            try:
                return _mask(segmentation, height, width)
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise InputError(f"{where}: its segmentation is neither polygons nor run lengths: {error}") from error

        return ExampleObject(class_name, (x, y, w, h), mask=mask if segmentation else None)


def annotation_files(folder: Path) -> list[Path]:
    """COCO's JSON files in a folder, or in its `annotations/`."""
    return sorted((folder / "annotations").glob("*.json")) or sorted(folder.glob("*coco*.json"))


def _annotations(folder: Path) -> Path:
    found = annotation_files(folder)
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:5])
        raise InputError(
            f"{folder} holds {len(found)} COCO files{f' ({names})' if found else ''}; "
            "give the path of one, such as annotations/instances.json"
        )
    return found[0]


def _mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    if isinstance(segmentation, list):
        return polygons_mask([np.asarray(ring, np.float64).reshape(-1, 2) for ring in segmentation], height, width)
    counts = segmentation["counts"]
    return runs_mask(unpacked_runs(counts) if isinstance(counts, str) else counts, height, width)
