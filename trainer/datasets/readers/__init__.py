"""Datasets of real images: one module per format behind one function.

    dataset = open_dataset(Path("photos"))
    for example in dataset:
        example.image, example.label, example.objects

Datasets are targets of experiments (images only) and validation sets V (with labels); `docs/datasets.md` lists the
layouts.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from trainer.datasets.dataset import ImageDataset
from trainer.datasets.example import BopPose, Example, ExampleObject
from trainer.datasets.readers import bop, coco, idx
from trainer.datasets.readers.bop import BopDataset
from trainer.datasets.readers.coco import CocoDataset
from trainer.datasets.readers.idx import IdxDataset
from trainer.datasets.readers.image_folder import ImageFolder, has_metadata
from trainer.datasets.readers.kitti import KittiDataset
from trainer.datasets.readers.masks import MaskDataset, is_mask_dataset
from trainer.datasets.readers.parquet import ParquetDataset, parquet_files
from trainer.datasets.readers.splits import JoinedDataset, split_folders
from trainer.datasets.readers.voc import VocDataset, is_voc
from trainer.datasets.readers.webdataset import WebDataset, shards
from trainer.datasets.readers.yolo import YoloDataset
from trainer.environment import expanded
from trainer.errors import InputError

__all__ = ["KINDS", "BopPose", "Example", "ExampleObject", "ImageDataset", "open_dataset"]

#: The readers by format name.
KINDS: Mapping[str, Callable[[Path], ImageDataset]] = {
    "images": ImageFolder,
    "coco": CocoDataset,
    "kitti": KittiDataset,
    "yolo": YoloDataset,
    "voc": VocDataset,
    "bop": BopDataset,
    "masks": MaskDataset,
    "idx": IdxDataset,
    "webdataset": WebDataset,
    "parquet": ParquetDataset,
}


def open_dataset(path: Path, kind: str | None = None) -> ImageDataset:
    """Open a dataset; its images are read on access.

    A folder that holds only split folders (`train/`, `valid/`, `test/` ...) is read as their union.

    Args:
        path: a folder; for COCO also the JSON file, for idx also the file of images.
        kind: one of `KINDS`; None: detected from the layout, otherwise a folder of images.

    Raises:
        InputError: the path does not exist or holds no image, or a file is damaged or missing.
    """
    path = expanded(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such folder")
    if kind is not None and kind not in KINDS:
        raise InputError(f"dataset kind {kind!r} is unknown; allowed: {', '.join(KINDS)}")
    try:
        found = _kind_of(path)
        if found is None:
            parts = [open_dataset(part, kind) for part in split_folders(path)]
            return JoinedDataset(path, parts)
        kind = kind or found
        if path.is_file() and kind not in ("coco", "idx"):
            raise InputError(f"{path} is a file; a dataset is a folder (or a .json of COCO, or an idx file of images)")
        return KINDS[kind](path)
    except OSError as error:
        raise InputError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error


def _kind_of(path: Path) -> str | None:
    """Return the kind detected from the layout; None: the folder holds parts, each a dataset."""
    if path.is_file():
        return "coco" if path.suffix == ".json" else "idx" if "idx3" in path.name else "images"
    if any((root / "image_2").is_dir() for root in (path, path / "training")):
        return "kitti"
    if (path / "images").is_dir() and ((path / "labels").is_dir() or (path / "data.yaml").is_file()):
        return "yolo"
    if is_mask_dataset(path) and not has_metadata(path):
        return "masks"
    if bop.scenes(path):
        return "bop"
    if coco.annotation_files(path):
        return "coco"
    if is_voc(path):
        return "voc"
    if idx.image_files(path):
        return "idx"
    if shards(path):
        return "webdataset"
    if parquet_files(path):
        return "parquet"
    parts = split_folders(path)
    if parts and any(_kind_of(part) != "images" or has_metadata(part) for part in parts):
        return None
    return "images"
