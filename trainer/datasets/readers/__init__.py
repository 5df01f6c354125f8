"""Datasets of real images: one module per format behind one function.

    dataset = open_dataset(Path("photos"))
    for example in dataset:
        example.image, example.label, example.objects

They serve as the target of an experiment (images alone) and as V (with labels); `docs/datasets.md` has the layouts.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from trainer.datasets.dataset import ImageDataset
from trainer.datasets.example import BopPose, Example, ExampleObject
from trainer.datasets.readers import bop, coco, idx
from trainer.datasets.readers.bop import BopDataset
from trainer.datasets.readers.coco import CocoDataset
from trainer.datasets.readers.idx import IdxDataset
from trainer.datasets.readers.image_folder import ImageFolder
from trainer.datasets.readers.kitti import KittiDataset
from trainer.datasets.readers.yolo import YoloDataset
from trainer.errors import InputError

__all__ = ["KINDS", "BopPose", "Example", "ExampleObject", "ImageDataset", "open_dataset"]

#: The readers by the name of their format.
KINDS: Mapping[str, Callable[[Path], ImageDataset]] = {
    "images": ImageFolder,
    "coco": CocoDataset,
    "kitti": KittiDataset,
    "yolo": YoloDataset,
    "bop": BopDataset,
    "idx": IdxDataset,
}


def open_dataset(path: Path, kind: str | None = None) -> ImageDataset:
    """Opens a dataset; its images are read when they are asked for.

    Args:
        path: a folder; of COCO also its JSON file, of idx also its file of images.
        kind: one of `KINDS`; None: what the layout says, else a folder of images.

    Raises:
        InputError: there is nothing, it holds no image, or a file is damaged or missing.
    """
    path = path.expanduser()
    if not path.exists():
        raise InputError(f"{path}: there is no such folder")
    if kind is not None and kind not in KINDS:
        raise InputError(f"dataset kind {kind!r} is unknown; allowed: {', '.join(KINDS)}")
    kind = kind or _kind_of(path)
    if path.is_file() and kind not in ("coco", "idx"):
        raise InputError(f"{path} is a file; a dataset is a folder (or a .json of COCO, or an idx file of images)")
    try:
        return KINDS[kind](path)
    except OSError as error:
        raise InputError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error


def _kind_of(path: Path) -> str:
    """What the layout says."""
    if path.is_file():
        return "coco" if path.suffix == ".json" else "idx" if "idx3" in path.name else "images"
    if any((root / "image_2").is_dir() for root in (path, path / "training")):
        return "kitti"
    if (path / "images").is_dir() and ((path / "labels").is_dir() or (path / "data.yaml").is_file()):
        return "yolo"
    if bop.scenes(path):
        return "bop"
    if coco.annotation_files(path):
        return "coco"
    if idx.image_files(path):
        return "idx"
    return "images"
