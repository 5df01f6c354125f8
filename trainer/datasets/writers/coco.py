"""COCO's instances: images and one JSON file with boxes and segmentations.

Format: https://cocodataset.org/#format-data. Pixels: (0, 0) is the top left corner of the top left pixel.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import numpy as np

from trainer.datasets.writers.polygons import mask_polygons
from trainer.datasets.writers.sample import Need, Sample
from trainer.datasets.writers.writer import DatasetWriter, Record

_LAYOUT = """
* `images/`: the images (RGB).
* `annotations/instances.json`: `images`, `categories` (`id` is the class's number), and `annotations`, one for each
  object with visible pixels: `bbox` (x, y, width, height in pixels) around these, `area` their number,
  {segmentation}
  `iscrowd` is always 0.
"""


class CocoWriter(DatasetWriter):
    """Instances as polygons."""

    layout = _LAYOUT.format(
        segmentation="`segmentation` polygons that give the same pixels again; holes are cut open, parts are several."
    )
    needs = Need.BOXES | Need.MASKS
    reader = "coco"

    def _segmentation(self, mask: np.ndarray) -> Any:
        return [ring.ravel().tolist() for ring in mask_polygons(mask)]

    def _write(self, index: int, sample: Sample) -> Record:
        name = self._save_image(sample, "images", f"{index:07d}")
        height, width = sample.size
        number = {class_name: place for place, class_name in enumerate(self.card.classes, 1)}
        annotations = [
            {
                "image_id": index + 1,
                "category_id": number[item.class_name],
                "bbox": [box.x, box.y, box.width, box.height],
                "area": item.visible_px,
                "iscrowd": 0,
                "segmentation": self._segmentation(sample.pixels(item)),
            }
            for item, box in sample.seen
        ]
        image = {"id": index + 1, "file_name": name, "width": width, "height": height}
        return {"image": image, "annotations": annotations}

    def _finish(self) -> None:
        with self._path("annotations", "instances.json").open("w", encoding="utf-8") as file:
            info = {"description": self.card.description, "version": "1.0", "contributor": self.card.source}
            categories = [{"id": place, "name": name} for place, name in enumerate(self.card.classes, 1)]
            file.write(f'{{"info":{json.dumps(info)},"licenses":[],"categories":{json.dumps(categories)}')
            _write_list(file, "images", self._images)
            _write_list(file, "annotations", self._annotations)
            file.write("}\n")

    def _images(self) -> Iterator[Record]:
        return (record["image"] for record in self._records())

    def _annotations(self) -> Iterator[Record]:
        number = 0
        for record in self._records():
            for annotation in record["annotations"]:
                number += 1
                yield {"id": number, **annotation}


class CocoRleWriter(CocoWriter):
    """Instances as run lengths, which represent any mask exactly."""

    layout = _LAYOUT.format(segmentation="`segmentation` their run lengths, column by column, not compressed.")

    def _segmentation(self, mask: np.ndarray) -> Any:
        return {"size": list(mask.shape), "counts": run_lengths(mask)}


def run_lengths(mask: np.ndarray) -> list[int]:
    """Return column-wise run lengths of a mask bool [height, width], the first of which is False."""
    pixels = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(pixels)) + 1
    ends = np.concatenate(([0] if not pixels[0] else [0, 0], changes, [len(pixels)]))
    return np.diff(ends).tolist()


def _write_list(file: TextIO, name: str, items: Callable[[], Iterator[Record]]) -> None:
    """Write a key with a list item by item, since the list may exceed memory."""
    file.write(f',"{name}":[')
    for place, item in enumerate(items()):
        file.write(("," if place else "") + "\n" + json.dumps(item, separators=(",", ":")))
    file.write("]")
