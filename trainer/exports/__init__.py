"""Labelled datasets on disk: one writer per format behind one interface.

    with open_writer("imagefolder", folder, card) as writer:
        writer.add(sample)

A dataset appears under its name only when it is complete: until then its files lie in the folder `NAME.partial` beside
it, which also stays when the export is interrupted, and can be gone on with. Nothing that exists is ever overwritten or
deleted.
"""

from collections.abc import Mapping
from pathlib import Path

from trainer.errors import InputError
from trainer.exports.bop import BopWriter
from trainer.exports.card import DatasetCard
from trainer.exports.coco import CocoRleWriter, CocoWriter
from trainer.exports.idx import IdxGzWriter, IdxWriter
from trainer.exports.imagefolder import ImageFolderMasksWriter, ImageFolderWriter
from trainer.exports.kitti import KittiWriter
from trainer.exports.meshes import MeshSource
from trainer.exports.sample import Instance, Need, Rectangle, Sample
from trainer.exports.webdataset import WebDatasetMasksWriter, WebDatasetWriter
from trainer.exports.writer import DatasetWriter
from trainer.exports.yolo import YoloSegWriter, YoloWriter

__all__ = ["FORMATS", "DatasetCard", "DatasetWriter", "Instance", "Need", "Rectangle", "Sample", "open_writer"]

#: The writers by the name that `--format` takes.
FORMATS: Mapping[str, type[DatasetWriter]] = {
    "bop": BopWriter,
    "coco": CocoWriter,
    "coco-rle": CocoRleWriter,
    "idx": IdxWriter,
    "idx-gz": IdxGzWriter,
    "imagefolder": ImageFolderWriter,
    "imagefolder-masks": ImageFolderMasksWriter,
    "kitti": KittiWriter,
    "webdataset": WebDatasetWriter,
    "webdataset-masks": WebDatasetMasksWriter,
    "yolo": YoloWriter,
    "yolo-seg": YoloSegWriter,
}


def open_writer(
    name: str, folder: Path, card: DatasetCard, *, resume: bool = False, meshes: MeshSource | None = None
) -> DatasetWriter:
    """Starts an export, or goes on with one.

    Args:
        name: one of `FORMATS`.
        folder: where the dataset shall lie; it must not exist.
        card: what the dataset's README.md says about it.
        resume, meshes: see `DatasetWriter`.

    Raises:
        InputError: the format is unknown or has no place for what the card says, the folder exists, cannot be made, or
            has an unfinished export beside it; or there is none to go on with.
    """
    writer = writer_of(name)
    writer.check(card)
    return writer(folder, card, resume=resume, meshes=meshes)


def writer_of(name: str) -> type[DatasetWriter]:
    """The writer of a format.

    Raises:
        InputError: the format is unknown.
    """
    writer = FORMATS.get(name)
    if writer is None:
        raise InputError(f"format {name!r} is unknown; allowed: {', '.join(sorted(FORMATS))}")
    return writer
