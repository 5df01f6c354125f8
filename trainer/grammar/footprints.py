"""Footprints: what objects cover of the ground, seen from above, and the distances between them."""

from collections.abc import Sequence

import numpy as np

#: Distance below which two points are one.
_SAME = 1e-12


def footprint(points: np.ndarray) -> np.ndarray:
    """Return the convex hull of points [n, 2 or more], seen along the third axis: corners [m, 2], counter-clockwise."""
    flat = sorted({(x, y) for x, y in np.asarray(points, np.float64)[:, :2].tolist()})
    if len(flat) < 3:
        return np.array(flat)
    return np.array([*_half(flat)[:-1], *_half(flat[::-1])[:-1]])


def distance(first: np.ndarray, second: np.ndarray) -> tuple[float, np.ndarray]:
    """Return how far two convex polygons [n, 2] are apart, and the unit vector from the first to the second.

    The distance of polygons that overlap is negative: how far they must be moved along the vector to be apart
    (the minimum translation of the separating-axis theorem, over the normals of their edges).
    """
    depth, way = _overlap(first, second)
    if depth > 0:
        return -depth, way
    nearest, away = np.inf, way
    for corners, edges, sign in ((first, second, 1.0), (second, first, -1.0)):
        starts, along = edges, np.roll(edges, -1, axis=0) - edges
        lengths = np.maximum((along**2).sum(1), _SAME)
        offset = corners[:, None] - starts[None]
        share = np.clip((offset * along[None]).sum(2) / lengths, 0, 1)
        gaps = starts[None] + share[..., None] * along[None] - corners[:, None]
        squared = (gaps**2).sum(2)
        best = np.unravel_index(squared.argmin(), squared.shape)
        if squared[best] < nearest:
            nearest, away = float(squared[best]), sign * gaps[best]
    length = np.sqrt(nearest)
    return float(length), away / length if length > _SAME else way


def _overlap(first: np.ndarray, second: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the smallest overlap along the normals of the edges, <= 0 if there is a gap, and that normal."""
    normals = []
    for polygon in (first, second):
        along = np.roll(polygon, -1, axis=0) - polygon
        lengths = np.linalg.norm(along, axis=1)
        along = along[lengths > _SAME] / lengths[lengths > _SAME, None]
        normals.append(np.stack((along[:, 1], -along[:, 0]), axis=1))
    axes = np.concatenate(normals)
    middle = second.mean(axis=0) - first.mean(axis=0)
    if not len(axes):
        length = np.linalg.norm(middle)
        return -float(length), middle / length if length > _SAME else np.array((1.0, 0.0))
    axes = np.where((axes @ middle < 0)[:, None], -axes, axes)
    overlaps = (first @ axes.T).max(axis=0) - (second @ axes.T).min(axis=0)
    # An axis may be left by the other side as well, where one polygon holds the other.
    best = int(overlaps.argmin())
    return float(overlaps[best]), axes[best]


def _half(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return one side of the hull of sorted points (Andrew 1979)."""
    hull: list[tuple[float, float]] = []
    for x, y in points:
        while len(hull) > 1:
            (ax, ay), (bx, by) = hull[-2:]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                break
            hull.pop()
        hull.append((x, y))
    return hull
