"""Steps of probes that the client leaves to the worker: about half a pixel of motion.

A shorter step drowns in sampling noise, a longer one blurs what it differentiates (measured: the cosine to a converged
gradient is best there).
"""

import numpy as np
from metasim.v1 import scene_pb2

from render_server.extent import ExtentOf
from render_server.geometry import CameraView, camera_view
from render_server.probes import StepRule
from render_server.scene_graph import ANGLES, SceneGraph

#: Motion to each side that a step aims at.
MOTION_PX = 0.5

#: Longest step of an angle.
_MAX_ANGLE_DEG = 5.0

#: Step of what moves nothing (colours, intensities, hidden objects), as a fraction of the value.
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
_SIZES = frozenset({scene_pb2.ATTRIBUTE_WIDTH, scene_pb2.ATTRIBUTE_HEIGHT, scene_pb2.ATTRIBUTE_DEPTH})


def half_pixel_steps(graph: SceneGraph, view: CameraView, extent_of: ExtentOf) -> StepRule:
    """The rule that moves the projection of a node's subtree by at most half a pixel to each side.

    Of a camera (and of what carries it) it is half of the objects that it sees which move by at most that much.
    What moves nothing takes a hundredth of its value, or of 1 where that is smaller; angles take at most 5 degrees.
    """

    def rule(node: int, attribute: scene_pb2.Attribute.ValueType) -> float:
        value = graph.value(node, attribute) or 0.0
        speed = _speed(graph, view, extent_of, node, attribute, value)
        if speed > 0:
            step = MOTION_PX / speed
            return min(step, _MAX_ANGLE_DEG) if attribute in ANGLES else step
        return 1.0 if attribute in ANGLES else _FRACTION * max(abs(value), 1.0)

    return rule


def _speed(
    graph: SceneGraph,
    view: CameraView,
    extent_of: ExtentOf,
    node: int,
    attribute: scene_pb2.Attribute.ValueType,
    value: float,
) -> float:
    """Pixels per unit of the attribute; 0 if nothing that can be seen moves."""
    if attribute not in _TRANSFORMS and attribute not in _SIZES and attribute != scene_pb2.ATTRIBUTE_FOV:
        return 0.0
    small = 0.05 if attribute in ANGLES or attribute == scene_pb2.ATTRIBUTE_FOV else 1e-3 * max(abs(value), 1.0)
    moved = graph.with_value(node, attribute, value + small)
    camera_moves = graph.camera in moved.changed
    after = camera_view(moved, view.width_px, view.height_px) if camera_moves else view
    speeds = []
    for index in range(len(graph.nodes)) if camera_moves else moved.changed:
        before_extent, after_extent = extent_of(graph, index), extent_of(moved, index)
        if before_extent is not None and after_extent is not None:
            motion = _motion_px(view, before_extent.points, after, after_extent.points)
            if motion > 0:
                speeds.append(motion / small)
    if not speeds:
        return 0.0
    return float(np.median(speeds)) if camera_moves else max(speeds)


def _motion_px(before: CameraView, points: np.ndarray, after: CameraView, moved: np.ndarray) -> float:
    """Longest way in the image of those points that it shows, in pixels."""
    start, end = before.to_camera(points), after.to_camera(moved)
    front = (-start[:, 2] >= before.near_m) & (-end[:, 2] >= after.near_m)
    if not front.any():
        return 0.0
    start, end = before.project(start[front]), after.project(end[front])
    inside = ((start >= 0) & (start <= (before.width_px, before.height_px))).all(axis=1)
    if not inside.any():  # Larger than the image, or beside it.
        low, high = start.min(axis=0), start.max(axis=0)
        if (high < 0).any() or (low > (before.width_px, before.height_px)).any():
            return 0.0
        inside[:] = True
    return float(np.linalg.norm(end[inside] - start[inside], axis=1).max())
