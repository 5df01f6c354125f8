"""Placement of nodes in a scene: siblings keep a distance, and things stand on what is below them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from metasim.transforms import local_matrix
from metasim.v1 import scene_pb2 as pb

from trainer.assets.shapes import Shape
from trainer.errors import InputError
from trainer.grammar.footprints import distance, footprint
from trainer.grammar.nodes import Node

#: Rounds in which siblings that are too close are moved apart, and parts of a change that are tried after that.
_ROUNDS, _SHARES = 60, (0.75, 0.5, 0.25, 0.0)
#: Distance that is added when siblings are moved apart, as a fraction of what is asked for, against rounding.
_BEYOND = 1e-6
_FIELDS = {"x": "x_m", "y": "y_m", "z": "z_m", "yaw": "yaw_deg", "pitch": "pitch_deg", "roll": "roll_deg"}

#: (node, attribute): the range of a number that may change.
Free = Mapping[tuple[int, str], tuple[float, float]]


def local_of(node: Node) -> np.ndarray:
    """Return the [4, 4] matrix from a node's frame to its parent's."""
    values = {field: node.values[name] for name, field in _FIELDS.items() if name in node.values}
    return local_matrix(pb.Transform(scale=node.values.get("scale"), **values))


def corners_of(node: Node, matrix: np.ndarray) -> np.ndarray:
    """Return the outermost points [n, 3] of a node in another frame; none if it has no shape."""
    if node.shape is None:
        return np.zeros((0, 3))
    return node.shape.points * _size(node) @ matrix[:3, :3].T + matrix[:3, 3]


@dataclass(frozen=True, eq=False)
class _Outline:
    """A convex polygon [n, 2] that is drawn in many places, with the circles around and within it."""

    polygon: np.ndarray

    @cached_property
    def middle(self) -> tuple[float, float]:
        """Return the mean of the corners."""
        x, y = self.polygon.mean(axis=0).tolist()
        return x, y

    @cached_property
    def outer(self) -> float:
        """Return the largest distance of a corner from the middle."""
        return float(np.sqrt(np.square(self.polygon - self.middle).sum(axis=1).max()))

    @cached_property
    def inner(self) -> float:
        """Return the smallest distance of an edge's line from the middle."""
        corners = self.polygon - self.middle
        x, y = (np.roll(corners, -1, axis=0) - corners).T
        lengths = np.maximum(np.hypot(x, y), 1e-300)
        return float(np.abs((corners[:, 0] * y - corners[:, 1] * x) / lengths).min())


@lru_cache(maxsize=1024)
def _outline(shape: Shape, width: float, depth: float) -> _Outline:
    """Return the outline of an upright shape of a size."""
    return _Outline(shape.outline * (width, depth))


@dataclass(frozen=True)
class Placed:
    """A node that keeps a distance: its footprint in its parent's frame, and how far others stay away.

    Attributes:
        outline: the footprint in a frame of its own.
        matrix: [2, 3], from that frame to the parent's: a turn and a scale, then a shift.
        scale: of the matrix.
        apart: the distance.
    """

    outline: _Outline
    matrix: np.ndarray
    scale: float
    apart: float

    @cached_property
    def polygon(self) -> np.ndarray:
        """Return the corners [n, 2] in the parent's frame."""
        polygon: np.ndarray = self.outline.polygon @ self.matrix[:, :2].T + self.matrix[:, 2]
        return polygon

    @cached_property
    def circle(self) -> tuple[float, float, float, float]:
        """Return the middle's x and y, and the radii of circles around and within the footprint."""
        (x, y), ((a, b, right), (c, d, up)) = self.outline.middle, self.matrix.tolist()
        return (
            a * x + b * y + right,
            c * x + d * y + up,
            self.scale * self.outline.outer,
            self.scale * self.outline.inner,
        )

    def clear_of(self, other: "Placed") -> bool:
        """Return whether both keep the larger of their distances."""
        wanted = max(self.apart, other.apart)
        (ax, ay, around_a, within_a), (bx, by, around_b, within_b) = self.circle, other.circle
        middles = math.hypot(bx - ax, by - ay)
        if middles > around_a + around_b + wanted:
            return True
        if middles < within_a + within_b + wanted:
            return False
        return distance(self.polygon, other.polygon)[0] >= wanted


