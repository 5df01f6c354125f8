"""The shapes of meshes and sprites for their placement in a scene: outermost points, and triangles to stand on."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from metasim.still_glb import still_glb
from metasim.v1 import scene_pb2 as pb
from PIL import Image

from trainer.assets.asset_sets import AssetSet
from trainer.errors import InputError

_TYPES: dict[int, str] = {pb.MESH_FORMAT_PLY: "ply", pb.MESH_FORMAT_OBJ: "obj", pb.MESH_FORMAT_GLB: "glb"}
#: glTF's y up to z up, as the wire has it.
_UPRIGHT = np.array(((1.0, 0, 0), (0, 0, -1), (0, 1, 0)))
#: Shapes that are kept.
_KEPT = 512
#: Directions in which the outline of a sprite touches its picture.
_DIRECTIONS = 24
#: Opacity from which a texel is part of a sprite, as in the labels of the wire.
_OPAQUE = 128


@dataclass(frozen=True, eq=False)
class Shape:
    """A shape in its node's frame, before the node's size. Two shapes are equal if they are the same object.

    Attributes:
        points: [n, 3] float64: the corners of its convex hull, or points whose hull is the same.
        triangles: [m, 3, 3] float64.
    """

    points: np.ndarray
    triangles: np.ndarray

    @cached_property
    def radius(self) -> float:
        """Return the largest distance of a point from the origin."""
        return float(np.linalg.norm(self.points, axis=1).max(initial=0))

    @cached_property
    def outline(self) -> np.ndarray:
        """Return the convex hull [n, 2] seen from above, counter-clockwise."""
        from scipy.spatial import ConvexHull

        flat = self.points[:, :2]
        corners: np.ndarray = flat[ConvexHull(flat).vertices]
        return corners


def shape_of_mesh(asset_set: AssetSet, index: int) -> Shape:
    """Return the shape of an item of a set of meshes.

    Raises:
        InputError: its file cannot be read.
    """
    mesh_format = asset_set.mesh_format(index)
    return _read(_Item(asset_set.data, index), int(mesh_format or 0), asset_set.source(index))


def shape_of_primitive(primitive: "pb.Primitive.ValueType") -> Shape:
    """Return the shape of a primitive of size 1."""
    return _PRIMITIVES[primitive]


def shape_of_sprite(asset_set: AssetSet, index: int) -> Shape:
    """Return the outline of the texels of opacity >= 1/2 of an item of a set of images, in the square of edge 1.

    It is the hull of the outermost texels in 24 directions. The square itself if no texel is as opaque.

    Raises:
        InputError: its file cannot be read.
    """
    return _outlined(_Item(asset_set.data, index), asset_set.source(index))


@dataclass(frozen=True)
class _Item:
    read: Callable[[int], bytes]
    index: int


@lru_cache(maxsize=_KEPT)
def _read(item: _Item, mesh_format: int, source: str) -> Shape:
    import trimesh  # Takes a third of a second; most worlds do without.

    data = item.read(item.index)
    try:
        data = still_glb(data) if mesh_format == pb.MESH_FORMAT_GLB else data
        whole: Any = trimesh.load(io.BytesIO(data), file_type=_TYPES[mesh_format], force="mesh", process=False)
        triangles = np.asarray(whole.triangles, np.float64)
    except Exception as error:  # The reader has errors of many kinds for damaged files.
        raise InputError(f"{source} cannot be read: {' '.join(str(error).split())}") from error
    if not len(triangles):
        raise InputError(f"{source} holds no faces")
    if mesh_format == pb.MESH_FORMAT_GLB:
        triangles = triangles @ _UPRIGHT.T
    return Shape(_outermost(triangles.reshape(-1, 3)), triangles)


@lru_cache(maxsize=_KEPT)
def _outlined(item: _Item, source: str) -> Shape:
    try:
        with Image.open(io.BytesIO(item.read(item.index))) as image:
            opaque = np.asarray(image.convert("RGBA"))[..., 3] >= _OPAQUE
    except (OSError, ValueError) as error:
        raise InputError(f"{source} cannot be read: {' '.join(str(error).split())}") from error
    rows = np.flatnonzero(opaque.any(axis=1))
    if not len(rows):
        return _PRIMITIVES[pb.PRIMITIVE_PLANE]
    height, width = opaque.shape
    first = opaque[rows].argmax(axis=1)
    last = width - opaque[rows, ::-1].argmax(axis=1)
    x = np.concatenate((first, last, first, last)) / width
    y = np.concatenate((rows, rows, rows + 1, rows + 1)) / height
    flat = np.stack((x - 0.5, 0.5 - y), axis=1)
    angles = np.arange(_DIRECTIONS) * (2 * np.pi / _DIRECTIONS)
    along = flat @ np.stack((np.cos(angles), np.sin(angles)))
    outer = flat[np.unique(along.argmax(axis=0))]
    return Shape(np.column_stack((outer, np.zeros(len(outer)))), _square().triangles)


def _outermost(points: np.ndarray) -> np.ndarray:
    """Return the corners of the convex hull; of flat shapes all different points."""
    from scipy.spatial import ConvexHull, QhullError

    points = np.unique(points, axis=0)
    try:
        corners: np.ndarray = points[ConvexHull(points).vertices]
    except QhullError:
        return points
    return corners


def _box() -> Shape:
    corners = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = [corners[list(part)] for a, b, c, d in faces for part in ((a, b, c), (a, c, d))]
    return Shape(corners, np.array(triangles))


def _ball() -> Shape:
    polar, azimuth = np.meshgrid(np.linspace(0, np.pi, 17), np.linspace(0, 2 * np.pi, 33), indexing="ij")
    grid = 0.5 * np.stack((np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)), axis=2)
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    triangles = np.concatenate((np.stack((a, b, c), 2).reshape(-1, 3, 3), np.stack((a, c, d), 2).reshape(-1, 3, 3)))
    return Shape(np.unique(grid.reshape(-1, 3).round(12), axis=0), triangles)


def _square() -> Shape:
    corners = np.array([(-0.5, -0.5, 0.0), (0.5, -0.5, 0.0), (0.5, 0.5, 0.0), (-0.5, 0.5, 0.0)])
    return Shape(corners, corners[[[0, 1, 2], [0, 2, 3]]])


_PRIMITIVES = {pb.PRIMITIVE_CUBE: _box(), pb.PRIMITIVE_SPHERE: _ball(), pb.PRIMITIVE_PLANE: _square()}
