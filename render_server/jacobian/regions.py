"""The part of the image that a probe can change: the object before and after its step, its children, its shadow."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from metasim.camera import BOX_EDGES, UPPER_CORNERS, CameraView
from metasim.v1 import scene_pb2

from render_server.jacobian.probes import Probe
from render_server.scene.extent import Extent, ExtentOf
from render_server.scene.geometry import Outline, projected_box
from render_server.scene.light_sources import LightSource, light_source
from render_server.scene.scene_graph import SceneGraph

#: Width of the margin for occlusion of the sky, as a fraction of the object's height, in scenes without lights.
_HALO = 0.25

#: Tolerance for a point that touches a box, in metres.
_TOUCHING = 1e-6


@dataclass(frozen=True)
class Window:
    """Whole pixels of an image: left <= x < right, top <= y < bottom. Empty if left == right."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of an array [height, width, ...]."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


NOWHERE = Window(0, 0, 0, 0)


def union(windows: Iterable[Window]) -> Window:
    """Return the smallest window around all of them."""
    shown = [window for window in windows if window.pixels]
    if not shown:
        return NOWHERE
    return Window(
        min(window.left for window in shown),
        min(window.top for window in shown),
        max(window.right for window in shown),
        max(window.bottom for window in shown),
    )


class ChangedRegions:
    """The windows of probes of one scene.

    A window holds every pixel that sees the object, or the shadow that a light casts behind it, before and after the
    step. Cameras, lights and glowing meshes change the whole frame.

    The window neglects other effects of the object on its surroundings: reflections and occlusion of the sky. They are
    0.4 % of the gradient's norm on a sunlit street, and 1 to 2 % under the sky alone, where a margin includes half of
    them. Audits measure them.

    Args:
        graph: the unperturbed scene.
        view: the camera's view.
        extent_of: see `ExtentOf`.
        reach_px: maximum distance of samples outside of their pixel.
        sky: whether the background emits light.
    """

    def __init__(
        self,
        graph: SceneGraph,
        view: CameraView,
        extent_of: ExtentOf,
        *,
        reach_px: float = 0.0,
        sky: bool = False,
    ) -> None:
        self._graph, self._view, self._extent_of, self._reach_px = graph, view, extent_of, reach_px
        self.frame = Window(0, 0, view.width_px, view.height_px)
        meshes = [(node, extent_of(graph, index)) for index, node in enumerate(graph.nodes) if node.HasField("mesh")]
        lit = [extent for node, extent in meshes if extent is not None and not _glows(node)]
        sources = [light_source(graph, index) for index, node in enumerate(graph.nodes) if node.HasField("light")]
        self._lamps = [source for source in sources if source is not None]
        self._lamps += [LightSource(positions=extent.corners) for node, extent in meshes if extent and _glows(node)]
        self._receivers: tuple[np.ndarray, np.ndarray] | None = None
        if lit:
            corners = np.concatenate([extent.corners for extent in lit])
            self._receivers = corners.min(axis=0), corners.max(axis=0)
        self._halo = sky and not self._lamps
        self._unperturbed: dict[int, Window] = {}

    def of(self, probe: Probe) -> Window:
        """Return the window of a probe: `NOWHERE` if nothing visible changes, `frame` if everything may change."""
        sides = [side for side in probe.sides if side is not None]
        changed = {index for side in sides for index in side.changed}
        if any(self._is_everywhere(graph, index) for graph in (self._graph, *sides) for index in changed):
            return self.frame
        windows = [self._before(index) for index in changed]
        windows += [self._around(side, index) for side in sides for index in side.changed]
        return union(windows)

    def _is_everywhere(self, graph: SceneGraph, index: int) -> bool:
        node = graph.nodes[index]
        return index == graph.camera or node.HasField("light") or (_glows(node) and self._receivers is not None)

    def _before(self, index: int) -> Window:
        if index not in self._unperturbed:
            self._unperturbed[index] = self._around(self._graph, index)
        return self._unperturbed[index]

    def _around(self, graph: SceneGraph, index: int) -> Window:
        extent = self._extent_of(graph, index)
        if extent is None:
            return NOWHERE
        if self._receivers is not None and any(lamp.touches(extent.corners) for lamp in self._lamps):
            return self.frame
        outline = Outline(self._with_shadows(extent.points, extent))
        if (self._view.depths(outline.points) < self._view.near_m).any() or not self._view.is_pinhole:
            # Edges are needed for clipping at the near plane and for lens distortion.
            outline = _prisms(self._with_shadows(extent.corners, extent))
        box = projected_box(self._view, outline)
        if box is None:
            return NOWHERE
        left, top, right, bottom = box
        grow = self._reach_px + extent.shortfall * max(right - left, bottom - top)
        left, top = max(0, math.floor(left - grow)), max(0, math.floor(top - grow))
        right = min(self._view.width_px, math.ceil(right + grow))
        bottom = min(self._view.height_px, math.ceil(bottom + grow))
        return Window(left, top, right, bottom) if left < right and top < bottom else NOWHERE

    def _with_shadows(self, points: np.ndarray, extent: Extent) -> np.ndarray:
        """Return the points [n, 3], the ends of their shadows for each light, and the halo's corners, if any."""
        if self._receivers is None:
            return points
        parts = [points]
        parts += [_cast(points, lamp.rays(points), *self._receivers).reshape(-1, 3) for lamp in self._lamps]
        if self._halo:
            parts.append(_inflated(extent.corners, *self._receivers))
        return np.concatenate(parts)


def _glows(node: scene_pb2.Node) -> bool:
    """Return whether the node is a mesh that emits light instead of reflecting it."""
    return node.HasField("mesh") and node.mesh.material.emission > 0


def _inflated(corners: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the corners of the box, widened by a fraction of its height within the bounds of the lit region."""
    least, most = corners.min(axis=0), corners.max(axis=0)
    reach = np.array((1.0, 1.0, 0.0)) * _HALO * (most[2] - least[2])
    return np.where(
        UPPER_CORNERS,
        np.maximum(most, np.minimum(most + reach, high)),
        np.minimum(least, np.maximum(least - reach, low)),
    )


def _cast(points: np.ndarray, rays: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the points [k, n, 3] at which rays [k, n, 3] through points [n, 3] leave the box of the lit region."""
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (low - points) / rays, (high - points) / rays
    still = rays == 0
    entry = np.where(still, -np.inf, np.minimum(first, second)).max(axis=2)
    ways = np.where(still, np.inf, np.maximum(first, second))
    way, side = ways.min(axis=2), ways.argmin(axis=2)
    meets = way >= np.maximum(entry, -_TOUCHING)
    way = np.where(meets, np.maximum(way, 0.0), 0.0)
    # Rays that leave through different sides pass around a corner of the box, so all get the longest length.
    by_one_side = meets.all(axis=1) & (side == side[:, :1]).all(axis=1)
    way = np.where(by_one_side[:, None], way, way.max(axis=1, keepdims=True))
    return points + way[..., None] * rays


def _prisms(corners: np.ndarray) -> Outline:
    """Return the box of the first eight corners, and the prisms between it and each further eight, [8 k, 3]."""
    edges = [BOX_EDGES]
    for first in range(8, len(corners), 8):
        edges += [BOX_EDGES + first, np.stack((np.arange(8), np.arange(first, first + 8)), axis=1)]
    return Outline(corners, np.concatenate(edges))
