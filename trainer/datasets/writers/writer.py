"""What all formats share: a dataset is complete under its name, or it is not there, and then it can be gone on with."""

import dataclasses
import errno
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, ClassVar, Self

from trainer.datasets.writers.card import Counts, DatasetCard
from trainer.datasets.writers.meshes import MeshSource
from trainer.datasets.writers.sample import Need, Sample
from trainer.errors import InputError

#: What a format keeps of a sample beside the files that it has written: values that JSON knows.
Record = Any

#: Lies in `NAME.partial`: what the export is of, then a line for each sample whose files are written.
JOURNAL = ".journal.jsonl"


class DatasetWriter(ABC):
    """Writes samples into `NAME.partial`, and renames that to `NAME` when it is closed.

    The files of a sample depend on the sample and its number alone, and what is known at the end only is made from the
    journal, so an export that is gone on with gives the same bytes as one that was never stopped. Formats implement
    `_write` and `_finish`.
    """

    #: What the files are, for the dataset card.
    layout: ClassVar[str]
    #: What samples must hold.
    needs: ClassVar[Need] = Need(0)

    def __init__(
        self, folder: Path, card: DatasetCard, *, resume: bool = False, meshes: MeshSource | None = None
    ) -> None:
        """Starts an export into `folder`, which must not exist, or goes on with one.

        Args:
            resume: go on in `NAME.partial`, whose samples are complete up to `count`.
            meshes: the meshes that objects show, for formats that hold them.

        Raises:
            InputError: the folder exists, cannot be made, or has an unfinished export beside it; or, with `resume`,
                there is none, or it is one of something else.
        """
        _check_name(folder)
        self.folder = folder
        self.card = card
        self.meshes = meshes
        self.count = 0
        #: What the last sample left in the journal.
        self._last: Record = None
        self._partial = folder.with_name(folder.name + ".partial")
        self._refuse_existing()
        with self._writing():
            if resume:
                self._journal: BinaryIO = self._reopened()
            else:
                self._journal = self._started()

    @classmethod
    def check(cls, card: DatasetCard) -> None:
        """Looks at what the dataset is to be of, before anything is made.

        Raises:
            InputError: the format has no place for it.
        """
        del card

    def add(self, sample: Sample) -> None:
        """Appends a sample.

        Raises:
            InputError: the format cannot hold it, or the disk refuses.
        """
        with self._writing():
            record = self._write(self.count, sample)
            objects = [item.class_name for item, _ in sample.seen]
            line = json.dumps({"label": sample.label, "objects": objects, "record": record}, separators=(",", ":"))
            self._journal.write(line.encode() + b"\n")
            self._journal.flush()
        self._last = record
        self.count += 1

    def close(self) -> None:
        """Completes the dataset and gives it its name.

        Raises:
            InputError: there is no sample, the disk refuses, or the folder has come into being meanwhile.
        """
        if not self.count:
            self.abort()
            raise InputError(f"{self.folder}: the dataset has no samples; at least 1 is needed")
        with self._writing():
            self._journal.close()
            self._finish()
            card = self.card.markdown(self.counts(), self.layout, self.needs)
            (self._partial / "README.md").write_text(card, encoding="utf-8")
            self._refuse_existing()
            self._partial.rename(self.folder)
            (self.folder / JOURNAL).unlink()

    def abort(self) -> None:
        """Ends without a dataset. What has been written stays in `NAME.partial`, unless that is nothing."""
        with suppress(OSError):  # What could not be written has been reported; the sample is made again.
            self._journal.close()
        if not self.count:
            for path in sorted(self._partial.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            self._partial.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    @abstractmethod
    def _write(self, index: int, sample: Sample) -> Record:
        """Writes sample number `index` (from 0) into `self._partial`, over what is left of an earlier try.

        Returns:
            What the journal keeps of it.
        """

    @abstractmethod
    def _finish(self) -> None:
        """Writes what can only be written at the end, from `self._records()`. May be called again after a failure."""

    def _path(self, *parts: str) -> Path:
        """A file of the dataset, as it is called while it is written; its folder is made."""
        path = self._partial.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _records(self) -> Iterator[Record]:
        """What the samples have left in the journal, in their order."""
        return (entry["record"] for entry in self._entries())

    def _entries(self) -> Iterator[dict[str, Any]]:
        with (self._partial / JOURNAL).open("rb") as lines:
            next(lines)
            for line in lines:
                yield json.loads(line)

    def counts(self) -> Counts:
        """What has been written so far."""
        counts = Counts()
        for entry in self._entries():
            counts.labels[entry["label"]] += 1
            counts.objects.update(entry["objects"])
        return counts

    def _identity(self) -> dict[str, Any]:
        """What makes two exports the same, as it comes back from JSON."""
        values = {"format": type(self).__name__, **dataclasses.asdict(self.card)}
        identity: dict[str, Any] = json.loads(json.dumps(values))
        return identity

    def _started(self) -> BinaryIO:
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise InputError(
                f"{self.folder.parent} is not a folder; choose another place for {self.folder.name}"
            ) from None
        try:
            self._partial.mkdir()
        except FileExistsError:
            raise InputError(
                f"{self._partial} is left from an export that did not finish; "
                "add --resume to go on with it, remove it, or choose another folder"
            ) from None
        journal = (self._partial / JOURNAL).open("wb")
        journal.write(json.dumps(self._identity()).encode() + b"\n")
        journal.flush()
        return journal

    def _reopened(self) -> BinaryIO:
        path = self._partial / JOURNAL
        if not path.is_file():
            raise InputError(f"there is no {self._partial} to go on with; leave --resume out to begin")
        with path.open("rb") as lines:
            whole = [line for line in lines if line.endswith(b"\n")]
        kept = _loaded(whole[0]) if whole else {}
        given = self._identity()
        differing = [name for name in given if kept.get(name) != given[name]]
        if differing:
            name = differing[0]
            raise InputError(
                f"{self._partial} is of another export: its {name} is {_short(kept.get(name))}, not "
                f"{_short(given[name])}; go on with the same command as it was begun with, or remove it"
            )
        self.count = len(whole) - 1
        self._last = json.loads(whole[-1])["record"] if self.count else None
        journal = path.open("r+b")
        journal.truncate(sum(len(line) for line in whole))
        journal.seek(0, 2)
        return journal

    def _refuse_existing(self) -> None:
        try:
            exists = self.folder.exists() or self.folder.is_symlink()
        except OSError as error:  # The name is too long, or a folder above is closed to us.
            raise InputError(f"{_cut(str(self.folder))}: {error.strerror or error}; choose another folder") from error
        if exists:
            raise InputError(f"{self.folder} exists, and datasets are never overwritten; choose another folder")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up"}
            text = reason.get(error.errno or 0, error.strerror or str(error))
            kept = f"; {self.count} samples are in {self._partial}, and --resume goes on" if self.count else ""
            raise InputError(f"{self.folder}: cannot write ({text}){kept}") from error


def _check_name(folder: Path) -> None:
    """
    Raises:
        InputError: no folder can be made under this name.
    """
    if folder.name in ("", ".."):
        raise InputError(f"{folder} exists, and datasets are never overwritten; choose another folder")
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise InputError(f"{str(folder)!r} is not UTF-8; choose another name") from None


def _loaded(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _short(value: object) -> str:
    return _cut(json.dumps(value))


def _cut(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."
