"""YOLO's text files: a line for each object, coordinates as fractions of the image's width and height.

Format: https://docs.ultralytics.com/datasets/detect and https://docs.ultralytics.com/datasets/segment
"""

import json

from trainer.datasets.writers.polygons import joined, mask_polygons
from trainer.datasets.writers.sample import Instance, Need, Rectangle, Sample
from trainer.datasets.writers.writer import DatasetWriter, Record

_LAYOUT = """
* `data.yaml`: folders and class names. Its `val` is the training part again: take a dataset of another seed, or photos.
* `images/train/`: the images (RGB).
* `labels/train/`: a text file for each image with a line for each object that has visible pixels: the class's number
  from 0, then {line}.
"""


class YoloWriter(DatasetWriter):
    """Boxes around visible pixels."""

    layout = _LAYOUT.format(
        line="the box around these: x and y of its middle, width, height, as fractions of the image"
    )
    needs = Need.BOXES
    reader = "yolo"

    def _write(self, index: int, sample: Sample) -> Record:
        name = f"{index:07d}"
        self._save_image(sample, "images", "train", name)
        lines = []
        for item, box in sample.seen:
            numbers = " ".join(f"{value:.6f}" for value in self._numbers(sample, item, box))
            lines.append(f"{self.card.classes.index(item.class_name)} {numbers}\n")
        self._path("labels", "train", f"{name}.txt").write_text("".join(lines), encoding="ascii")
        return None

    def _finish(self) -> None:
        names = "".join(
            f"  {place}: {json.dumps(name, ensure_ascii=False)}\n" for place, name in enumerate(self.card.classes)
        )
        text = f"# Paths are relative to this file.\ntrain: images/train\nval: images/train\nnames:\n{names}"
        self._path("data.yaml").write_text(text, encoding="utf-8")

    def _numbers(self, sample: Sample, item: Instance, box: Rectangle) -> list[float]:
        del item
        height, width = sample.size
        x, y = box.x + box.width / 2, box.y + box.height / 2
        return [x / width, y / height, box.width / width, box.height / height]


class YoloSegWriter(YoloWriter):
    """Polygons around visible pixels, one for each object: its parts and holes are joined by cuts."""

    layout = _LAYOUT.format(
        line="x and y of the corners of one polygon around these, as fractions; parts and holes are joined by cuts of "
        "no width"
    )
    needs = Need.BOXES | Need.MASKS

    def _numbers(self, sample: Sample, item: Instance, box: Rectangle) -> list[float]:
        del box
        height, width = sample.size
        ring = joined(mask_polygons(sample.pixels(item))) / (width, height)
        return ring.ravel().tolist()
