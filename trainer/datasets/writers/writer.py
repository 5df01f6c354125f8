"""The base of all writers: a dataset appears under its name when it is complete; until then it can be resumed."""

import dataclasses
import errno
import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, ClassVar, Self

from trainer.datasets.writers.audit import Expected, check_files, check_sample
from trainer.datasets.writers.card import Counts, DatasetCard
from trainer.datasets.writers.meshes import MeshSource
from trainer.datasets.writers.sample import Need, Sample
from trainer.errors import InputError

#: Images of the largest datasets that audits read back: readers of single large files would need too much memory.
READ_BACK = 20_000
#: What a format keeps of a sample beside its files: values that JSON can hold.
Record = Any

#: A file in `NAME.partial`: the identity of the export, then a line for each sample whose files are written.
JOURNAL = ".journal.jsonl"
#: A file in a finished part: engine, version and device that rendered it.
RENDERED_BY = ".rendered-by"


class DatasetWriter(ABC):
    """Writes samples into `NAME.partial`, and renames that to `NAME` when it is closed.

    The files of a sample depend on the sample and its number alone. Files of the whole dataset are made from the
    journal at the end. So a resumed export has the same bytes as one that was never stopped. Formats implement
    `_write` and `_finish`.
    """

    #: The description of the files, for the dataset card.
    layout: ClassVar[str]
    #: The labels that samples must have.
    needs: ClassVar[Need] = Need(0)
    #: The reader that audits read the dataset with; see `trainer.datasets.readers.KINDS`.
    reader: ClassVar[str]

    def __init__(
        self,
        folder: Path,
        card: DatasetCard,
        *,
        resume: bool = False,
        meshes: MeshSource | None = None,
        part: range | None = None,
    ) -> None:
        """Start an export into `folder`, which must not exist, or go on with one.

        Args:
            resume: go on in `NAME.partial`, whose samples are complete up to `count`.
            meshes: the meshes that objects show, for formats that hold them.
            part: the numbers of the samples, where the export is a part of a dataset that `merge_parts` completes.

        Raises:
            InputError: the folder exists, cannot be made, or has an unfinished export beside it; or, with `resume`,
                there is none, or it is one of something else.
        """
        named_folder(folder)
        self.folder = folder
        self.card = card
        #: Engine, version and device that render, for the card; empty: not known.
        self.rendered_by = ""
        self.meshes = meshes
        self.part = part
        self.first = part.start if part else 0
        self.count = 0
        #: The last sample's record.
        self._last: Record = None
        self._partial = folder.with_name(folder.name + ".partial")
        self._folders: set[tuple[str, ...]] = set()  # Those that were made.
        with self._writing():
            if resume:
                self._journal: BinaryIO = self._reopened()
            else:
                self._journal = self._started()

    @classmethod
    def check(cls, card: DatasetCard) -> None:
        """Check that the format can hold the dataset, before anything is made.

        Raises:
            InputError: it cannot.
        """
        del card

    def expected(self, sample: Sample) -> list[Expected]:
        """Return the objects of a sample as the files state them, for audits."""
        return [(item.class_name, (box.x, box.y, box.width, box.height)) for item, box in sample.seen]

    def add(self, sample: Sample, *, drawn: int = 1, audited: bool = False) -> None:
        """Append a sample.

        Args:
            drawn: scenes that were drawn until one could be kept.
            audited: check its labels now, and its files when the dataset is complete. It has boxes and masks.

        Raises:
            InputError: the format cannot hold it, or the disk refuses.
            AuditError: its labels contradict each other.
        """
        index = self.first + self.count
        if audited:
            check_sample(sample, self.card.classes, f"image {index}")
        with self._writing():
            record = self._write(index, sample)
            objects = [item.class_name for item, _ in sample.seen]
            entry: dict[str, Any] = {"label": sample.label, "objects": objects, "record": record}
            if drawn != 1:
                entry["drawn"] = drawn
            if audited:
                entry["audit"] = self.expected(sample)
            self._journal.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
            self._journal.flush()
        self._last = record
        self.count += 1

    def close(self) -> None:
        """Complete the dataset and give it its name. A part keeps its journal.

        Raises:
            InputError: there is no sample, the disk refuses, or the folder has come into being meanwhile.
            AuditError: the files contradict what was rendered. They stay in `NAME.partial`.
        """
        if not self.count:
            self.abort()
            raise InputError(f"{self.folder}: the dataset has no samples; at least 1 is needed")
        with self._writing():
            self._journal.close()
            if self.part is None:
                self._finish()
                if self.count <= READ_BACK:
                    check_files(self._partial, self.reader, self._audited())
                rendering = "; ".join(filter(None, (self.card.rendering, self.rendered_by)))
                shown = dataclasses.replace(self.card, rendering=rendering)
                card = shown.markdown(self.counts(), self.layout, self.needs, read_back=self.count <= READ_BACK)
                (self._partial / "README.md").write_text(card, encoding="utf-8")
            else:
                (self._partial / RENDERED_BY).write_text(self.rendered_by, encoding="utf-8")
            named_folder(self.folder)
            self._partial.rename(self.folder)
            if self.part is None:
                (self.folder / JOURNAL).unlink()

    def adopt(self, folder: Path) -> None:
        """Take over the files and the journal of a part, whose samples follow those that are there.

        Raises:
            InputError: the part does not fit, or the disk refuses.
        """
        with self._writing():
            _, lines = read_journal(folder)
            renderers = dict.fromkeys([*self.rendered_by.split("; "), (folder / RENDERED_BY).read_text("utf-8")])
            self.rendered_by = "; ".join(filter(None, renderers))
            self._take_files(folder, [json.loads(line)["record"] for line in lines])
            self._journal.writelines(lines)
            self._journal.flush()
        self.count += len(lines)

    def _take_files(self, folder: Path, records: Sequence[Record]) -> None:
        """Link or copy the files of a part. Formats with files that parts share override it."""
        del records
        for path in sorted(folder.rglob("*")):
            target = self._partial / path.relative_to(folder)
            if path.is_file() and path.name not in (JOURNAL, RENDERED_BY) and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(path, target)

    def abort(self) -> None:
        """End without a dataset. Samples that were written stay in `NAME.partial`; without any, it is removed."""
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
        """Write sample number `index` (from 0) into `self._partial`; overwrite files of an earlier try.

        Returns:
            The sample's record in the journal.
        """

    @abstractmethod
    def _finish(self) -> None:
        """Write the files of the whole dataset from `self._records()`. May be called again after a failure."""

    def _path(self, *parts: str) -> Path:
        """Return the path of a file in `NAME.partial`; make its folder."""
        path = self._partial.joinpath(*parts)
        if parts[:-1] not in self._folders:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(parts[:-1])
        return path

    def _records(self) -> Iterator[Record]:
        """Return the records of the samples in their order."""
        return (entry["record"] for entry in self._entries())

    def _entries(self) -> Iterator[dict[str, Any]]:
        with (self._partial / JOURNAL).open("rb") as lines:
            next(lines)
            for line in lines:
                yield json.loads(line)

    def counts(self) -> Counts:
        """Return the counts of labels and objects written so far."""
        counts = Counts()
        for entry in self._entries():
            counts.labels[entry["label"]] += 1
            counts.objects.update(entry["objects"])
            counts.drawn += entry.get("drawn", 1)
            if "audit" in entry:
                counts.audited += 1
                counts.audited_objects += len(entry["audit"])
        return counts

    def _audited(self) -> dict[int, tuple[Any, list[Expected]]]:
        """Return the labels and objects of the images that were audited when they were written."""
        return {
            index: (entry["label"], entry["audit"]) for index, entry in enumerate(self._entries()) if "audit" in entry
        }

    def _identity(self) -> dict[str, Any]:
        """Return the values that make two exports the same, as JSON returns them."""
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
        numbers = {} if self.part is None else {"part": [self.part.start, self.part.stop]}
        journal.write(json.dumps({**self._identity(), **numbers}).encode() + b"\n")
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
        if self.part is not None:
            given["part"] = [self.part.start, self.part.stop]
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

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up"}
            text = reason.get(error.errno or 0, error.strerror or str(error))
            kept = f"; {self.count} samples are in {self._partial}, and --resume goes on" if self.count else ""
            raise InputError(f"{self.folder}: cannot write ({text}){kept}") from error


