"""Samples with all that any format needs."""

import numpy as np
from metasim.camera import CameraView

from trainer.datasets.writers import DatasetCard, Instance, Rectangle, Sample
from trainer.datasets.writers.geometry import Cuboid

CARD = DatasetCard("t", "d", "s", 0, classes=("Bus", "Car"), models=("Bus", "Car"), count=10, per_file=4)


def vision_camera(width_px: int, height_px: int, focal_px: float) -> CameraView:
    """Return a perspective camera whose frame of computer vision is the world's frame."""
    return CameraView(np.diag((1.0, -1, -1, 1)), True, focal_px, width_px, height_px)


CAMERA = vision_camera(12, 8, 10.0)


def car_sample(index: int) -> Sample:
    """A car somewhere, in noise."""
    rng = np.random.default_rng(index)
    x, y = int(rng.integers(0, 8)), int(rng.integers(0, 5))
    instances = np.zeros((8, 12), np.uint16)
    instances[y : y + 3, x : x + 4] = 5
    cuboid = Cuboid(np.eye(3), np.array((0.0, 0, 10)), np.full(3, -9.0), np.full(3, 9.0))
    box = Rectangle(x, y, 4, 3)
    car = Instance("car-1", "Car", 5, box, box, 12, cuboid, "Car", instances == 5)
    return Sample.of(
        rng.integers(0, 256, (8, 12, 3), dtype=np.uint8),
        label=index % 3,
        instances=(car,),
        camera=CAMERA,
        masks={"class": np.where(instances, 2, 0).astype(np.uint16), "instance": instances},
        depth=np.where(instances, 9.0, np.inf).astype(np.float32),
        metadata={"scene": index},
    )
