"""The base of formats whose files hold many samples each."""

from abc import abstractmethod

from trainer.datasets.writers.card import DatasetCard
from trainer.datasets.writers.writer import DatasetWriter
from trainer.errors import InputError


class ShardedWriter(DatasetWriter):
    """Files of `card.per_file` samples each, plus a few files of the whole dataset.

    A file depends only on its samples and their numbers, so several machines can make files of one dataset, and files
    can be uploaded to an object store one by one.
    """

    @classmethod
    def check(cls, card: DatasetCard) -> None:
        """See `DatasetWriter.check`."""
        super().check(card)
        if card.per_file < 1:
            raise InputError(f"{card.per_file} images in a file are too few; at least 1 is needed")

    @classmethod
    @abstractmethod
    def file_name(cls, number: int, card: DatasetCard) -> str:
        """Return the path of a file in the dataset, with slashes."""

    @classmethod
    def whole_files(cls, card: DatasetCard) -> dict[str, bytes]:
        """Return the files of the whole dataset by name, without the card."""
        del card
        return {}

    @abstractmethod
    def _finish_files(self) -> None:
        """Complete the last file of samples."""

    @abstractmethod
    def _release(self) -> None:
        """Close the open file unchanged. Its samples are in the journal or are made again."""

    def close(self) -> None:
        """See `DatasetWriter.close`."""
        if self.count:
            with self._writing():
                self._flush()
                self._finish_files()
        super().close()

    def abort(self) -> None:
        """See `DatasetWriter.abort`."""
        super().abort()
        self._release()

    def _place(self, index: int) -> int:
        """Return the position of a sample in its file, from 0."""
        return index % self.card.per_file

    def _finish(self) -> None:
        for name, content in self.whole_files(self.card).items():
            self._path(name).write_bytes(content)
