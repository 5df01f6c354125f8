"""The camera of a scene as a projection: points to pixels and depths."""

import math
from dataclasses import dataclass

import numpy as np

from metasim.v1 import scene_pb2

#: Nearest and farthest distance that a camera sees by default; see `metasim/v1/scene.proto`.
DEFAULT_NEAR_M = 0.1
DEFAULT_FAR_M = 1000.0

#: [8, 3] bool: whether corner i of an upright box lies at its upper end along axis k: bit k of i.
UPPER_CORNERS = np.array([[bool(corner >> axis & 1) for axis in range(3)] for corner in range(8)])

#: [12, 2]: the pairs of corners of a box that an edge joins.
BOX_EDGES = np.array([(low, low | 1 << axis) for axis in range(3) for low in range(8) if not low >> axis & 1])


@dataclass(frozen=True)
class CameraView:
    """A camera and the image that it fills.

    Pixel coordinates run to the right and down from the top left corner of the top left pixel, whose centre is
    (0.5, 0.5). The camera's frame has x to the right, y up and looks along -z; depth is -z.
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
        """[3, 3] float64 K: maps (x, -y, depth) of the camera's frame, or (x, -y, 1) if orthographic, to pixels."""
        f = self.focal_px
        return np.array(((f, 0.0, self.width_px / 2), (0.0, f, self.height_px / 2), (0.0, 0.0, 1.0)))

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """Return world points [n, 3] in the camera's frame [n, 3]."""
        return points @ self.camera_from_world[:3, :3].T + self.camera_from_world[:3, 3]

    def depths(self, points: np.ndarray) -> np.ndarray:
        """Return the depths [n] of world points [n, 3]."""
        return -(points @ self.camera_from_world[2, :3] + self.camera_from_world[2, 3])

    def project(self, camera_points: np.ndarray) -> np.ndarray:
        """Return the pixels [n, 2] of points of the camera's frame [n, 3]. In perspective their depth must be > 0."""
        scale = self.focal_px / -camera_points[:, 2] if self.perspective else self.focal_px
        x = self.width_px / 2 + scale * camera_points[:, 0]
        y = self.height_px / 2 - scale * camera_points[:, 1]
        return np.stack((x, y), axis=1)

    def box_around(
        self, camera_points: np.ndarray, edges: np.ndarray | None = None
    ) -> tuple[float, float, float, float] | None:
        """Return (left, top, right, bottom) in pixels around points of the camera's frame, also outside of the image.

        Args:
            camera_points: [n, 3].
            edges: [m, 2] pairs of points. An edge with one end behind the near plane is cut there.

        Returns:
            None if everything lies behind the near plane.
        """
        front = -camera_points[:, 2] >= self.near_m
        kept = [camera_points[front]]
        if edges is not None and not front.all():
            first, second = edges[:, 0], edges[:, 1]
            cut = front[first] != front[second]
            a, b = camera_points[first[cut]], camera_points[second[cut]]
            t = (-self.near_m - a[:, 2:]) / (b[:, 2:] - a[:, 2:])
            kept.append(a + t * (b - a))
        visible = np.concatenate(kept)
        if len(visible) == 0:
            return None
        pixels = self.project(visible)
        (left, top), (right, bottom) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
        return left, top, right, bottom


def camera_view(camera: scene_pb2.Camera, world: np.ndarray, width_px: int, height_px: int) -> CameraView:
    """Return the view of a camera on an image of that size. A scale of the camera's node has no effect.

    Args:
        world: [4, 4] matrix from the frame of the camera's node to the world's.
    """
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
