"""Solids from which models are built: boxes, solids of revolution, extruded outlines, ellipsoids, tubes."""

from collections.abc import Sequence

import numpy as np

from trainer.assets.procedural.shape import Shape, joined

#: Edges of outlines that bend by less are smooth.
CREASE_DEG = 35.0

#: [left, bottom, right, top] of a texture, in uv.
Cell = tuple[float, float, float, float]

WHOLE: Cell = (0.0, 0.0, 1.0, 1.0)


def box(width: float, depth: float, height: float, cells: Sequence[Cell] = (WHOLE,) * 6) -> Shape:
    """Return a box on z = 0, centred on the z axis, `width` along x and `depth` along y.

    Args:
        cells: part of the texture on each side, upright and not mirrored for who stands before it: front (-y), right
            (+x), back (+y), left (-x), top, bottom (both as the front is tipped towards their viewer).
    """
    x, y = width / 2, depth / 2
    # Lower left, lower right, upper right, upper left of each side, for who looks at it.
    sides = (
        ((-x, -y, 0), (x, -y, 0), (x, -y, height), (-x, -y, height)),
        ((x, -y, 0), (x, y, 0), (x, y, height), (x, -y, height)),
        ((x, y, 0), (-x, y, 0), (-x, y, height), (x, y, height)),
        ((-x, y, 0), (-x, -y, 0), (-x, -y, height), (-x, y, height)),
        ((-x, -y, height), (x, -y, height), (x, y, height), (-x, y, height)),
        ((-x, y, 0), (x, y, 0), (x, -y, 0), (-x, -y, 0)),
    )
    return joined([_quad(corners, cell) for corners, cell in zip(sides, cells, strict=True)])


def turned(profile: Sequence[tuple[float, float]], segments: int = 32) -> Shape:
    """Return a solid of revolution about z.

    u runs once around, to the right for who looks from outside, with 0.5 in front (-y); v along the profile.

    Args:
        profile: radii and heights, from below upwards on the outside.
        segments: faces around.
    """
    outline = np.asarray(profile, dtype=np.float64)
    starts, normals = _smoothed(outline)
    lengths = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(outline, axis=0), axis=1))))
    ends = np.stack((starts, starts + 1), axis=1).ravel()  # Both ends of each edge
    u = np.linspace(0, 1, segments + 1)
    angle = 2 * np.pi * (u - 0.75)
    around = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    points = np.concatenate(
        [np.column_stack((outline[end, 0] * around, np.full(len(u), outline[end, 1]))) for end in ends]
    )
    directions = np.concatenate(
        [np.column_stack((n[0] * around, np.full(len(u), n[1]))) for n in normals.reshape(-1, 2)]
    )
    uvs = np.concatenate([np.column_stack((u, np.full(len(u), lengths[end] / lengths[-1]))) for end in ends])
    triangles = []
    for edge in range(len(starts)):
        lower = np.arange(segments) + 2 * edge * (segments + 1)
        upper = lower + segments + 1
        if outline[edge, 0] > 0:
            triangles.append(np.stack((lower, lower + 1, upper + 1), axis=1))
        if outline[edge + 1, 0] > 0:
            triangles.append(np.stack((lower, upper + 1, upper), axis=1))
    return Shape(points, directions, uvs, np.concatenate(triangles))


def ellipsoid(width: float, depth: float, height: float, segments: int = 20, rings: int = 12) -> Shape:
    """Return an ellipsoid around the origin, with the uv of `turned`."""
    polar = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)
    radii = np.maximum(np.cos(polar), 0.0)
    radii[[0, -1]] = 0.0
    ball = turned(list(zip(radii / 2, np.sin(polar) / 2, strict=True)), segments)
    return ball.scaled(width, depth, height)


