"""The journal of an unfinished export: its identity, then a line for each sample whose files are written."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from trainer.datasets.writers.card import Counts
from trainer.errors import InputError

#: The file name in `NAME.partial` and in a finished part.
JOURNAL = ".journal.jsonl"
#: Maximum number of samples, and bytes of their lines, per write.
_BATCH, _BATCH_BYTES = 64, 1 << 20


class Journal:
    """Counts samples and keeps their records; lines are written in batches.

    Attributes:
        count: number of samples.
        written: number of samples whose lines are written.
        counts: counts of their labels and objects.
        audited: label and expected objects of audited samples by number.
        last: the record of the last sample; None: there is none.
    """

    def __init__(self, path: Path, file: BinaryIO, first: int = 0) -> None:
        """
        Args:
            first: number of the first sample.
        """
        self.count = self.written = 0
        self.counts = Counts()
        self.audited: dict[int, tuple[Any, Any]] = {}
        self.last: Any = None
        self._path, self._file, self._first = path, file, first
        self._lines: list[bytes] = []
        self._bytes = 0

    @classmethod
    def start(cls, path: Path, identity: Mapping[str, Any], first: int) -> "Journal":
        """Start a journal.

        Args:
            identity: values that are equal for equal exports.
            first: number of the first sample.
        """
        journal = cls(path, path.open("wb"), first)
        journal._file.write(json.dumps(identity).encode() + b"\n")
        journal._file.flush()
        return journal

    @classmethod
    def resume(cls, path: Path, first: int, kept: Callable[[int], int]) -> "Journal":
        """Resume a journal after its last complete line, in constant memory.

        Args:
            kept: returns how many of a number of samples exist; the lines of the others are removed.
        """
        with path.open("rb") as file:
            whole = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
        journal = cls(path, path.open("r+b"), first)
        end = 0
        with path.open("rb") as lines:
            for place, line in enumerate(itertools.islice(lines, kept(whole - 1) + 1)):
                end += len(line)
                if place:
                    journal._count(json.loads(line))
        journal.written = journal.count
        journal._file.truncate(end)
        journal._file.seek(0, 2)
        return journal

    @property
    def full(self) -> bool:
        """Return whether the lines should be written now."""
        return len(self._lines) >= _BATCH or self._bytes >= _BATCH_BYTES

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add a sample: `label`, `objects`, `record`, and optionally `drawn` and `audit`."""
        self._count(entry)
        self._add(json.dumps(entry, separators=(",", ":")).encode() + b"\n")

    def extend(self, lines: Iterable[bytes]) -> None:
        """Add the samples of another journal."""
        for line in lines:
            self._count(json.loads(line))
            self._add(line)

    def flush(self) -> None:
        """Write the lines."""
        self._file.writelines(self._lines)
        self._file.flush()
        self._lines, self._bytes = [], 0
        self.written = self.count

    def close(self) -> None:
        """Close the file. Unwritten lines are lost."""
        self._file.close()

    def entries(self) -> Iterator[dict[str, Any]]:
        """Return the samples whose lines are written, in order."""
        with self._path.open("rb") as lines:
            next(lines)
            for line in lines:
                yield json.loads(line)

    def _add(self, line: bytes) -> None:
        self._lines.append(line)
        self._bytes += len(line)

    def _count(self, entry: Mapping[str, Any]) -> None:
        self.counts.labels[entry["label"]] += 1
        for name in entry["objects"]:
            self.counts.objects[name] += 1
        self.counts.drawn += entry.get("drawn", 1)
        if "audit" in entry:
            self.counts.audited += 1
            self.counts.audited_objects += len(entry["audit"])
            self.audited[self._first + self.count] = (entry["label"], entry["audit"])
        self.last = entry["record"]
        self.count += 1


def read_identity(path: Path) -> dict[str, Any]:
    """Return the identity of a journal; empty if it has none."""
    with path.open("rb") as lines:
        first = next(lines, b"")
    return _loaded(first) if first.endswith(b"\n") else {}


def read_journal(folder: Path) -> tuple[dict[str, Any], list[bytes]]:
    """Return the identity of a part, and the lines of its samples.

    Raises:
        InputError: the folder is not a part of a dataset, or the part is incomplete.
    """
    try:
        with (folder / JOURNAL).open("rb") as file:
            first, *lines = file.readlines() or [b""]
    except OSError as error:
        raise InputError(f"{folder} is not a part of a dataset: {error.strerror or error}") from error
    identity = _loaded(first)
    if "part" not in identity or len(lines) != identity["part"][1] - identity["part"][0]:
        raise InputError(f"{folder} is not a complete part of a dataset")
    return identity, lines


def _loaded(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
