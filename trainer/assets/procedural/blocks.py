"""Solids with eight corners, and flat panels: what cars and houses are mostly made of."""

from collections.abc import Sequence

import numpy as np

from trainer.assets.procedural.shape import Shape, joined

#: Left, right along x; right, left along y: a rectangle seen from above, [x0, x1, y0, y1].
Rectangle = tuple[float, float, float, float]
Point = tuple[float, float, float]
# Corners of the sides of a block: 0 to 3 below and 4 to 7 above, counter-clockwise seen from above.
_SIDES = ((3, 2, 1, 0), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7))


def panel(corners: Sequence[Point]) -> Shape:
    """A flat quadrilateral, counter-clockwise for who sees it; the texture stands upright on its first edge."""
    points = np.array(corners, dtype=np.float64)
    # Of the diagonals: right also where two corners are the same.
    normal = np.cross(points[2] - points[0], points[3] - points[1])
    return Shape(
        points,
        np.tile(normal / np.linalg.norm(normal), (4, 1)),
        np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]),
        np.array([(0, 1, 2), (0, 2, 3)]),
    )


def hexahedron(corners: Sequence[Point]) -> Shape:
    """A solid of six sides.

    Args:
        corners: four below and the four above them, each counter-clockwise seen from above.
    """
    return joined([panel([corners[place] for place in side]) for side in _SIDES])


def tapered(below: Rectangle, bottom: float, above: Rectangle, top: float) -> Shape:
    """A solid with one rectangle as its bottom and another as its top."""
    return hexahedron([(x, y, z) for (x, y), z in _corners(below, bottom) + _corners(above, top)])


def block(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]) -> Shape:
    """A box between two places on each axis."""
    return tapered((*x, *y), z[0], (*x, *y), z[1])


def bar(start: Point, end: Point, thick_x: float, thick_y: float) -> Shape:
    """A straight bar from below to above, that is as thick as said along x and y all the way."""

    def around(point: Point) -> Rectangle:
        return point[0] - thick_x / 2, point[0] + thick_x / 2, point[1] - thick_y / 2, point[1] + thick_y / 2

    return tapered(around(start), start[2], around(end), end[2])


def mirrored(shape: Shape) -> list[Shape]:
    """The shape and its mirror image on the other side of the xz plane."""
    return [shape, shape.scaled(1, -1, 1)]


def _corners(rectangle: Rectangle, z: float) -> list[tuple[tuple[float, float], float]]:
    x0, x1, y0, y1 = rectangle
    return [((x0, y0), z), ((x1, y0), z), ((x1, y1), z), ((x0, y1), z)]