def placed(node: Node) -> Placed | None:
    """Return the footprint of a node that keeps a distance; None if it keeps none."""
    if node.placement is None or node.placement.apart is None or node.shape is None:
        return None
    matrix = local_of(node)
    if node.values.get("pitch", 0.0) == 0 and node.values.get("roll", 0.0) == 0:  # Upright: its outline turns with it.
        width, depth, _ = _size(node).tolist()
        outline, scale = _outline(node.shape, width, depth), abs(node.values.get("scale", 1.0))
        return Placed(outline, matrix[:2, [0, 1, 3]], scale, node.placement.apart)
    return Placed(_Outline(footprint(corners_of(node, matrix))), np.eye(2, 3), 1.0, node.placement.apart)


def standing(nodes: Sequence[Node], index: int) -> Node:
    """Return a node at the height at which it stands on what is below it among the nodes before it.

    Its parents must be upright. It stands on the highest surface below its footprint; where the grammar states a `z`,
    on the highest one that is not above it.

    Raises:
        InputError: nothing is below it.
    """
    node = nodes[index]
    above = _world(nodes, node.parent)
    matrix = above @ local_of(node)
    corners = corners_of(node, matrix)
    outline = footprint(corners)
    middle = outline.mean(axis=0, keepdims=True)
    # Within the outline: on its very edge, rounding decides what is below.
    probes = np.concatenate((middle, middle + (outline - middle) * (1 - 1e-6)))
    lowest = corners[:, 2].min()
    reach = float(np.sqrt(((outline - middle) ** 2).sum(axis=1).max()))
    ceiling = matrix[2, 3] + 1e-9 if node.placement is not None and node.placement.falls else np.inf
    heights = [
        _height(other, world, probes, ceiling)
        for number, other in enumerate(nodes[:index])
        if other.shape is not None and other.solid and _reaches(other, world := _world(nodes, number), middle[0], reach)
    ]
    height = max(heights, default=-np.inf)
    if not np.isfinite(height):
        raise InputError(
            f"{node.id} stands on nothing: no mesh before it in the scene is below it; add a plane, or leave `on` out"
        )
    z = node.values.get("z", 0.0) + (height - lowest) / above[2, 2]
    return replace(node, values={**node.values, "z": float(z)})


def resolved(nodes: Sequence[Node], before: Sequence[Node], free: Free) -> list[Node]:
    """Return changed nodes of a scene in places that they can take.

    Siblings that are too close are moved apart along x and y, as far as these may change. If that does not end, the
    siblings go back towards where they were, until they are apart.

    Args:
        before: the same nodes before the change, which keep their distances.
        free: the numbers that may change.
    """
    found = list(nodes)
    groups: dict[int | None, list[int]] = {}
    for index, node in enumerate(nodes):
        if node.placement is not None and node.placement.apart is not None and node.shape is not None:
            groups.setdefault(node.parent, []).append(index)
    changeable = {index for index, _ in free}
    for group in groups.values():
        if changeable.isdisjoint(group):
            continue
        if not _separated(found, group, free):
            for share in _SHARES:
                for index in group:
                    found[index] = _between(before[index], nodes[index], share, free, index)
                if _separated(found, group, free) or share == 0:
                    break
    for index, node in enumerate(found):
        if node.placement is not None and node.placement.on_surface:
            found[index] = standing(found, index)
    return found


