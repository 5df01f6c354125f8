"""The base of all writers. A dataset appears under its name when it is complete; until then it can be resumed."""

import dataclasses
import errno
import json
import os
import shutil
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

from trainer.datasets.writers.audit import Expected, check_files, check_sample
from trainer.datasets.writers.card import Counts, DatasetCard
from trainer.datasets.writers.close_or_abort import CloseOrAbort
from trainer.datasets.writers.journal import JOURNAL, Journal, read_identity, read_journal
from trainer.datasets.writers.meshes import MeshSource
from trainer.datasets.writers.picture import Encoding
from trainer.datasets.writers.sample import Need, Sample
from trainer.errors import InputError

#: Largest number of images that audits read back; readers of single large files would need too much memory.
READ_BACK = 20_000
#: A format's record of a sample in the journal: JSON values.
Record = Any

#: A file in a finished part: engine, version and device that rendered it.
RENDERED_BY = ".rendered-by"


class DatasetWriter(CloseOrAbort):
    """Writes samples into `NAME.partial`, and renames that to `NAME` when it is closed.

    The files of a sample depend only on the sample and its number. Files of the whole dataset are made from the journal
    at the end. A resumed export therefore has the same bytes as an uninterrupted one. Formats implement `_write` and
    `_finish`.
    """

    #: The description of the files, for the dataset card.
    layout: ClassVar[str]
    #: The labels that samples must have.
    needs: ClassVar[Need] = Need(0)
    #: The reader for audits; see `trainer.datasets.readers.KINDS`.
    reader: ClassVar[str]
    #: Supported image formats; see `Encoding.name`.
    image_formats: ClassVar[tuple[str, ...]] = ("png", "jpeg", "webp")
    #: Whether images are written as files, and whether masks are written as rendered; workers encode these.
    encodes_image: ClassVar[bool] = True
    encodes_masks: ClassVar[bool] = False

    def __init__(
        self,
        folder: Path,
        card: DatasetCard,
        *,
        resume: bool = False,
        meshes: MeshSource | None = None,
        part: range | None = None,
    ) -> None:
        """Start an export into `folder`, which must not exist, or resume one.

        Args:
            resume: continue in `NAME.partial`, whose samples are complete up to `count`.
            meshes: the meshes of objects, for formats that hold them.
            part: for a part of a dataset that `merge_parts` completes, the numbers of its samples.

        Raises:
            InputError: the folder exists, cannot be made, or has an unfinished export beside it; or, with `resume`,
                there is no unfinished export or another one.
        """
        named_folder(folder)
        self.folder = folder
        self.card = card
        self.encoding = Encoding.parse(card.images)
        #: Engine, version and device that render, for the card; empty: unknown.
        self.rendered_by = ""
        self.meshes = meshes
        self.part = part
        self.first = part.start if part else 0
        self._partial = folder.with_name(folder.name + ".partial")
        self._folders: set[tuple[str, ...]] = set()  # Folders that this writer has made.
        with self._writing():
            if resume:
                self._journal = self._reopened()
            else:
                self._journal = self._started()

    @classmethod
    def check(cls, card: DatasetCard) -> None:
        """Check that the format can hold the dataset, before any file is made.

        Raises:
            InputError: it cannot.
        """
        name = Encoding.parse(card.images).name
        if name not in cls.image_formats:
            raise InputError(f"this format does not hold images as {name}; allowed: {', '.join(cls.image_formats)}")

    def expected(self, sample: Sample) -> list[Expected]:
        """Return the objects of a sample as they should appear in the files, for audits."""
        return [(item.class_name, (box.x, box.y, box.width, box.height)) for item, box in sample.seen]

    def add(self, sample: Sample, *, drawn: int = 1, audited: bool = False) -> None:
        """Append a sample.

        Args:
            drawn: number of scenes drawn until one was kept.
            audited: check its labels now and its files when the dataset is complete; needs boxes and masks.

        Raises:
            InputError: the format cannot hold it, or a write fails.
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
            self._journal.append(entry)
            if self._journal.full:
                self._flush()

    def close(self) -> None:
        """Complete the dataset and give it its name. A part keeps its journal.

        Raises:
            InputError: there is no sample, a write fails, or the folder exists by now.
            AuditError: the files contradict what was rendered. They are kept in `NAME.partial`.
        """
        if not self.count:
            self.abort()
            raise InputError(f"{self.folder}: the dataset has no samples; at least 1 is needed")
        with self._writing():
            self._flush()
            self._journal.close()
            if self.part is None:
                self._finish()
                if self.count <= READ_BACK:
                    check_files(self._partial, self.reader, self._journal.audited)
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
        """Add the files and the journal of a part, whose samples follow the existing ones.

        Raises:
            InputError: the part does not fit, or a write fails.
        """
        with self._writing():
            self._flush()
            _, lines = read_journal(folder)
            renderers = dict.fromkeys([*self.rendered_by.split("; "), (folder / RENDERED_BY).read_text("utf-8")])
            self.rendered_by = "; ".join(filter(None, renderers))
            self._take_files(folder, [json.loads(line)["record"] for line in lines])
            self._journal.extend(lines)
            self._flush()

    def _take_files(self, folder: Path, records: Sequence[Record]) -> None:
        """Link or copy the files of a part. Formats whose parts share files override it."""
        del records
        for path in sorted(folder.rglob("*")):
            target = self._partial / path.relative_to(folder)
            if path.is_file() and path.name not in (JOURNAL, RENDERED_BY) and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(path, target)

    def abort(self) -> None:
        """End without a dataset. Written samples are kept in `NAME.partial`; without any, it is removed."""
        with suppress(OSError):  # The failed write has been reported, and its samples are made again.
            self._flush()
        with suppress(OSError):
            self._journal.close()
        if not self.count:
            for path in sorted(self._partial.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            self._partial.rmdir()

    @abstractmethod
    def _write(self, index: int, sample: Sample) -> Record:
        """Write sample number `index` (from 0) into `self._partial`; overwrite files of an earlier attempt.

        Returns:
            The sample's record in the journal.
        """

    @abstractmethod
    def _finish(self) -> None:
        """Write the files of the whole dataset from `self._records()`. May be called again after a failure."""

    def _flush_files(self) -> None:
        """Flush everything that `_write` has written. Formats that keep files open override it."""

    def _flush(self) -> None:
        """Write the journal's lines, after the files that they describe."""
        self._flush_files()
        self._journal.flush()

    def _save_image(self, sample: Sample, *parts: str) -> str:
        """Write the image of a sample to a path given without suffix; return the file's name."""
        path = self._path(*parts[:-1], f"{parts[-1]}.{self.encoding.suffix}")
        path.write_bytes(sample.picture.file(self.encoding))
        return path.name

    def _path(self, *parts: str) -> Path:
        """Return the path of a file in `NAME.partial`; make its folder."""
        path = Path(self._partial, *parts)
        if parts[:-1] not in self._folders:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(parts[:-1])
        return path

    def _records(self) -> Iterator[Record]:
        """Return the records of the samples in order."""
        return (entry["record"] for entry in self._journal.entries())

    @property
    def count(self) -> int:
        """Return the number of samples."""
        return self._journal.count

    @property
    def _last(self) -> Record:
        """Return the last sample's record."""
        return self._journal.last

    @property
    def audited(self) -> Mapping[int, tuple[Any, list[Expected]]]:
        """Return labels and expected objects of audited samples by number."""
        return self._journal.audited

    def counts(self) -> Counts:
        """Return the counts of labels and objects so far."""
        return self._journal.counts

    def _identity(self) -> dict[str, Any]:
        """Return the values that are equal for equal exports, as JSON returns them."""
        values = {"format": type(self).__name__, **dataclasses.asdict(self.card)}
        if self.part is not None:
            values["part"] = [self.part.start, self.part.stop]
        identity: dict[str, Any] = json.loads(json.dumps(values))
        return identity

    def _started(self) -> Journal:
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
                f"{self._partial} is an unfinished export; "
                "add --resume to continue it, remove it, or choose another folder"
            ) from None
        return Journal.start(self._partial / JOURNAL, self._identity(), self.first)

    def _reopened(self) -> Journal:
        path = self._partial / JOURNAL
        if not path.is_file():
            raise InputError(f"there is no {self._partial} to resume; omit --resume to start")
        kept, given = read_identity(path), self._identity()
        differing = [name for name in given if kept.get(name) != given[name]]
        if differing:
            name = differing[0]
            raise InputError(
                f"{self._partial} is of another export: its {name} is {_short(kept.get(name))}, not "
                f"{_short(given[name])}; use its original command, or remove it"
            )
        return Journal.resume(path, self.first, self._resumed)

    def _resumed(self, count: int) -> int:
        """Return how many samples of the journal exist. Formats with many samples per file override it."""
        return count

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up"}
            text = reason.get(error.errno or 0, error.strerror or str(error))
            kept = self._journal.written if hasattr(self, "_journal") else 0
            more = f"; {kept} samples are in {self._partial}, and --resume continues" if kept else ""
            raise InputError(f"{self.folder}: cannot write ({text}){more}") from error


def _link(source: Path, target: Path) -> None:
    """Make a hard link, or a copy if the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def named_folder(folder: Path) -> None:
    """Check that a dataset with this name can be made.

    Raises:
        InputError: it exists, or the name is not allowed.
    """
    if folder.name in ("", ".."):
        raise InputError(f"{folder} exists, and datasets are never overwritten; choose another folder")
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise InputError(f"{str(folder)!r} is not UTF-8; choose another name") from None
    try:
        exists = folder.exists() or folder.is_symlink()
    except OSError as error:  # The name is too long, or a parent folder is not accessible.
        raise InputError(f"{_cut(str(folder))}: {error.strerror or error}; choose another folder") from error
    if exists:
        raise InputError(f"{folder} exists, and datasets are never overwritten; choose another folder")


def _short(value: object) -> str:
    return _cut(json.dumps(value))


def _cut(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."
