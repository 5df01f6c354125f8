"""WebDataset: tar files in which a sample's files are adjacent and have the same name up to the first dot.

Format: https://github.com/webdataset/webdataset. Files have no times or owners, so that the bytes depend only on the
samples.
"""

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from trainer.datasets.writers.card import DatasetCard
from trainer.datasets.writers.imagefolder import CLASSES, description, to_json
from trainer.datasets.writers.sample import Need, Sample
from trainer.datasets.writers.sharded import ShardedWriter
from trainer.datasets.writers.writer import Record

#: A tar file ends with two empty blocks.
_END = bytes(2 * tarfile.BLOCKSIZE)
#: Bytes to buffer before writing.
_BUFFER = 1 << 20

_LAYOUT = """
* `shard-000000.tar` ...: tar files of as many samples each. Of a sample: `NUMBER.png` (RGB; or `.jpg`, `.webp`),
  `NUMBER.cls` (where it has a label: that number, or of a name its number among the classes, less 1), `NUMBER.json`
  (label, boxes around visible pixels as x, y, width, height in px, the scene's attributes)
"""


class WebDatasetWriter(ShardedWriter):
    """Images and JSON in tar files."""

    layout = _LAYOUT.rstrip() + ".\n"
    needs = Need.BOXES
    reader = "webdataset"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._file: BinaryIO | None = None
        self._file_name = ""
        super().__init__(*arguments, **options)

    @classmethod
    def file_name(cls, number: int, card: DatasetCard) -> str:
        """See `ShardedWriter.file_name`."""
        del card
        return f"shard-{number:06d}.tar"

    def _write(self, index: int, sample: Sample) -> Record:
        members = {self.encoding.suffix: sample.picture.file(self.encoding)}
        number = self._class_number(sample.label)
        if number is not None:
            members["cls"] = str(number).encode()
        members["json"] = to_json(index, description(index, sample)).encode()
        if Need.MASKS in self.needs:
            members |= {f"{name}.png": mask.file() for name, mask in sample.mask_pictures.items()}
        data = b"".join(_member(f"{index:07d}.{suffix}", content) for suffix, content in members.items())
        start = self._last["end"] if self._place(index) and self.count else 0
        self._file_at(self.file_name(index // self.card.per_file, self.card), start).write(data)
        if self._place(index) == self.card.per_file - 1:
            self._end_file()  # Complete the file before its last sample enters the journal.
        return {"end": start + len(data)}

    def _file_at(self, name: str, start: int) -> BinaryIO:
        """Return the open tar file for samples; start it, or resume it after its last known sample."""
        if self._file is None or name != self._file_name:
            self._end_file()
            self._file, self._file_name = self._path(name).open("r+b" if start else "wb", buffering=_BUFFER), name
            self._file.seek(start)
            self._file.truncate()
        return self._file

    def _end_file(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            with file:
                file.write(_END)

    def _flush_files(self) -> None:
        if self._file is not None:
            self._file.flush()

    def _finish_files(self) -> None:
        self._end_file()

    def _release(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _take_files(self, folder: Path, records: Sequence[Record]) -> None:
        """Parts share the file in which one ends and the next begins."""
        del records
        self._end_file()
        for path in sorted(folder.glob("shard-*.tar")):
            target = self._path(path.name)
            start = target.stat().st_size - len(_END) if target.exists() else 0
            with target.open("r+b" if start else "wb") as file:
                file.seek(start)
                file.write(path.read_bytes())

    def _class_number(self, label: int | str | None) -> int | None:
        """Return the content of `.cls`, for which readers expect an integer."""
        if isinstance(label, str):
            return self.card.classes.index(label) if label in self.card.classes else None
        return label


class WebDatasetMasksWriter(WebDatasetWriter):
    """The files of `WebDatasetWriter` with masks."""

    layout = (
        _LAYOUT.rstrip() + ",\n  `NUMBER.class.png` and `NUMBER.instance.png` (masks of one channel).\n"
        "* `classes.json`: the names of the classes in the order of their numbers in class masks, from 1.\n"
    )
    needs = Need.BOXES | Need.MASKS
    encodes_masks = True

    @classmethod
    def whole_files(cls, card: DatasetCard) -> dict[str, bytes]:
        """See `ShardedWriter.whole_files`."""
        return {CLASSES: (json.dumps(card.classes) + "\n").encode()}


def _member(name: str, content: bytes) -> bytes:
    """Return a tar member with the bytes that `tarfile` writes for default headers, 20 times as fast."""
    header = bytearray(_HEADER)
    header[: len(name)] = name.encode("ascii")
    size = b"%011o" % len(content)
    header[124:135] = size
    header[148:154] = b"%06o" % (_HEADER_SUM + sum(header[: len(name)]) + sum(size))
    return b"".join((header, content, bytes(-len(content) % tarfile.BLOCKSIZE)))


#: A header without name, size and checksum; the checksum field counts as blanks in the sum.
_HEADER = tarfile.TarInfo("").tobuf(tarfile.USTAR_FORMAT)[:124] + bytes(11)
_HEADER += tarfile.TarInfo("").tobuf(tarfile.USTAR_FORMAT)[135:]
_HEADER_SUM = sum(_HEADER[:148]) + 8 * ord(" ") + sum(_HEADER[156:])
