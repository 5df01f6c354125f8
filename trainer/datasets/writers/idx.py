"""The idx format of MNIST: one file of grey images, one of labels.

Format: http://yann.lecun.com/exdb/mnist (big-endian; magic 0x00000803 and 0x00000801 for unsigned bytes).
"""

import gzip
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from trainer.datasets.writers.sample import Sample
from trainer.datasets.writers.writer import DatasetWriter, Record
from trainer.errors import InputError

IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"

_MAX_LABEL = 255
_IMAGES_HEADER = struct.Struct(">IIII")  # magic, count, height, width
_LABELS_HEADER = struct.Struct(">II")  # magic, count


class IdxWriter(DatasetWriter):
    """Grey images of one size and labels from 0 to 255. Boxes, masks and metadata have no place in this format."""

    layout = f"""
* `{IMAGES}`: the images, uint8 [count, height, width]. Colours are turned into grey by
  L = 0.299 R + 0.587 G + 0.114 B (ITU-R 601-2), which leaves grey images as they are.
* `{LABELS}`: the labels, uint8 [count].

With `.gz` both are compressed. Names and format are those of MNIST's training part.
"""
    reader = "idx"
    image_formats = ("png",)
    encodes_image = False
    #: Whether the files are gzipped, as MNIST is distributed.
    compress = False

    def _write(self, index: int, sample: Sample) -> Record:
        height, width = sample.size
        first_height, first_width = self._last["size"] if self._last else (height, width)
        if (first_height, first_width) != (height, width):
            raise InputError(
                f"sample {index} is {width}x{height} px; idx holds images of one size, "
                f"here {first_width}x{first_height}; choose imagefolder"
            )
        label = sample.label
        if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label <= _MAX_LABEL:
            raise InputError(
                f"sample {index}: label {label!r} does not fit idx; allowed: whole numbers from 0 to {_MAX_LABEL}; "
                "choose imagefolder"
            )
        path = self._path(IMAGES)
        with path.open("r+b" if self.count else "wb") as file:
            file.seek(_IMAGES_HEADER.size + self.count * height * width)
            file.write(Image.fromarray(sample.image).convert("L").tobytes())
        return {"size": [height, width], "label": label}

    def _take_files(self, folder: Path, records: Sequence[Record]) -> None:
        for record in records:
            if record["size"] != (self._last or records[0])["size"]:
                raise InputError(f"{folder} holds images of another size; idx holds images of one size")
        path = self._path(IMAGES)
        with (folder / IMAGES).open("rb") as source, path.open("r+b" if self.count else "wb") as target:
            source.seek(_IMAGES_HEADER.size)
            height, width = records[0]["size"]
            target.seek(_IMAGES_HEADER.size + self.count * height * width)
            shutil.copyfileobj(source, target)

    def _finish(self) -> None:
        if self._path(IMAGES).exists():  # Otherwise it is already compressed.
            with self._path(IMAGES).open("r+b") as file:
                file.write(_IMAGES_HEADER.pack(0x803, self.count, *self._last["size"]))
        with self._path(LABELS).open("wb") as file:
            file.write(_LABELS_HEADER.pack(0x801, self.count))
            for record in self._records():
                file.write(bytes([record["label"]]))
        if self.compress:
            for name in (IMAGES, LABELS):
                _compress(self._partial / name)


class IdxGzWriter(IdxWriter):
    """The files of `IdxWriter`, gzipped."""

    compress = True


def _compress(path: Path) -> None:
    """Replace a file by its .gz, whose bytes depend only on the content (no name, no time)."""
    if not path.exists():
        return
    with (
        path.open("rb") as source,
        path.with_name(path.name + ".gz").open("wb") as target,
        gzip.GzipFile(filename="", fileobj=target, mode="wb", mtime=0) as stream,
    ):
        shutil.copyfileobj(source, stream)
    path.unlink()
