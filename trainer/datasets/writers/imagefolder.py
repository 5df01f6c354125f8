"""Hugging Face's imagefolder: PNGs, and a line of `metadata.jsonl` for each.

Format: https://huggingface.co/docs/datasets/image_dataset#imagefolder
"""

import json

from trainer.datasets.writers.png import save_png
from trainer.datasets.writers.sample import Need, Sample
from trainer.datasets.writers.writer import DatasetWriter, Record
from trainer.errors import InputError

#: The names of the classes in the order of the class masks' numbers, from 1.
CLASSES = "classes.json"

_LAYOUT = """
* `metadata.jsonl`: a JSON object per image. `file_name` is its PNG (RGB), `label` its class where it has one,
  `objects` its boxes around visible pixels (`bbox`: x, y, width, height in pixels from the left, top corner;
  `categories`: class names); all other fields describe its scene.
* `images/`: the PNGs.
"""
_READ = """
`datasets.load_dataset("imagefolder", data_dir=...)` reads it.
"""
_MASKS = """* `masks/class/`, `masks/instance/`: PNGs of one channel, named by `class_mask_file_name` and
  `instance_mask_file_name`, with 16 bits: the number of the class, and a number for each object.
* `classes.json`: the names of the classes in the order of their numbers, from 1.
"""


class ImageFolderWriter(DatasetWriter):
    """`images/0000000.png` ..., everything else in `metadata.jsonl`."""

    layout = _LAYOUT + _READ
    needs = Need.BOXES
    reader = "images"

    def _write(self, index: int, sample: Sample) -> Record:
        name = f"{index:07d}.png"
        fields: dict[str, object] = {"file_name": f"images/{name}"}
        masks = sample.masks if Need.MASKS in self.needs else {}
        fields |= {f"{mask}_mask_file_name": f"masks/{mask}/{name}" for mask in masks}
        record = {**fields, **description(index, sample, taken=frozenset(fields))}
        for mask, pixels in masks.items():
            save_png(pixels, self._path("masks", mask, name))
        save_png(sample.image, self._path("images", name))
        return record

    def _finish(self) -> None:
        with self._path("metadata.jsonl").open("w", encoding="utf-8") as file:
            for record in self._records():
                file.write(json.dumps(record) + "\n")


class ImageFolderMasksWriter(ImageFolderWriter):
    """The files of `ImageFolderWriter` with masks as `masks/class/0000000.png` and `masks/instance/0000000.png`."""

    layout = _LAYOUT + _MASKS + _READ
    needs = Need.BOXES | Need.MASKS

    def _finish(self) -> None:
        super()._finish()
        self._path(CLASSES).write_text(json.dumps(self.card.classes) + "\n", encoding="utf-8")


def description(index: int, sample: Sample, taken: frozenset[str] = frozenset()) -> dict[str, object]:
    """Return label, boxes and metadata of a sample as JSON.

    Args:
        taken: names that the format uses itself.

    Raises:
        InputError: the metadata does not fit into JSON, or has a field of one of these names.
    """
    fields: dict[str, object] = {}
    if sample.label is not None:
        fields["label"] = sample.label
    if sample.seen:
        fields["objects"] = {
            "bbox": [[box.x, box.y, box.width, box.height] for _, box in sample.seen],
            "categories": [item.class_name for item, _ in sample.seen],
        }
    double = (taken | {"label", "objects"}) & sample.metadata.keys()
    if double:
        raise InputError(f"sample {index}: metadata field {min(double)!r} is a field of the format; rename it")
    try:
        json.dumps(dict(sample.metadata), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"sample {index}: metadata cannot be written as JSON: {error}") from error
    return {**fields, **sample.metadata}
