"""COCO's instances: a JSON file and a folder of images."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from trainer.datasets.dataset import ImageDataset, read_json
from trainer.datasets.example import Example, ExampleObject
from trainer.datasets.label_frame import LabelFrame
from trainer.datasets.pixels import read_photo
from trainer.datasets.rasterisation import polygons_mask, runs_mask, unpacked_runs
from trainer.errors import InputError


class CocoDataset(ImageDataset):
    """A JSON file of instances, with its images.

    The dataset's folder is the file's folder, or its parent if that is named `annotations`. Images are searched in
    `images/`, in the folder named like the file (`instances_val2017.json`: `val2017/`) and in the dataset's folder.

    The `width` and `height` of an image state its size when it was labelled: see `LabelFrame.of`. Objects with
    `iscrowd` are ignored regions.
    """

    kind = "coco"

    def __init__(self, path: Path) -> None:
        """
        Args:
            path: the JSON file, or a folder with exactly one, directly or in `annotations/`.

        Raises:
            InputError: there is no such file or more than one, it is not COCO's, or an image is missing.
        """
        self._path = path if path.is_file() else _only_file(path)
        root = self._path.parent.parent if self._path.parent.name == "annotations" else self._path.parent
        super().__init__(root)
        content = read_json(self._path)
        if not isinstance(content, dict):
            raise InputError(f"{self._path} is not a COCO file of instances: it holds a {type(content).__name__}")
        try:
            self._images = sorted(content["images"], key=lambda image: str(image["file_name"]))
            self._categories = {category["id"]: str(category["name"]) for category in content["categories"]}
            self._annotations: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in self._images}
            for annotation in content.get("annotations") or ():
                if annotation["image_id"] not in self._annotations:
                    raise InputError(
                        f"{self._path}: annotation {annotation.get('id')} belongs to image {annotation['image_id']!r}, "
                        "which `images` does not list"
                    )
                self._annotations[annotation["image_id"]].append(annotation)
            self.classes = tuple(self._categories[number] for number in sorted(self._categories))
        except KeyError as error:
            raise InputError(f"{self._path} is not a COCO file of instances: {error} is missing") from error
        except (TypeError, AttributeError) as error:
            raise InputError(
                f"{self._path} is not a COCO file of instances: images, annotations and categories must be lists of "
                f"objects ({error})"
            ) from error
        self._labelled = "annotations" in content
        if not self._images:
            raise InputError(f"{self._path} names no image")
        places = [root / "images", root / self._path.stem.rpartition("_")[2], root]
        first = str(self._images[0]["file_name"])
        self._folder = next((place for place in places if (place / first).is_file()), root / "images")

    def __len__(self) -> int:
        return len(self._images)

    def image_path(self, index: int) -> Path:
        """See `ImageDataset.image_path`."""
        return self._folder / str(self._images[index]["file_name"])

    def example(self, index: int) -> Example:
        image = self._images[index]
        name = str(image["file_name"])
        photo = read_photo(self._folder / name)
        annotations = self._annotations[image["id"]]
        if not annotations:
            return Example(name=name, image=photo.pixels, objects=() if self._labelled else None)
        frame = LabelFrame.of(photo, _stated_size(image), str(self._folder / name))
        objects = tuple(self._object(item, frame) for item in annotations)
        return Example(name=name, image=photo.pixels, objects=objects)

    def _object(self, annotation: dict[str, Any], frame: LabelFrame) -> ExampleObject:
        where = f"{self._path}: annotation {annotation.get('id')}"
        try:
            x, y, w, h = (float(value) for value in annotation["bbox"])
            class_name = self._categories[annotation["category_id"]]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where} has no bbox of four numbers with a known category_id") from error
        if not all(map(math.isfinite, (x, y, w, h))) or w < 0 or h < 0:
            raise InputError(f"{where} has the bbox {annotation['bbox']}; it must be x, y, width, height in px")
        segmentation = annotation.get("segmentation")

        def mask() -> np.ndarray:
            try:
                return frame.mask(_mask(segmentation, frame.height, frame.width))
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise InputError(f"{where}: its segmentation is neither polygons nor run lengths: {error}") from error

        return ExampleObject(
            class_name,
            frame.box((x, y, w, h)),
            mask=mask if segmentation else None,
            ignored=bool(annotation.get("iscrowd", 0)),
        )


def annotation_files(folder: Path) -> list[Path]:
    """Return COCO's JSON files in a folder, or in its `annotations/`."""
    return sorted((folder / "annotations").glob("*.json")) or sorted(folder.glob("*coco*.json"))


def _only_file(folder: Path) -> Path:
    found = annotation_files(folder)
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:5])
        raise InputError(
            f"{folder} holds {len(found)} COCO files{f' ({names})' if found else ''}; "
            "give the path of one, such as annotations/instances.json"
        )
    return found[0]


def _stated_size(image: dict[str, Any]) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    if isinstance(width, int | float) and isinstance(height, int | float) and width >= 1 and height >= 1:
        return round(width), round(height)
    return None


def _mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    if isinstance(segmentation, list):
        return polygons_mask([np.asarray(ring, np.float64).reshape(-1, 2) for ring in segmentation], height, width)
    counts = segmentation["counts"]
    return runs_mask(unpacked_runs(counts) if isinstance(counts, str) else counts, height, width)
