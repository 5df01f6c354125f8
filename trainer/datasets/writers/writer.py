"""The base of all writers: a dataset appears under its name when it is complete; until then it can be resumed."""

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

#: Images of the largest datasets that audits read back: readers of single large files would need too much memory.
READ_BACK = 20_000
#: What a format keeps of a sample beside its files: values that JSON can hold.
Record = Any

#: A file in a finished part: engine, version and device that rendered it.
RENDERED_BY = ".rendered-by"


class DatasetWriter(CloseOrAbort):
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
    #: Formats of images that it holds; see `Encoding.name`.
    image_formats: ClassVar[tuple[str, ...]] = ("png", "jpeg", "webp")
    #: Whether images are written as files, and whether masks are written as they are rendered: workers encode these.
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
        self.encoding = Encoding.parse(card.images)
        #: Engine, version and device that render, for the card; empty: not known.
        self.rendered_by = ""
        self.meshes = meshes
        self.part = part
        self.first = part.start if part else 0
        self._partial = folder.with_name(folder.name + ".partial")
        self._folders: set[tuple[str, ...]] = set()  # Those that were made.
        with self._writing():
            if resume:
                self._journal = self._reopened()
            else:
                self._journal = self._started()

    @classmethod
    def check(cls, card: DatasetCard) -> None:
        """Check that the format can hold the dataset, before anything is made.

        Raises:
            InputError: it cannot.
        """
        name = Encoding.parse(card.images).name
        if name not in cls.image_formats:
            raise InputError(f"this format does not hold images as {name}; allowed: {', '.join(cls.image_formats)}")

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
            self._journal.append(entry)
            if self._journal.full:
                self._flush()

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
        """Take over the files and the journal of a part, whose samples follow those that are there.

        Raises:
            InputError: the part does not fit, or the disk refuses.
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
        """Link or copy the files of a part. Formats with files that parts share override it."""
        del records
        for path in sorted(folder.rglob("*")):
            target = self._partial / path.relative_to(folder)
            if path.is_file() and path.name not in (JOURNAL, RENDERED_BY) and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(path, target)

    def abort(self) -> None:
        """End without a dataset. Samples that were written stay in `NAME.partial`; without any, it is removed."""
        with suppress(OSError):  # What could not be written has been reported; it is made again.
            self._flush()
        with suppress(OSError):
            self._journal.close()
        if not self.count:
            for path in sorted(self._partial.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            self._partial.rmdir()

    @abstractmethod
    def _write(self, index: int, sample: Sample) -> Record:
        """Write sample number `index` (from 0) into `self._partial`; overwrite files of an earlier try.

        Returns:
            The sample's record in the journal.
        """

    @abstractmethod
    def _finish(self) -> None:
        """Write the files of the whole dataset from `self._records()`. May be called again after a failure."""

    def _flush_files(self) -> None:
        """Hand everything that `_write` has written to the file system. Formats that keep files open override it."""

    def _flush(self) -> None:
        """Write the lines of the journal, after the files that they are about."""
        self._flush_files()
        self._journal.flush()

    def _save_image(self, sample: Sample, *parts: str) -> str:
        """Write the image of a sample to a path without its ending; return the file's name."""
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
        """Return the records of the samples in their order."""
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
        """Return labels and expected objects of the samples that are audited, by their numbers."""
        return self._journal.audited

    def counts(self) -> Counts:
        """Return the counts of labels and objects so far."""
        return self._journal.counts

    def _identity(self) -> dict[str, Any]:
        """Return the values that make two exports the same, as JSON returns them."""
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
        """Return how many of the samples in the journal are there. Formats that finish files of many override it."""
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


def _short(value: object) -> str:
    return _cut(json.dumps(value))


def _cut(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."
