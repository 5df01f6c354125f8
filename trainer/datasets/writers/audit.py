"""Audits of exported datasets: a sample's labels must agree with each other and with its files.

`check_sample` compares the labels of a rendered scene: masks with boxes, boxes with the frame, 3D boxes with masks and
depth, and ids. `check_files` reads a finished dataset and compares it with what was rendered. The readers of
`trainer.datasets.readers` share no code with the writers.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer.datasets.example import BopPose, Example, ExampleObject
from trainer.datasets.kitti_labels import KittiObject
from trainer.datasets.readers import ImageDataset, open_dataset
from trainer.datasets.readers.bop import BopDataset
from trainer.datasets.readers.kitti import KittiDataset
from trainer.datasets.writers.sample import Instance, Rectangle, Sample
from trainer.errors import MetasimError

#: The expected entry of an object: class and box (left, top, width, height in px), as JSON values.
Expected = tuple[str, Sequence[float]]

#: Tolerances of boxes in px: of coordinates as text, and of projected 3D boxes, whose edges lie between pixel centres.
_ROUNDING_PX, _PROJECTED_PX = 0.51, 1.5
#: Maximum distance of pixels from an object's 3D box, as fractions of its diagonal and of its distance.
_OUTSIDE, _OUTSIDE_DEPTH = 0.02, 0.003
#: Fraction of an object's pixels that must lie in its 3D box.
_MOST = 0.98


class AuditError(MetasimError):
    """A label contradicts another one, or the files contradict what was rendered."""


def check_sample(sample: Sample, classes: Sequence[str], where: str) -> None:
    """Check that the labels of a sample with boxes and masks agree.

    Raises:
        AuditError: two of them contradict each other; the text names the object.
    """
    numbers = [item.number for item in sample.instances]
    if len(set(numbers)) < len(numbers):
        raise AuditError(f"{where}: two objects have the same number in the instance mask")
    shown = set(np.unique(sample.masks["instance"]).tolist()) - {0}
    stated = {item.number for item, _ in sample.seen}
    if shown != stated:
        raise AuditError(
            f"{where}: the instance mask shows the objects {sorted(shown)}, and boxes exist for {sorted(stated)}"
        )
    for item, box in sample.seen:
        _check_instance(sample, item, box, classes, f"{where}: {item.node} ({item.class_name})")


def check_files(folder: Path, kind: str, audited: Mapping[int, tuple[Any, Sequence[Expected]]]) -> None:
    """Read images of a finished dataset and compare them with what was rendered.

    Args:
        kind: the reader; see `trainer.datasets.readers.KINDS`.
        audited: the label and the expected objects of images, by their numbers.

    Raises:
        AuditError: an image has another label, other objects, or labels that contradict each other.
        InputError: a file cannot be read.
    """
    if not audited:
        return
    dataset = open_dataset(folder, kind)
    models = folder / "models" / "models_info.json"
    sizes = json.loads(models.read_text(encoding="utf-8")) if models.is_file() else {}
    for index, (label, objects) in audited.items():
        example = dataset.example(index)
        where = f"image {index} ({example.name})"
        if example.label is not None and str(example.label) != str(label):
            raise AuditError(f"{where} has the label {example.label!r} in the files; {label!r} was rendered")
        if example.objects is not None:
            _check_objects(example, objects, where)
            for item in example.objects:
                _check_record(dataset, index, item, sizes, f"{where}: {item.class_name}")
        if example.class_mask is not None:
            _check_class_mask(dataset, example, objects, where)


def _check_instance(sample: Sample, item: Instance, box: Rectangle, classes: Sequence[str], where: str) -> None:
    height, width = sample.size
    mask = sample.pixels(item)
    if np.count_nonzero(mask) != item.visible_px:
        raise AuditError(
            f"{where}: its mask has {np.count_nonzero(mask)} pixels, its box was made of {item.visible_px}"
        )
    _same_box(_box_of(mask), (box.x, box.y, box.width, box.height), _ROUNDING_PX, f"{where}: mask and box")
    if box.x < 0 or box.y < 0 or box.x + box.width > width or box.y + box.height > height:
        raise AuditError(f"{where}: its box {box} leaves the image of {width} x {height} px")
    number = classes.index(item.class_name) + 1
    if (sample.masks["class"][mask] != number).any():
        raise AuditError(f"{where}: the class mask has other values than {number} at its pixels")
    if item.amodal is not None:
        outer = (item.amodal.x, item.amodal.y, item.amodal.width, item.amodal.height)
        _inside((box.x, box.y, box.width, box.height), outer, f"{where}: its visible box leaves its whole box")
    cuboid, camera = item.cuboid, sample.camera
    if cuboid is None or camera is None:
        return
    projected = cuboid.projected(camera)
    if projected is not None:
        left, top, right, bottom = projected
        _inside(
            (box.x, box.y, box.width, box.height),
            (left, top, right - left, bottom - top),
            f"{where}: its box leaves the projection of its box in 3D",
        )
    if sample.depth is not None and camera.perspective:
        rows, columns = np.nonzero(mask)
        depth = sample.depth[rows, columns].astype(np.float64)
        _, rays = camera.vision_rays(0, 0, width, height)
        local = (rays[rows, columns] * depth[:, None] - cuboid.translation) @ cuboid.rotation
        margin = _OUTSIDE * np.linalg.norm(cuboid.size) + _OUTSIDE_DEPTH * depth[:, None]
        inside = ((local >= cuboid.low - margin) & (local <= cuboid.high + margin)).all(axis=1)
        if inside.mean() < _MOST:
            raise AuditError(f"{where}: {1 - inside.mean():.0%} of its pixels lie outside of its box in 3D by depth")


def _check_objects(example: Example, expected: Sequence[Expected], where: str) -> None:
    height, width = example.image.shape[:2]
    found = example.objects or ()
    names, wanted = sorted(item.class_name for item in found), sorted(name for name, _ in expected)
    if names != wanted:
        raise AuditError(f"{where} has the objects {names} in the files; {wanted} were rendered")
    for item, (name, box) in zip(found, expected, strict=True):
        of = f"{where}: {name}"
        tolerance = 1.0 if isinstance(item.record, KittiObject) else _ROUNDING_PX
        _same_box(item.box, box, tolerance, f"{of}: the box in the files and the rendered one")
        _inside(item.box, (0, 0, width, height), f"{of}: its box leaves the image")
        if item.mask is not None:
            mask = item.mask()
            if not mask.any():
                raise AuditError(f"{of}: its mask in the files is empty")
            _same_box(_box_of(mask), item.box, 1.0, f"{of}: mask and box in the files")


def _check_record(dataset: ImageDataset, index: int, item: ExampleObject, sizes: Mapping[str, Any], where: str) -> None:
    """Check that a KITTI box's centre, or a BOP model's box in its pose, agrees with the object's visible position."""
    x, y, width, height = item.box
    if isinstance(item.record, KittiObject) and isinstance(dataset, KittiDataset):
        corners = item.record.corners()
        if item.record.truncated == 0 and (corners[:, 2] > 0).all():
            u, v = dataset.calibration(index).project(corners.mean(axis=0)[None])[0] + 0.5
            _inside((u, v, 0, 0), item.box, f"{where}: the middle of its box in 3D is not in its box")
    if isinstance(item.record, BopPose) and isinstance(dataset, BopDataset):
        model = sizes[str(item.record.object_number)]
        low, size = (np.array([model[f"{of}_{axis}"] for axis in "xyz"]) / 1000 for of in ("min", "size"))
        unit = np.array([[i >> axis & 1 for axis in range(3)] for i in range(8)])
        points = (low + unit * size) @ item.record.rotation.T + item.record.translation_m
        if (points[:, 2] > 0).all():
            image = points @ dataset.camera(index).T
            pixels = image[:, :2] / image[:, 2:] + 0.5
            (left, top), (right, bottom) = pixels.min(axis=0), pixels.max(axis=0)
            outer = (left, top, right - left, bottom - top)
            _inside((x, y, width, height), outer, f"{where}: its box leaves the model's in its pose")