def _separated(nodes: list[Node], group: Sequence[int], free: Free) -> bool:
    """Move the nodes of a group apart; return whether they are."""
    for _ in range(_ROUNDS):
        shapes = {index: placed(nodes[index]) for index in group}
        moves: dict[int, np.ndarray] = {}
        clear = True
        for place, first in enumerate(group):
            for second in group[place + 1 :]:
                one, other = shapes[first], shapes[second]
                if one is None or other is None or one.clear_of(other):
                    continue
                clear = False
                gap, way = distance(one.polygon, other.polygon)
                step = (max(one.apart, other.apart) * (1 + _BEYOND) - gap + 1e-12) * way
                movable = [index for index in (first, second) if _moves(index, free)]
                for index in movable:
                    sign = -1.0 if index == first else 1.0
                    moves[index] = moves.get(index, np.zeros(2)) + sign * step / len(movable)
        if clear:
            return True
        if not moves:
            return False
        for index, move in moves.items():
            values = dict(nodes[index].values)
            for axis, name in enumerate(("x", "y")):
                if (index, name) in free:
                    low, high = free[index, name]
                    values[name] = float(np.clip(values[name] + move[axis], low, high))
            nodes[index] = replace(nodes[index], values=values)
    return False


def _moves(index: int, free: Free) -> bool:
    return (index, "x") in free or (index, "y") in free


def _between(before: Node, after: Node, share: float, free: Free, index: int) -> Node:
    """Return a node on the way from one state to another; angles go the short way."""
    values = dict(after.values)
    for name, old in before.values.items():
        if (index, name) in free:
            change = values[name] - old
            if name in ("yaw", "pitch", "roll"):
                change = (change + 180) % 360 - 180
            low, high = free[index, name]
            moved = old + share * change
            if name in ("yaw", "pitch", "roll") and high - low >= 360:
                moved = low + (moved - low) % 360
            values[name] = float(np.clip(moved, low, high))
    return replace(after, values=values)


def _size(node: Node) -> np.ndarray:
    """Return the factors of a node's shape along its axes."""
    across, up = ("height", "depth") if node.flat else ("depth", "height")
    return np.array((node.values.get("width", 1.0), node.values.get(across, 1.0), node.values.get(up, 1.0)))


def _world(nodes: Sequence[Node], index: int | None) -> np.ndarray:
    matrix = np.eye(4)
    while index is not None:
        matrix = local_of(nodes[index]) @ matrix
        index = nodes[index].parent
    return matrix


def _reaches(node: Node, matrix: np.ndarray, middle: np.ndarray, reach: float) -> bool:
    """Return whether a node may lie below a circle."""
    if node.shape is None:
        return False
    size = float(_size(node).max()) * math.sqrt(float((matrix[:3, 0] ** 2).sum()))
    return math.hypot(matrix[0, 3] - middle[0], matrix[1, 3] - middle[1]) <= node.shape.radius * size + reach


def _height(node: Node, matrix: np.ndarray, probes: np.ndarray, ceiling: float) -> float:
    """Return the highest point of a node's surface below probes [n, 2] that is not above the ceiling; -inf: none."""
    if node.shape is None:
        return -np.inf
    triangles = node.shape.triangles * _size(node) @ matrix[:3, :3].T + matrix[:3, 3]
    flat = triangles[..., :2]
    low, high = probes.min(axis=0), probes.max(axis=0)
    near = ((flat.max(axis=1) >= low) & (flat.min(axis=1) <= high)).all(axis=1)
    triangles, flat = triangles[near], flat[near]
    if not len(triangles):
        return -np.inf
    a, b, c = flat[:, 0], flat[:, 1], flat[:, 2]
    area = _cross(b - a, c - a)
    seen = np.abs(area) > 1e-18
    triangles, a, b, c, area = triangles[seen], a[seen], b[seen], c[seen], area[seen]
    point = probes[:, None]
    u, v = _cross(c - b, point - b) / area, _cross(a - c, point - c) / area
    inside = (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9)
    heights = u * triangles[:, 0, 2] + v * triangles[:, 1, 2] + (1 - u - v) * triangles[:, 2, 2]
    return float(np.where(inside & (heights <= ceiling), heights, -np.inf).max(initial=-np.inf))


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    result: np.ndarray = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    return result
