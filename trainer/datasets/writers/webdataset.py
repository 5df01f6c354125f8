"""WebDataset: tar files in which the files of a sample follow each other and share the part of the name before the dot.

Format: https://github.com/webdataset/webdataset. Written with the standard library, without times or owners, so that
the bytes depend on the samples alone.
"""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainer.datasets.writers.imagefolder import CLASSES, description
from trainer.datasets.writers.png import save_png
from trainer.datasets.writers.sample import Need, Sample
from trainer.datasets.writers.writer import DatasetWriter, Record

#: A tar file ends with two empty blocks.
_END = bytes(2 * tarfile.BLOCKSIZE)
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
    reader = "webdataset"

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
        start = self._last["end"] if place and self.count else 0
        _put(self._path(f"shard-{index // SHARD:06d}.tar"), start, data)
        return {"end": start + len(data)}

    def _take_files(self, folder: Path, records: Sequence[Record]) -> None:
        """Parts share the shard in which one ends and the next one begins."""
        del records
        for path in sorted(folder.glob("shard-*.tar")):
            target = self._path(path.name)
            start = target.stat().st_size - len(_END) if target.exists() else 0
            _put(target, start, path.read_bytes()[: -len(_END)])

    def _class_number(self, label: int | str | None) -> int | None:
        """Return the content of `.cls`, where readers expect a whole number."""
        if isinstance(label, str):
            return self.card.classes.index(label) if label in self.card.classes else None
        return label

    def _finish(self) -> None:
        """Shards are complete after each sample."""


class WebDatasetMasksWriter(WebDatasetWriter):
    """The files of `WebDatasetWriter` with masks."""

    layout = (
        _LAYOUT.rstrip() + ",\n  `NUMBER.class.png` and `NUMBER.instance.png` (masks of one channel).\n"
        "* `classes.json`: the names of the classes in the order of their numbers in class masks, from 1.\n"
    )
    needs = Need.BOXES | Need.MASKS

    def _finish(self) -> None:
        self._path(CLASSES).write_text(json.dumps(self.card.classes) + "\n", encoding="utf-8")


def _put(path: Path, start: int, data: bytes) -> None:
    """Write members at a place in a tar file, over the end that it has had there."""
    with path.open("r+b" if start else "wb") as file:
        file.seek(start)
        file.write(data + _END)
        file.truncate()


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    save_png(pixels, file)
    return file.getvalue()


def _member(name: str, content: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
