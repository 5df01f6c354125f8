"""Labelled datasets on disk: one writer per format behind one interface.

    with open_writer("imagefolder", folder, card) as writer:
        writer.add(sample)

A dataset appears under its name only when it is complete. Until then its files lie in the folder `NAME.partial` beside
it. An interrupted export leaves that folder and can be resumed. Nothing that exists is overwritten or deleted.
"""

from collections.abc import Mapping
from pathlib import Path

from trainer.datasets.writers.bop import BopWriter
from trainer.datasets.writers.card import DatasetCard
from trainer.datasets.writers.coco import CocoRleWriter, CocoWriter
from trainer.datasets.writers.idx import IdxGzWriter, IdxWriter
from trainer.datasets.writers.imagefolder import ImageFolderMasksWriter, ImageFolderWriter
from trainer.datasets.writers.kitti import KittiWriter
from trainer.datasets.writers.meshes import MeshSource
from trainer.datasets.writers.parquet import ParquetMasksWriter, ParquetWriter
from trainer.datasets.writers.sample import Instance, Need, Rectangle, Sample
from trainer.datasets.writers.voc import VocWriter
from trainer.datasets.writers.webdataset import WebDatasetMasksWriter, WebDatasetWriter
from trainer.datasets.writers.writer import DatasetWriter
from trainer.datasets.writers.yolo import YoloSegWriter, YoloWriter
from trainer.errors import InputError

__all__ = ["FORMATS", "DatasetCard", "DatasetWriter", "Instance", "Need", "Rectangle", "Sample", "open_writer"]

#: The writers by `--format` name.
FORMATS: Mapping[str, type[DatasetWriter]] = {
    "bop": BopWriter,
    "coco": CocoWriter,
    "coco-rle": CocoRleWriter,
    "idx": IdxWriter,
    "idx-gz": IdxGzWriter,
    "imagefolder": ImageFolderWriter,
    "imagefolder-masks": ImageFolderMasksWriter,
    "kitti": KittiWriter,
    "parquet": ParquetWriter,
    "parquet-masks": ParquetMasksWriter,
    "voc": VocWriter,
    "webdataset": WebDatasetWriter,
    "webdataset-masks": WebDatasetMasksWriter,
    "yolo": YoloWriter,
    "yolo-seg": YoloSegWriter,
}


def open_writer(
    name: str,
    folder: Path,
    card: DatasetCard,
    *,
    resume: bool = False,
    meshes: MeshSource | None = None,
    part: range | None = None,
) -> DatasetWriter:
    """Start an export, or resume one.

    Args:
        name: one of `FORMATS`.
        folder: the dataset's folder; it must not exist.
        card: the content of the dataset's README.md.
        resume, meshes, part: see `DatasetWriter`.

    Raises:
        InputError: the format is unknown or cannot hold the content of the card; the folder exists, cannot be made, or
            has an unfinished export beside it; or there is no export to resume.
    """
    writer = writer_of(name)
    writer.check(card)
    return writer(folder, card, resume=resume, meshes=meshes, part=part)


def writer_of(name: str) -> type[DatasetWriter]:
    """Return the writer of a format.

    Raises:
        InputError: the format is unknown.
    """
    writer = FORMATS.get(name)
    if writer is None:
        raise InputError(f"format {name!r} is unknown; allowed: {', '.join(sorted(FORMATS))}")
    return writer