def read_journal(folder: Path) -> tuple[dict[str, Any], list[bytes]]:
    """Return what a part is of, and the lines of its samples.

    Raises:
        InputError: the folder is no part of a dataset, or not a complete one.
    """
    try:
        with (folder / JOURNAL).open("rb") as file:
            first, *lines = file.readlines() or [b""]
    except OSError as error:
        raise InputError(f"{folder} is no part of a dataset: {error.strerror or error}") from error
    identity = _loaded(first)
    if "part" not in identity or len(lines) != identity["part"][1] - identity["part"][0]:
        raise InputError(f"{folder} is no complete part of a dataset")
    return identity, lines


def _link(source: Path, target: Path) -> None:
    """Make a hard link, or a copy where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def named_folder(folder: Path) -> None:
    """Check that a dataset can be made under a name.

    Raises:
        InputError: it exists, or no folder can have this name.
    """
    if folder.name in ("", ".."):
        raise InputError(f"{folder} exists, and datasets are never overwritten; choose another folder")
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise InputError(f"{str(folder)!r} is not UTF-8; choose another name") from None
    try:
        exists = folder.exists() or folder.is_symlink()
    except OSError as error:  # The name is too long, or a folder above is closed to us.
        raise InputError(f"{_cut(str(folder))}: {error.strerror or error}; choose another folder") from error
    if exists:
        raise InputError(f"{folder} exists, and datasets are never overwritten; choose another folder")


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
