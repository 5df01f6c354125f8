"""The layout of driving scenes: positions and headings of objects of KITTI's classes relative to the camera.

A car's attributes are relative to its lane; the layout is relative to the camera. Each object has three numbers: its
distances ahead of the camera and to the left of it, in m along the ground, and the heading of its axis relative to the
camera's, in deg from -90 to 90. The layout depends neither on the number of objects nor on which end of an object faces
the camera.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from metasim.transforms import world_matrices
from metasim.v1 import render_pb2 as pb

from trainer.datasets.kitti_labels import KittiObject, kitti_type
from trainer.datasets.kitti_layout import FARTHEST_M, place
from trainer.datasets.writers.geometry import camera_of
from trainer.grammar import SceneGraph
from trainer.metrics.wasserstein import wasserstein

_HALF_TURN_DEG = 180.0
#: Name, unit and period of the numbers, in the order of the columns.
_NUMBERS = (("ahead", "m", None), ("lateral", "m", None), ("heading", "deg", _HALF_TURN_DEG))
#: Smallest horizontal component of a camera's axis for which it has a heading.
_LEVEL = 1e-6
#: Minimum number of objects of a class for a comparison.
FEWEST = 20

#: float64 [n, 3] by KITTI's class.
Layout = Mapping[str, np.ndarray]


def layout_of_scenes(scenes: Iterable[SceneGraph], settings: pb.RenderSettings) -> Layout:
    """Return the layout of objects in the camera's field of view up to `FARTHEST_M`, including hidden objects.

    Scenes whose camera is orthographic, or looks straight down or up, are left out.
    """
    found: dict[str, list[tuple[float, float, float]]] = {}
    for scene in scenes:
        wire = scene.to_wire(lambda _: "")  # Only positions are read from it.
        camera = camera_of(wire, settings)
        rotation = camera.vision_rotation
        if not camera.perspective or np.hypot(*rotation[2, :2]) < _LEVEL:
            continue
        world = world_matrices(wire)
        to_ground = _to_ground(rotation)
        for node in wire.nodes:
            name = kitti_type(node.class_name)
            if name is None:
                continue
            seen = rotation @ world[node.id][:3, 3] + camera.vision_translation
            if seen[2] <= 0 or abs(seen[0]) / seen[2] > camera.width_px / 2 / camera.focal_px:
                continue
            ahead, left, _ = to_ground @ seen
            facing = to_ground @ rotation @ world[node.id][:3, 0]
            if 0 < ahead <= FARTHEST_M:
                turned = math.degrees(math.atan2(facing[1], facing[0]))
                found.setdefault(name, []).append((float(ahead), float(left), _of_axis(turned)))
    return {name: np.array(rows) for name, rows in found.items()}


def layout_of_labels(labels: Iterable[object]) -> Layout:
    """Return the layout of labelled objects up to `FARTHEST_M`; objects without a known position are left out.

    Args:
        labels: labels of images; only labels of detection have a layout.
    """
    found: dict[str, list[tuple[float, float, float]]] = {}
    objects = (getattr(label, "objects", label) for label in labels)
    for item in (item for every in objects if isinstance(every, tuple) for item in every):
        if isinstance(item, KittiObject) and kitti_type(item.type) and 0 < item.location[2] <= FARTHEST_M:
            ahead, left, turned = place(item)
            found.setdefault(item.type, []).append((ahead, left, _of_axis(turned)))
    return {name: np.array(rows) for name, rows in found.items()}


def layout_distances(models: Mapping[str, Layout], target: Layout) -> dict[str, Any]:
    """Return the Wasserstein-1 distance of each model's layout from the target's, by "class number", with the unit.

    Headings are compared on the circle. Classes with fewer than `FEWEST` objects in one of the layouts are left out.
    """
    distances: dict[str, Any] = {}
    for kind, wanted in sorted(target.items()):
        if any(len(places.get(kind, ())) < FEWEST for places in (target, *models.values())):
            continue
        for column, (number, unit, period) in enumerate(_NUMBERS):
            distances[f"{kind} {number}"] = {
                name: wasserstein(places[kind][:, column], wanted[:, column], period) for name, places in models.items()
            } | {"unit": unit}
    return distances


def _of_axis(turned: float) -> float:
    """Return the heading of an axis in deg, in [-90, 90)."""
    return (turned + _HALF_TURN_DEG / 2) % _HALF_TURN_DEG - _HALF_TURN_DEG / 2


def _to_ground(rotation: np.ndarray) -> np.ndarray:
    """Return the rotation [3, 3] from the camera's frame to one on the ground: x ahead, y to the left, z up.

    Args:
        rotation: [3, 3] from the world's frame, whose z is up, to the camera's.
    """
    forward = rotation[2].copy()  # The camera's axis in the world's frame
    forward[2] = 0
    forward /= np.linalg.norm(forward)
    up = np.array((0.0, 0.0, 1.0))
    return np.stack((forward, np.cross(up, forward), up)) @ rotation.T
