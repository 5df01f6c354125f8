"""Hugging Face's imagefolder: PNGs, and a line of `metadata.jsonl` for each.

Format: https://huggingface.co/docs/datasets/image_dataset#imagefolder
"""

import json
from collections.abc import Mapping

from trainer.datasets.writers.sample import Need, Sample
from trainer.datasets.writers.writer import DatasetWriter, Record
from trainer.errors import InputError

#: Class names in the order of the class masks' numbers, from 1.
CLASSES = "classes.json"

_LAYOUT = """
* `metadata.jsonl`: a JSON object per image. `file_name` is its file (RGB), `label` its class where it has one,
  `objects` its boxes around visible pixels (`bbox`: x, y, width, height in pixels from the left, top corner;
  `categories`: class names); all other fields describe its scene.
* `images/`: the images.
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
        fields: dict[str, object] = {"file_name": f"images/{index:07d}.{self.encoding.suffix}"}
        masks = sample.mask_pictures if Need.MASKS in self.needs else {}
        fields |= {f"{mask}_mask_file_name": f"masks/{mask}/{name}" for mask in masks}
        record = {**fields, **description(index, sample, taken=frozenset(fields))}
        to_json(index, record)
        for mask, picture in masks.items():
            self._path("masks", mask, name).write_bytes(picture.file())
        self._save_image(sample, "images", f"{index:07d}")
        return record

    def _finish(self) -> None:
        with self._path("metadata.jsonl").open("w", encoding="utf-8") as file:
            for record in self._records():
                file.write(json.dumps(record) + "\n")


class ImageFolderMasksWriter(ImageFolderWriter):
    """The files of `ImageFolderWriter` with masks as `masks/class/0000000.png` and `masks/instance/0000000.png`."""

    layout = _LAYOUT + _MASKS + _READ
    needs = Need.BOXES | Need.MASKS
    encodes_masks = True

    def _finish(self) -> None:
        super()._finish()
        self._path(CLASSES).write_text(json.dumps(self.card.classes) + "\n", encoding="utf-8")


def description(index: int, sample: Sample, taken: frozenset[str] = frozenset()) -> dict[str, object]:
    """Return label, boxes and metadata of a sample as values for `to_json`.

    Args:
        taken: field names that the format reserves.

    Raises:
        InputError: the metadata has a field of one of these names.
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
    return {**fields, **sample.metadata}


def to_json(index: int, fields: Mapping[str, object]) -> str:
    """Return the JSON of a sample's description.

    Raises:
        InputError: a value of its metadata does not fit into JSON.
    """
    try:
        return json.dumps(fields, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"sample {index}: metadata cannot be written as JSON: {error}") from error
