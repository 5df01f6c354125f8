"""WebDataset: tar files in which the files of a sample follow each other and share the part of the name before the dot.

Format: https://github.com/webdataset/webdataset. Written with the standard library, without times or owners, so that
the bytes depend on the samples alone.
"""

import io
import json
import tarfile

import numpy as np
from PIL import Image

from trainer.datasets.writers.imagefolder import description
from trainer.datasets.writers.sample import Need, Sample
from trainer.datasets.writers.writer import DatasetWriter, Record

#: Samples in a shard.
SHARD = 1000

_LAYOUT = f"""
* `shard-000000.tar` ...: {SHARD} samples each. Of a sample: `NUMBER.png` (RGB), `NUMBER.cls` (where it has a label:
  that number, or of a name its number among the classes, less 1), `NUMBER.json` (label, boxes around visible pixels
  as x, y, width, height in px, the scene's attributes)
"""


class WebDatasetWriter(DatasetWriter):
    """Images and JSON in tar files."""

    layout = _LAYOUT.rstrip() + ".\n"
    needs = Need.BOXES

    def _write(self, index: int, sample: Sample) -> Record:
        members = {"png": _png(sample.image)}
        number = self._class_number(sample.label)
        if number is not None:
            members["cls"] = str(number).encode()
        members["json"] = json.dumps(description(index, sample)).encode()
        if Need.MASKS in self.needs:
            members |= {f"{name}.png": _png(mask) for name, mask in sample.masks.items()}
        data = b"".join(_member(f"{index:07d}.{suffix}", content) for suffix, content in members.items())
        place = index % SHARD
        start = self._last["end"] if place else 0
        with self._path(f"shard-{index // SHARD:06d}.tar").open("r+b" if place else "wb") as file:
            file.seek(start)
            # A tar file ends with two empty blocks; the next sample is written over them.
            file.write(data + bytes(2 * tarfile.BLOCKSIZE))
            file.truncate()
        return {"end": start + len(data)}

    def _class_number(self, label: int | str | None) -> int | None:
        """What `.cls` holds: readers expect a whole number there."""
        if isinstance(label, str):
            return self.card.classes.index(label) if label in self.card.classes else None
        return label

    def _finish(self) -> None:
        """Every shard is whole already."""


class WebDatasetMasksWriter(WebDatasetWriter):
    """The same with masks."""

    layout = _LAYOUT.rstrip() + ",\n  `NUMBER.class.png` and `NUMBER.instance.png` (masks of one channel).\n"
    needs = Need.BOXES | Need.MASKS


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _member(name: str, content: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