def _check_class_mask(dataset: ImageDataset, example: Example, expected: Sequence[Expected], where: str) -> None:
    if example.class_mask is None:
        return
    mask = example.class_mask()
    numbers = {dataset.classes.index(name) + 1 for name, _ in expected}
    found = set(np.unique(mask).tolist()) - {0}
    if found != numbers:
        raise AuditError(f"{where}: its class mask has the values {sorted(found)}; {sorted(numbers)} were rendered")


def _box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    if not len(rows):
        return 0.0, 0.0, 0.0, 0.0
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top


def _same_box(one: Sequence[float], other: Sequence[float], tolerance: float, what: str) -> None:
    first, second = (np.array((box[0], box[1], box[0] + box[2], box[1] + box[3])) for box in (one, other))
    if np.abs(first - second).max() > tolerance:
        raise AuditError(f"{what} differ: {_text(one)} and {_text(other)}")


def _inside(inner: Sequence[float], outer: Sequence[float], what: str) -> None:
    low = inner[0] < outer[0] - _PROJECTED_PX or inner[1] < outer[1] - _PROJECTED_PX
    right, bottom = outer[0] + outer[2] + _PROJECTED_PX, outer[1] + outer[3] + _PROJECTED_PX
    if low or inner[0] + inner[2] > right or inner[1] + inner[3] > bottom:
        raise AuditError(f"{what}: {_text(inner)} and {_text(outer)}")


def _text(box: Sequence[float]) -> str:
    return f"({', '.join(f'{value:.1f}' for value in box)})"
