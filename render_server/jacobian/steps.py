"""Steps that the worker chooses: about half a pixel of motion.

Sampling noise dominates shorter steps, and longer steps blur the derivative. Half a pixel gives the best cosine with a
converged gradient.
"""

import math
from dataclasses import dataclass

import numpy as np
from metasim.camera import CameraView
from metasim.v1 import scene_pb2

from render_server.jacobian.probes import StepRule
from render_server.scene.extent import Extent, ExtentOf
from render_server.scene.geometry import camera_view
from render_server.scene.scene_graph import ANGLES, SceneGraph

#: Motion to each side that a step aims at, in pixels.
MOTION_PX = 0.5

#: Longest step of an angle.
_MAX_ANGLE_DEG = 5.0

#: Change of an angle by which its effect is measured.
_SMALL_ANGLE_DEG = 0.05

#: Step of attributes without motion (colours, intensities, hidden objects), as a fraction of the value.
_FRACTION = 0.01

_TRANSFORMS = frozenset(
    {
        scene_pb2.ATTRIBUTE_X,
        scene_pb2.ATTRIBUTE_Y,
        scene_pb2.ATTRIBUTE_Z,
        scene_pb2.ATTRIBUTE_SCALE,
        *ANGLES,
    }
)
_TURNING = ANGLES | {scene_pb2.ATTRIBUTE_FOV}
SIZES = frozenset({scene_pb2.ATTRIBUTE_WIDTH, scene_pb2.ATTRIBUTE_HEIGHT, scene_pb2.ATTRIBUTE_DEPTH})
#: Attributes that move surface points or their images.
MOTIONS = _TRANSFORMS | SIZES | {scene_pb2.ATTRIBUTE_FOV}


def half_pixel_steps(graph: SceneGraph, view: CameraView, extent_of: ExtentOf) -> StepRule:
    """Return the rule that moves the projection of a node's subtree by at most half a pixel to each side.

    For a camera and its ancestors, half of the visible objects move by at most that much. Attributes without motion
    step by a hundredth of their value, or of 1 if that is larger. Angles step by at most 5 degrees.
    """
    shown: dict[int, _Shown | None] = {}

    def rule(node: int, attribute: scene_pb2.Attribute.ValueType) -> float:
        value = graph.value(node, attribute) or 0.0
        if attribute in MOTIONS:
            small = _SMALL_ANGLE_DEG if attribute in _TURNING else 1e-3 * max(abs(value), 1.0)
            motion = _motion_px(graph, graph.with_value(node, attribute, value + small), view, extent_of, shown)
            if motion > 0:
                step = MOTION_PX * small / motion
                return min(step, _MAX_ANGLE_DEG) if attribute in ANGLES else step
        return 1.0 if attribute in ANGLES else _FRACTION * max(abs(value), 1.0)

    return rule


@dataclass(frozen=True)
class _Shown:
    """The points of a node that represent its motion, and their pixels."""

    points: np.ndarray  # [n] bool: which of its extent's points
    pixels: np.ndarray  # [n, 2]


def _motion_px(
    graph: SceneGraph, moved: SceneGraph, view: CameraView, extent_of: ExtentOf, shown: dict[int, _Shown | None]
) -> float:
    """Return the image motion of the moving points in pixels; 0 if nothing visible moves.

    Args:
        shown: cache of the unperturbed scene's points; filled in.
    """
    camera_moves = graph.camera in moved.changed
    after = camera_view(moved, view.width_px, view.height_px) if camera_moves else view
    motions = []
    for index in range(len(graph.nodes)) if camera_moves else moved.changed:
        if index not in shown:
            shown[index] = _shown(view, extent_of(graph, index))
        before, extent = shown[index], extent_of(moved, index)
        if before is None or extent is None:
            continue
        points = after.to_camera(extent.points[before.points])
        front = -points[:, 2] >= after.near_m
        if not front.all():
            points, start = points[front], before.pixels[front]
        else:
            start = before.pixels
        if len(points):
            way = after.project(points) - start
            motions.append(math.sqrt((way * way).sum(axis=1).max()))
    motions = [motion for motion in motions if motion > 0]
    if not motions:
        return 0.0
    return float(np.median(motions)) if camera_moves else max(motions)


def _shown(view: CameraView, extent: Extent | None) -> _Shown | None:
    """Return the points inside the image, or all if the object is larger than it; None if it cannot be seen."""
    if extent is None:
        return None
    points = view.to_camera(extent.points)
    front = -points[:, 2] >= view.near_m
    if not front.any():
        return None
    pixels = view.project(points[front])
    size = (view.width_px, view.height_px)
    inside = ((pixels >= 0) & (pixels <= size)).all(axis=1)
    if not inside.any():
        if (pixels.max(axis=0) < 0).any() or (pixels.min(axis=0) > size).any():
            return None
        inside[:] = True
    front[front] = inside
    return _Shown(front, pixels[inside])