def extruded(outline: Sequence[tuple[float, float]], depth: float) -> Shape:
    """Return an outline in the xz plane, [n, 2], counter-clockwise as seen along +y, extruded to y = ± depth / 2.

    The texture lies over the outline's bounding box on both sides, and its rim shows what the edge of a side shows.
    """
    points = np.asarray(outline, dtype=np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    uv = (points - low) / (high - low)
    flat = triangulated(points)
    sides = []
    for y, order in ((-depth / 2, flat), (depth / 2, flat[:, ::-1])):
        place = np.column_stack((points[:, 0], np.full(len(points), y), points[:, 1]))
        sides.append(Shape(place, np.tile((0.0, np.sign(y), 0.0), (len(points), 1)), uv, order))
    loop = np.concatenate((points, points[:1]))
    starts, normals = _smoothed(loop, closed=True)
    ends = np.stack((starts, starts + 1), axis=1).ravel()
    rim = loop[ends]
    directions = normals.reshape(-1, 2)
    count = len(rim)
    around = np.concatenate(
        [np.column_stack((rim[:, 0], np.full(count, y), rim[:, 1])) for y in (-depth / 2, depth / 2)]
    )
    lower = np.arange(0, count, 2)
    triangles = np.concatenate(
        (
            np.stack((lower, lower + count, lower + count + 1), axis=1),
            np.stack((lower, lower + count + 1, lower + 1), axis=1),
        )
    )
    outward = np.column_stack((directions[:, 0], np.zeros(count), directions[:, 1]))
    band = Shape(around, np.tile(outward, (2, 1)), np.tile((rim - low) / (high - low), (2, 1)), triangles)
    return joined([*sides, band])


def tube(path: Sequence[tuple[float, float, float]], radius: float, segments: int = 10) -> Shape:
    """Return a round tube with open ends along a path that does not double back. u runs along it, v around."""
    line = np.asarray(path, dtype=np.float64)
    tangents = np.gradient(line, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    # Each frame is the one before, made upright on the next tangent: it does not twist.
    side = np.linalg.svd(tangents[:1])[2][-1]
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    rings, normals = [], []
    for point, tangent in zip(line, tangents, strict=True):
        side = side - tangent * (side @ tangent)
        side /= np.linalg.norm(side)
        normal = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * np.cross(tangent, side)
        rings.append(point + radius * normal)
        normals.append(normal)
    first = (np.arange(len(line) - 1)[:, None] * (segments + 1) + np.arange(segments)).ravel()
    following = first + segments + 1
    triangles = np.concatenate(
        (np.stack((first, first + 1, following + 1), axis=1), np.stack((first, following + 1, following), axis=1))
    )
    u = np.repeat(np.linspace(0, 1, len(line)), segments + 1)
    uvs = np.column_stack((u, np.tile(angle / (2 * np.pi), len(line))))
    return Shape(np.concatenate(rings), np.concatenate(normals), uvs, triangles)


def triangulated(outline: np.ndarray) -> np.ndarray:
    """Return the triangles [n - 2, 3] of a simple, counter-clockwise polygon [n, 2], by ear clipping (Meisters, 1975).

    Raises:
        ValueError: the outline runs clockwise, or crosses itself.
    """
    left = list(range(len(outline)))
    triangles = []
    while len(left) > 3:
        for place in range(len(left)):
            a, b, c = left[place - 1], left[place], left[(place + 1) % len(left)]
            others = outline[[i for i in left if i not in (a, b, c)]]
            if _area(*outline[[a, b, c]]) > 0 and not _inside(others, *outline[[a, b, c]]).any():
                triangles.append((a, b, c))
                del left[place]
                break
        else:
            raise ValueError("the outline runs clockwise or crosses itself")
    return np.array([*triangles, tuple(left)])


def _area(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return twice the signed area, positive if counter-clockwise. Any of the points may be [n, 2]."""
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])


def _inside(points: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    return (_area(a, b, points) >= 0) & (_area(b, c, points) >= 0) & (_area(c, a, points) >= 0)


def _smoothed(outline: np.ndarray, *, closed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges of an outline [n, 2] as starts [n - 1], and the normals at both of their ends, [n - 1, 2, 2].

    Normals point to the right of the way. Where edges bend by less than CREASE_DEG they share one.
    """
    way = np.diff(outline, axis=0)
    flat = np.stack((way[:, 1], -way[:, 0]), axis=1)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    before, after = np.roll(flat, 1, axis=0), np.roll(flat, -1, axis=0)
    if not closed:
        before[0], after[-1] = flat[0], flat[-1]
    ends = []
    for other in (before, after):
        smooth = (flat * other).sum(axis=1) > np.cos(np.deg2rad(CREASE_DEG))
        normal = np.where(smooth[:, None], flat + other, flat)
        ends.append(normal / np.linalg.norm(normal, axis=1, keepdims=True))
    return np.arange(len(way)), np.stack(ends, axis=1)


def _quad(corners: Sequence[tuple[float, float, float]], cell: Cell) -> Shape:
    points = np.array(corners, dtype=np.float64)
    normal = np.cross(points[1] - points[0], points[3] - points[0])
    left, bottom, right, top = cell
    return Shape(
        points,
        np.tile(normal / np.linalg.norm(normal), (4, 1)),
        np.array([(left, bottom), (right, bottom), (right, top), (left, top)]),
        np.array([(0, 1, 2), (0, 2, 3)]),
    )
