"""The camera as a projection: world points to pixels and depths."""

import math
from dataclasses import dataclass

import numpy as np

from render_server.scene.scene_graph import SceneGraph

DEFAULT_NEAR_M = 0.1
DEFAULT_FAR_M = 1000.0


@dataclass(frozen=True)
class CameraView:
    """A camera and the image it fills.

    Pixel coordinates run to the right and down from the top left corner of the top left pixel, whose centre is
    (0.5, 0.5). The camera frame has x to the right, y up and looks along -z; depth is -z.
    """

    camera_from_world: np.ndarray  # [4, 4] float64, rigid
    perspective: bool
    focal_px: float  # Perspective: pixels per unit of x / depth. Orthographic: pixels per metre.
    width_px: int
    height_px: int
    near_m: float
    far_m: float

    @property
    def intrinsics(self) -> np.ndarray:
        """[3, 3] float64 K: takes (x, -y, depth) of the camera frame, or (x, -y, 1) if orthographic, to pixels."""
        f = self.focal_px
        return np.array(((f, 0.0, self.width_px / 2), (0.0, f, self.height_px / 2), (0.0, 0.0, 1.0)))

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World points [n, 3] in the camera frame [n, 3]."""
        return points @ self.camera_from_world[:3, :3].T + self.camera_from_world[:3, 3]

    def depths(self, points: np.ndarray) -> np.ndarray:
        """Depths [n] of world points [n, 3]."""
        return -(points @ self.camera_from_world[2, :3] + self.camera_from_world[2, 3])

    def project(self, camera_points: np.ndarray) -> np.ndarray:
        """Points of the camera frame [n, 3] to pixels [n, 2]. In perspective their depth must be > 0."""
        scale = self.focal_px / -camera_points[:, 2] if self.perspective else self.focal_px
        x = self.width_px / 2 + scale * camera_points[:, 0]
        y = self.height_px / 2 - scale * camera_points[:, 1]
        return np.stack((x, y), axis=1)


def camera_view(graph: SceneGraph, width_px: int, height_px: int) -> CameraView:
    """The view of the graph's camera on an image of that size. A scale of the camera's node has no effect."""
    camera = graph.nodes[graph.camera].camera
    world = graph.world[graph.camera]
    rotation = world[:3, :3] / np.linalg.norm(world[:3, 0])
    inverse = np.eye(4)
    inverse[:3, :3] = rotation.T
    inverse[:3, 3] = -rotation.T @ world[:3, 3]
    perspective = camera.HasField("perspective")
    if perspective:
        focal = height_px / 2 / math.tan(math.radians(camera.perspective.vertical_fov_deg) / 2)
    else:
        focal = height_px / camera.orthographic.height_m
    return CameraView(
        camera_from_world=inverse,
        perspective=perspective,
        focal_px=focal,
        width_px=width_px,
        height_px=height_px,
        near_m=camera.near_m if camera.HasField("near_m") else DEFAULT_NEAR_M,
        far_m=camera.far_m if camera.HasField("far_m") else DEFAULT_FAR_M,
    )


@dataclass(frozen=True)
class Outline:
    """World points whose projections' bounding box is that of the object.

    `edges` name pairs of points; where one of them lies behind the near plane, the edge is cut there.
    """

    points: np.ndarray  # [n, 3] float64, world frame
    edges: np.ndarray | None = None  # [m, 2] int


def projected_box(view: CameraView, outline: Outline) -> tuple[float, float, float, float] | None:
    """(left, top, right, bottom) in pixels around an object, also outside of the image; None if all is behind it."""
    points = view.to_camera(outline.points)
    front = -points[:, 2] >= view.near_m
    kept = [points[front]]
    if outline.edges is not None and not front.all():
        first, second = outline.edges[:, 0], outline.edges[:, 1]
        cut = front[first] != front[second]
        a, b = points[first[cut]], points[second[cut]]
        t = (-view.near_m - a[:, 2:]) / (b[:, 2:] - a[:, 2:])
        kept.append(a + t * (b - a))
    visible = np.concatenate(kept)
    if len(visible) == 0:
        return None
    pixels = view.project(visible)
    (left, top), (right, bottom) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
    return left, top, right, bottom


def clipped_box(view: CameraView, outline: Outline) -> tuple[float, float, float, float] | None:
    """The part of `projected_box` inside the image; None if it lies outside."""
    box = projected_box(view, outline)
    if box is None:
        return None
    left, top, right, bottom = (
        max(box[0], 0.0),
        max(box[1], 0.0),
        min(box[2], view.width_px),
        min(box[3], view.height_px),
    )
    return (left, top, right, bottom) if left < right and top < bottom else None
