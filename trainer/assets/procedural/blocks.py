"""Solids with eight corners, and flat panels, from which cars and houses are built."""

from collections.abc import Sequence

import numpy as np

from trainer.assets.procedural.shape import Shape, joined

#: Left, right along x; right, left along y: a rectangle seen from above, [x0, x1, y0, y1].
Rectangle = tuple[float, float, float, float]
Point = tuple[float, float, float]
# Corners of the sides of a block: 0 to 3 below and 4 to 7 above, counter-clockwise seen from above.
_SIDES = ((3, 2, 1, 0), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7))


def panel(corners: Sequence[Point]) -> Shape:
    """Return a quadrilateral, counter-clockwise from its visible side. The texture is upright on the first edge."""
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
    """Return a solid with six sides.

    Args:
        corners: four below and the four above them, each counter-clockwise seen from above.
    """
    return joined([panel([corners[place] for place in side]) for side in _SIDES])


def tapered(below: Rectangle, bottom: float, above: Rectangle, top: float) -> Shape:
    """Return a solid between a rectangle at the bottom and another at the top."""
    return hexahedron([(x, y, z) for (x, y), z in _corners(below, bottom) + _corners(above, top)])


def block(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]) -> Shape:
    """Return a box between two coordinates on each axis."""
    return tapered((*x, *y), z[0], (*x, *y), z[1])


def bar(start: Point, end: Point, thick_x: float, thick_y: float) -> Shape:
    """Return a straight bar between two points, of constant thickness along x and along y."""

    def around(point: Point) -> Rectangle:
        return point[0] - thick_x / 2, point[0] + thick_x / 2, point[1] - thick_y / 2, point[1] + thick_y / 2

    return tapered(around(start), start[2], around(end), end[2])


def mirrored(shape: Shape) -> list[Shape]:
    """Return the shape and its mirror image in the xz plane."""
    return [shape, shape.scaled(1, -1, 1)]


def _corners(rectangle: Rectangle, z: float) -> list[tuple[tuple[float, float], float]]:
    x0, x1, y0, y1 = rectangle
    return [((x0, y0), z), ((x1, y0), z), ((x1, y1), z), ((x0, y1), z)]
