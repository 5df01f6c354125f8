"""What all formats share: a dataset is complete under its name, or it is not there."""

import errno
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from trainer.errors import InputError
from trainer.exports.card import DatasetCard
from trainer.exports.sample import Sample


class DatasetWriter(ABC):
    """Writes samples into `NAME.partial`, and renames that to `NAME` when it is closed.

    Formats implement `_write` and `_finish`.
    """

    #: What the files are, for the dataset card.
    layout: ClassVar[str]

    def __init__(self, folder: Path, card: DatasetCard) -> None:
        """Starts an export into `folder`, which must not exist.

        Raises:
            InputError: the folder exists, cannot be made, or has an unfinished export beside it.
        """
        self.folder = folder
        self.card = card
        self.count = 0
        self._labels: Counter[int | str | None] = Counter()
        self._partial = folder.with_name(folder.name + ".partial")
        self._refuse_existing()
        with self._writing():
            folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._partial.mkdir()
            except FileExistsError:
                raise InputError(
                    f"{self._partial} is left from an export that did not finish; remove it or choose another folder"
                ) from None

    def add(self, sample: Sample) -> None:
        """Appends a sample.

        Raises:
            InputError: the format cannot hold it, or the disk refuses.
        """
        with self._writing():
            self._write(self.count, sample)
        self.count += 1
        self._labels[sample.label] += 1

    def close(self) -> None:
        """Completes the dataset and gives it its name.

        Raises:
            InputError: there is no sample, the disk refuses, or the folder has come into being meanwhile.
        """
        if not self.count:
            self.abort()
            raise InputError(f"{self.folder}: the dataset has no samples; at least 1 is needed")
        with self._writing():
            self._finish()
            card = self.card.markdown(self._labels, self.layout)
            (self._partial / "README.md").write_text(card, encoding="utf-8")
            self._refuse_existing()
            self._partial.rename(self.folder)

    def abort(self) -> None:
        """Ends without a dataset. What has been written stays in `NAME.partial`, unless that is nothing."""
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
    def _write(self, index: int, sample: Sample) -> None:
        """Writes sample number `index` (from 0) into `self._partial`."""

    @abstractmethod
    def _finish(self) -> None:
        """Writes what can only be written at the end, and closes the files."""

    def _refuse_existing(self) -> None:
        if self.folder.exists() or self.folder.is_symlink():
            raise InputError(f"{self.folder} exists, and datasets are never overwritten; choose another folder")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = {errno.ENOSPC: "the disk is full"}.get(error.errno or 0, error.strerror or str(error))
            raise InputError(
                f"{self.folder}: cannot write ({reason}); {self.count} samples are in {self._partial}"
            ) from error
