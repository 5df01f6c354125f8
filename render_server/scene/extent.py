"""Positions of objects in the world, as a few points that stand for all of their vertices."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from metasim.camera import UPPER_CORNERS
from metasim.v1 import scene_pb2

from render_server.scene.scene_graph import SceneGraph

#: Number of directions in which the outermost vertices of a mesh are selected.
_DIRECTIONS = 256

#: Largest part of a smooth object that this selection misses, as a fraction of its size: two directions are 0.22 rad
#: apart, so a sphere of diameter 1 loses (1 - cos(0.11)) / 2, and more between three directions.
_SHORTFALL = 0.005


@dataclass(frozen=True)
class Extent:
    """Points of an object.

    Attributes:
        points: [n, 3] float64: its outermost vertices, or a selection of them.
        corners: [8, 3] float64. A box around the object; corner i lies at the upper end of axis k if bit k of i is set.
        shortfall: fraction of its size that the selection may miss; 0 if the points are all outermost vertices.
    """

    points: np.ndarray
    corners: np.ndarray
    shortfall: float = 0.0

    def placed(self, matrix: np.ndarray) -> "Extent":
        """Return the extent in another frame, by a 4x4 matrix."""
        rotation, offset = matrix[:3, :3].T, matrix[:3, 3]
        return Extent(self.points @ rotation + offset, self.corners @ rotation + offset, self.shortfall)


#: Returns the extent of a node's content in the world; None if it draws nothing.
ExtentOf = Callable[[SceneGraph, int], Extent | None]


def extent_of_points(points: np.ndarray) -> Extent:
    """Return the extent of the convex hull of points [n, 3], n >= 1, in their frame."""
    points = np.asarray(points, np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    corners = np.where(UPPER_CORNERS, high, low)
    if len(points) > _DIRECTIONS:
        size = np.maximum(high - low, 1e-12)
        # In units of the box, so that the directions suit flat and long objects too.
        outermost = np.unique(np.argmax((points / size) @ _SPHERE.T, axis=0))
        return Extent(points[outermost], corners, _SHORTFALL)
    return Extent(points, corners)


def content_extent(graph: SceneGraph, index: int) -> Extent | None:
    """Return the extent of a sprite's rectangle or of a primitive's box; a mesh asset counts as a unit cube."""
    node = graph.nodes[index]
    if node.HasField("sprite"):
        return _UNIT_SQUARE.placed(graph.world[index] @ np.diag((node.sprite.width_m, node.sprite.height_m, 1.0, 1.0)))
    if node.HasField("mesh"):
        x, y, z = mesh_size(node.mesh)
        size = (x, y, 0.0 if node.mesh.primitive == scene_pb2.PRIMITIVE_PLANE else z)
        return _UNIT_CUBE.placed(graph.world[index] @ np.diag((*size, 1.0)))
    return None


def mesh_size(mesh: scene_pb2.Mesh) -> tuple[float, float, float]:
    """Return the factors along the shape's own axes."""
    return (
        mesh.size_x if mesh.HasField("size_x") else 1.0,
        mesh.size_y if mesh.HasField("size_y") else 1.0,
        mesh.size_z if mesh.HasField("size_z") else 1.0,
    )


def _fibonacci_sphere(count: int) -> np.ndarray:
    """Return evenly spread unit vectors [count, 3]."""
    number = np.arange(count) + 0.5
    height = 1 - 2 * number / count
    angle = np.pi * (1 + 5**0.5) * number
    radius = np.sqrt(1 - height**2)
    return np.stack((radius * np.cos(angle), radius * np.sin(angle), height), axis=1)


_SPHERE = _fibonacci_sphere(_DIRECTIONS)
_UNIT_SQUARE = extent_of_points(np.array([(x, y, 0.0) for x in (-0.5, 0.5) for y in (-0.5, 0.5)]))
_UNIT_CUBE = extent_of_points(np.where(UPPER_CORNERS, 0.5, -0.5))
