"""Hugging Face's imagefolder: PNGs, and a line of `metadata.jsonl` for each.

Format: https://huggingface.co/docs/datasets/image_dataset#imagefolder
"""

import json
from pathlib import Path
from typing import TextIO

from PIL import Image

from trainer.errors import InputError
from trainer.exports.card import DatasetCard
from trainer.exports.sample import Sample
from trainer.exports.writer import DatasetWriter

_RESERVED = frozenset({"file_name", "label", "objects"})


class ImageFolderWriter(DatasetWriter):
    """`images/0000000.png` ..., masks as `masks/NAME/0000000.png`, everything else in `metadata.jsonl`."""

    layout = """
* `metadata.jsonl`: a JSON object per image. `file_name` is its PNG (RGB), `label` its class where it has one,
  `objects` its boxes (`bbox`: x, y, width, height in pixels from the left, top corner; `categories`: class names),
  `NAME_mask_file_name` its masks; all other fields describe its scene.
* `images/`, `masks/NAME/`: the PNGs. Masks have one channel of 8 or 16 bits.

`datasets.load_dataset("imagefolder", data_dir=...)` reads it.
"""

    def __init__(self, folder: Path, card: DatasetCard) -> None:
        super().__init__(folder, card)
        with self._writing():
            (self._partial / "images").mkdir()
            self._metadata: TextIO = (self._partial / "metadata.jsonl").open("w", encoding="utf-8")

    def _write(self, index: int, sample: Sample) -> None:
        name = f"{index:07d}.png"
        fields: dict[str, object] = {"file_name": f"images/{name}"}
        if sample.label is not None:
            fields["label"] = sample.label
        if sample.boxes:
            fields["objects"] = {
                "bbox": [[box.x, box.y, box.width, box.height] for box in sample.boxes],
                "categories": [box.class_name for box in sample.boxes],
            }
        for mask in sample.masks:
            fields[f"{mask}_mask_file_name"] = f"masks/{mask}/{name}"
        taken = (_RESERVED | fields.keys()) & sample.metadata.keys()
        if taken:
            raise InputError(f"sample {index}: metadata field {min(taken)!r} is a field of the format; rename it")
        try:
            line = json.dumps({**fields, **sample.metadata}, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"sample {index}: metadata cannot be written as JSON: {error}") from error
        for mask, pixels in sample.masks.items():
            path = self._partial / "masks" / mask / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        Image.fromarray(sample.image).save(self._partial / "images" / name)
        self._metadata.write(line + "\n")

    def _finish(self) -> None:
        self._metadata.close()

    def abort(self) -> None:
        """As the base class says; the lines written so far are flushed."""
        self._metadata.close()
        super().abort()
