"""KITTI's object benchmark: left colour images, labels, calibration.

Format: the development kit's readme.txt (Geiger, Lenz, Urtasun, CVPR 2012); see `trainer.datasets.kitti_labels`. An
object's length runs along its own x, its width along y, its height along z, and it faces its own +x. KITTI counts
pixels from the centre of the top left one, half a pixel less than the rest of this package.
"""

import math

import numpy as np
from metasim.camera import CameraView

from trainer.datasets.kitti_labels import (
    TYPES,
    KittiCalibration,
    KittiObject,
    format_calibration,
    format_labels,
    kitti_type,
)
from trainer.datasets.writers.audit import Expected
from trainer.datasets.writers.card import DatasetCard
from trainer.datasets.writers.geometry import Cuboid
from trainer.datasets.writers.sample import Instance, Need, Rectangle, Sample
from trainer.datasets.writers.writer import DatasetWriter, Record
from trainer.errors import InputError

#: Hidden fractions from which an object counts as partly and largely occluded.
PARTLY, LARGELY = 0.1, 0.5


class KittiWriter(DatasetWriter):
    """`training/image_2`, `training/label_2` and `training/calib`."""

    layout = f"""
* `training/image_2/`: the PNGs (RGB).
* `training/label_2/`: a text file for each image with a line for each object that has visible pixels and one of
  KITTI's types ({", ".join(TYPES)};
  a class counts as one whatever its case), others are left out. `bbox`: all of the object that lies in the image, in
  pixels from the centre of the top left one. `truncated`: the share of the area of its box in 3D, projected, that lies
  outside of the image. `occluded`: 0, 1, 2 where other things hide less than {PARTLY:.0%}, less than {LARGELY:.0%}, or
  more of it. Dimensions (height along the object's z, width along its y, length along its x), location (the middle of
  the bottom) and `rotation_y` (0: its own +x points along the camera's x) in metres and radians in the camera's frame:
  x to the right, y down, z forward. Boxes stand along the camera's y as all of KITTI's do: where the camera or the
  object is tilted, they share their middle with the object and not their tilt.
* `training/calib/`: P2 projects the camera's frame into the image. There is one camera; the laser stands where it does.
"""
    needs = Need.BOXES | Need.DEPTH | Need.CAMERA
    image_formats = ("png",)
    reader = "kitti"

    @classmethod
    def check(cls, card: DatasetCard) -> None:
        """See `DatasetWriter.check`."""
        super().check(card)
        if not any(kitti_type(name) for name in card.classes):
            found = ", ".join(card.classes) or "none"
            known = ", ".join(TYPES)
            raise InputError(f"kitti knows the classes {known}; the scenes' are: {found}; rename them, or choose coco")

    def expected(self, sample: Sample) -> list[Expected]:
        """See `DatasetWriter.expected`."""
        return [
            (name, (item.amodal.x, item.amodal.y, item.amodal.width, item.amodal.height))
            for item, _ in sample.seen
            if (name := kitti_type(item.class_name)) and item.amodal and item.cuboid
        ]

    def _write(self, index: int, sample: Sample) -> Record:
        name = f"{index:06d}"
        camera = sample.camera
        if camera is None or not camera.perspective:
            raise InputError("kitti needs a perspective camera; choose coco")
        objects = [
            kitti_object(item, camera, sample.depth)
            for item, _ in sample.seen
            if kitti_type(item.class_name) and item.amodal and item.cuboid
        ]
        if not camera.distortion.is_none:
            raise InputError("kitti holds rectified images: leave the camera's k1, k2, p1, p2, k3 out, or choose bop")
        calibration = KittiCalibration.of_camera(camera.vision_matrix)
        self._save_image(sample, "training", "image_2", name)
        self._path("training", "label_2", f"{name}.txt").write_text(format_labels(objects), encoding="ascii")
        self._path("training", "calib", f"{name}.txt").write_text(format_calibration(calibration), encoding="ascii")
        return None

    def _finish(self) -> None:
        """All files are written by `_write`."""


def kitti_object(item: Instance, camera: CameraView, depth: np.ndarray | None) -> KittiObject:
    """Return KITTI's record of an object.

    Args:
        depth: [height, width] m; None: its occlusion is unknown.

    Raises:
        InputError: its class is not one of KITTI's, or it has no box.
    """
    name = kitti_type(item.class_name)
    if name is None or item.amodal is None or item.cuboid is None:
        raise InputError(f"{item.node} ({item.class_name or 'no class'}) is none of KITTI's objects")
    length, width, height = item.cuboid.size.tolist()
    x, y, z = item.cuboid.center.tolist()
    ahead = item.cuboid.rotation[:, 0]
    rotation_y = math.atan2(-ahead[2], ahead[0])
    return KittiObject(
        type=name,
        truncated=item.cuboid.truncation(camera),
        occluded=3 if depth is None else _occluded(item.cuboid, camera, depth),
        alpha=_wrapped(rotation_y - math.atan2(x, z)),
        box=_edges(item.amodal, camera),
        dimensions=(height, width, length),
        location=(x, y + height / 2, z),
        rotation_y=rotation_y,
    )


def _edges(box: Rectangle, camera: CameraView) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom from the centre of the top left pixel, clipped to the image."""
    right, bottom = box.x + box.width - 0.5, box.y + box.height - 0.5
    return (
        max(box.x - 0.5, 0.0),
        max(box.y - 0.5, 0.0),
        min(right, camera.width_px - 1.0),
        min(bottom, camera.height_px - 1.0),
    )


def _occluded(cuboid: Cuboid, camera: CameraView, depth: np.ndarray) -> int:
    hidden = cuboid.occlusion(camera, depth)
    return 0 if hidden < PARTLY else 1 if hidden < LARGELY else 2


def _wrapped(angle: float) -> float:
    """Return the angle between -π and π."""
    return (angle + math.pi) % (2 * math.pi) - math.pi
