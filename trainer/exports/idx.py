"""The idx format of MNIST: one file of grey images, one of labels.

Format: http://yann.lecun.com/exdb/mnist (big-endian; magic 0x00000803 and 0x00000801 for unsigned bytes).
"""

import gzip
import shutil
import struct
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from trainer.errors import InputError
from trainer.exports.card import DatasetCard
from trainer.exports.sample import Sample
from trainer.exports.writer import DatasetWriter

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

    def __init__(self, folder: Path, card: DatasetCard, *, compress: bool = False) -> None:
        """Starts an export; `compress` writes .gz files, as MNIST is distributed."""
        super().__init__(folder, card)
        self._compress = compress
        self._size: tuple[int, int] | None = None  # height, width
        with self._writing():
            self._images: BinaryIO = (self._partial / IMAGES).open("wb")
            self._labels_file: BinaryIO = (self._partial / LABELS).open("wb")
            self._write_headers()

    def _write(self, index: int, sample: Sample) -> None:
        height, width = sample.image.shape[:2]
        if self._size is None:
            self._size = (height, width)
        if self._size != (height, width):
            raise InputError(
                f"sample {index} is {width}x{height} px; idx holds images of one size, "
                f"here {self._size[1]}x{self._size[0]}; choose imagefolder"
            )
        label = sample.label
        if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label <= _MAX_LABEL:
            raise InputError(
                f"sample {index}: label {label!r} does not fit idx; allowed: whole numbers from 0 to {_MAX_LABEL}; "
                "choose imagefolder"
            )
        self._images.write(Image.fromarray(sample.image).convert("L").tobytes())
        self._labels_file.write(bytes([label]))

    def _finish(self) -> None:
        self._write_headers()
        self._close_files()
        if self._compress:
            for name in (IMAGES, LABELS):
                _compress(self._partial / name)

    def abort(self) -> None:
        """As the base class says; what was written so far gets its proper header."""
        with self._writing():
            self._write_headers()
            self._close_files()
        super().abort()

    def _write_headers(self) -> None:
        """Both headers at the start of their files: the count is known at the end only."""
        height, width = self._size or (0, 0)
        for file, header in (
            (self._images, _IMAGES_HEADER.pack(0x803, self.count, height, width)),
            (self._labels_file, _LABELS_HEADER.pack(0x801, self.count)),
        ):
            file.seek(0)
            file.write(header)

    def _close_files(self) -> None:
        self._images.close()
        self._labels_file.close()


def _compress(path: Path) -> None:
    """Replaces a file by its .gz, whose bytes depend on the content alone (no name, no time)."""
    with (
        path.open("rb") as source,
        path.with_name(path.name + ".gz").open("wb") as target,
        gzip.GzipFile(filename="", fileobj=target, mode="wb", mtime=0) as stream,
    ):
        shutil.copyfileobj(source, stream)
    path.unlink()
