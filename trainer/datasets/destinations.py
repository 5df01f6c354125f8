"""Destinations of datasets: a folder or a URL of an object store; whole, in splits, or in parts from several
machines.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from trainer.datasets.parts import Shard, parts_folder
from trainer.datasets.writers import DatasetCard, open_writer, writer_of
from trainer.datasets.writers.card import Counts
from trainer.datasets.writers.meshes import MeshSource
from trainer.datasets.writers.object_store import ObjectStore
from trainer.datasets.writers.sample import Sample
from trainer.datasets.writers.sharded import ShardedWriter
from trainer.datasets.writers.split import SplitFolder
from trainer.datasets.writers.store_writer import CARD, COMPLETE, EXPORT, StoreWriter
from trainer.datasets.writers.writer import named_folder
from trainer.errors import InputError


class Writer(Protocol):
    """Writes the samples of a dataset or a part; a context manager that completes it. See `DatasetWriter`."""

    rendered_by: str

    @property
    def count(self) -> int: ...

    def add(self, sample: Sample, *, drawn: int = 1, audited: bool = False) -> None: ...

    def counts(self) -> Counts: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Together(Protocol):
    """Combines the splits of a dataset."""

    def complete(self, card: DatasetCard, counts: Mapping[str, int], format_name: str) -> None: ...


@dataclass(frozen=True)
class Piece:
    """A dataset, a split or a part: a unit that is written separately."""

    #: The numbers of its scenes.
    scenes: range
    #: For a part, the numbers of its samples in the dataset or split.
    part: range | None
    card: DatasetCard
    split: str | None = None
    shard: str | None = None


class Destination(Protocol):
    """A place for datasets of one format."""

    def check(self) -> None:
        """Check that a dataset can be made here.

        Raises:
            InputError: it exists, or its name is not allowed.
        """

    def step(self) -> int:
        """Return the number of samples of which part sizes are multiples."""

    def finished(self, piece: Piece) -> bool:
        """Return whether an earlier attempt has made a split or a part."""

    def left(self, piece: Piece) -> str:
        """Return the location of an unfinished piece; empty if there is none."""

    def open(self, piece: Piece, *, resume: bool, meshes: MeshSource | None) -> Writer:
        """Start a piece, or resume it."""

    def together(self, *, resume: bool) -> "AbstractContextManager[Together]":
        """Start the dataset of all splits."""


class FolderDestination:
    """A folder; see `Destination`."""

    def __init__(self, out: Path, format_name: str) -> None:
        self._out, self._format = out, format_name

    def check(self) -> None:
        """See `Destination.check`."""
        named_folder(self._out)

    def step(self) -> int:
        """See `Destination.step`."""
        return 1

    def finished(self, piece: Piece) -> bool:
        """See `Destination.finished`."""
        return bool(piece.split or piece.shard) and self._folder(piece).is_dir()

    def left(self, piece: Piece) -> str:
        """See `Destination.left`."""
        partial = self._partial(self._folder(piece))
        return str(partial) if partial.exists() else ""

    def open(self, piece: Piece, *, resume: bool, meshes: MeshSource | None) -> Writer:
        """See `Destination.open`."""
        return open_writer(self._format, self._folder(piece), piece.card, resume=resume, meshes=meshes, part=piece.part)

    def together(self, *, resume: bool) -> "AbstractContextManager[Together]":
        """See `Destination.together`."""
        return SplitFolder(self._out, resume=resume)

    def _folder(self, piece: Piece) -> Path:
        if piece.shard:
            return parts_folder(self._out) / (piece.split or "") / piece.shard
        return self._partial(self._out) / piece.split if piece.split else self._out

    @staticmethod
    def _partial(folder: Path) -> Path:
        return folder.with_name(f"{folder.name}.partial")


class StoreDestination:
    """A name in an object store; see `Destination`.

    Raises:
        InputError: the format has one file per sample, the URL names no dataset, or its package is missing.
    """

    def __init__(self, url: str, format_name: str, per_file: int, store: ObjectStore | None = None) -> None:
        kind = writer_of(format_name)
        if not issubclass(kind, ShardedWriter):
            raise InputError(
                f"format {format_name} has one file per image, too many for an object store; use webdataset or "
                "parquet, or a folder"
            )
        self._kind, self._per_file = kind, per_file
        above, self.name = split_url(url)
        self.store = store or ObjectStore(above)

    def check(self) -> None:
        """See `Destination.check`."""
        if self.store.read(f"{self.name}/{CARD}") is not None:
            raise InputError(
                f"{self.store.url}/{self.name} exists, and datasets are never overwritten; choose another name"
            )

    def step(self) -> int:
        """See `Destination.step`."""
        return self._per_file

    def finished(self, piece: Piece) -> bool:
        """See `Destination.finished`."""
        if piece.shard:
            return self.store.read(f"{self._state(piece)}/{COMPLETE}") is not None
        return bool(piece.split) and self.store.read(f"{self._data(piece)}/{CARD}") is not None

    def left(self, piece: Piece) -> str:
        """See `Destination.left`."""
        state = self._state(piece)
        return f"{self.store.url}/{state}" if self.store.read(f"{state}/{EXPORT}") is not None else ""

    def open(self, piece: Piece, *, resume: bool, meshes: MeshSource | None) -> Writer:
        """See `Destination.open`."""
        del meshes
        return StoreWriter(
            self._kind, self.store, self._data(piece), self._state(piece), piece.card, resume=resume, part=piece.part
        )

    def together(self, *, resume: bool) -> "AbstractContextManager[Together]":
        """See `Destination.together`."""
        del resume
        return nullcontext(StoredSplits(self.store, self.name))

    def _data(self, piece: Piece) -> str:
        return "/".join(filter(None, (self.name, piece.split)))

    def _state(self, piece: Piece) -> str:
        folder = f"{self.name}.{'parts' if piece.shard else 'partial'}"
        return "/".join(filter(None, (folder, piece.split, piece.shard)))


class StoredSplits:
    """The splits of a dataset in an object store. See `Together`."""

    def __init__(self, store: ObjectStore, name: str) -> None:
        self._store, self._name = store, name

    def complete(self, card: DatasetCard, counts: Mapping[str, int], format_name: str) -> None:
        """Write the card of the whole."""
        self._store.write(f"{self._name}/{CARD}", card.overview(counts, format_name).encode())


def destination(out: Path | str, format_name: str, per_file: int) -> Destination:
    """Return the destination of a folder's path or of a URL.

    Raises:
        InputError: see `StoreDestination`.
    """
    if is_url(out):
        return StoreDestination(str(out), format_name, per_file)
    return FolderDestination(Path(out), format_name)


def is_url(out: Path | str) -> bool:
    """Return whether this is a URL of an object store."""
    return isinstance(out, str) and "://" in out


def split_url(url: str) -> tuple[str, str]:
    """Return the URL of the folder of a dataset, and the dataset's name.

    Raises:
        InputError: it names a bucket alone.
    """
    above, _, name = url.rstrip("/").rpartition("/")
    if not name or above.endswith(("/", ":")):
        raise InputError(f"{url} names no dataset in a bucket; such as {url.rstrip('/') or 's3://BUCKET'}/NAME")
    return above, name


def pieces_of(
    splits: Sequence[tuple[str | None, range]], shard: Shard | None, card: DatasetCard, step: int
) -> list[Piece]:
    """Return the units that are written separately.

    Args:
        splits: names and scenes of the splits; an empty name: the whole dataset.
        shard: the part that this machine makes; None: all.
        step: see `Destination.step`.

    Raises:
        InputError: the part is empty.
    """
    pieces = []
    for number, (name, scenes) in enumerate(splits):
        shown = replace(card, split_number=number, count=len(scenes))
        if shard is None:
            pieces.append(Piece(scenes, None, shown, name))
            continue
        part = shard.of(range(len(scenes)), step)
        if not len(part):
            files = f", {step} in a file," if step > 1 else ""
            raise InputError(
                f"shard {shard.index}/{shard.count} of {len(scenes)} images{files} is empty; use fewer shards"
            )
        pieces.append(Piece(scenes[part.start : part.stop], part, shown, name, shard.name))
    return pieces
