"""Labelled datasets on disk: one writer per format behind one interface.

    with open_writer("imagefolder", folder, card) as writer:
        writer.add(sample)

A dataset appears under its name only when it is complete: until then its files lie in the folder `NAME.partial` beside
it, which also stays when the export is interrupted. Nothing that exists is ever overwritten or deleted.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from trainer.errors import InputError
from trainer.exports.card import DatasetCard
from trainer.exports.idx import IdxWriter
from trainer.exports.imagefolder import ImageFolderWriter
from trainer.exports.sample import Sample, SampleBox
from trainer.exports.writer import DatasetWriter

__all__ = ["FORMATS", "DatasetCard", "DatasetWriter", "Sample", "SampleBox", "open_writer"]

#: The writers by the name that `--format` takes.
FORMATS: Mapping[str, Callable[[Path, DatasetCard], DatasetWriter]] = {
    "idx": IdxWriter,
    "idx-gz": partial(IdxWriter, compress=True),
    "imagefolder": ImageFolderWriter,
}


def open_writer(name: str, folder: Path, card: DatasetCard) -> DatasetWriter:
    """Starts an export.

    Args:
        name: one of `FORMATS`.
        folder: where the dataset shall lie; it must not exist.
        card: what the dataset's README.md says about it.

    Raises:
        InputError: the format is unknown, the folder exists, cannot be made, or has an unfinished export beside it.
    """
    writer = FORMATS.get(name)
    if writer is None:
        raise InputError(f"format {name!r} is unknown; allowed: {', '.join(sorted(FORMATS))}")
    return writer(folder, card)
