"""Boxes in 3D, and their projections.

The camera's frame here is that of computer vision: x to the right, y down, z forward, in metres. See
`metasim.camera.CameraView` for pixels.
"""

import math
from dataclasses import dataclass

import numpy as np
from metasim.camera import BOX_EDGES, TO_VISION, UPPER_CORNERS, CameraView, camera_view
from metasim.transforms import world_matrices
from metasim.v1 import render_pb2, scene_pb2

#: Smaller relative depth differences are rounding errors of single precision.
_IN_FRONT = 1e-4


@dataclass(frozen=True)
class Cuboid:
    """A box in 3D, in the camera's frame.

    Attributes:
        rotation: [3, 3] from the object's own frame to the camera's; orthonormal.
        translation: [3] the object's own origin in the camera's frame, m.
        low, high: [3] its corners in the object's own frame, m, scales included.
    """

    rotation: np.ndarray
    translation: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def size(self) -> np.ndarray:
        """Return the lengths [3] along the object's x, y and z, m."""
        return self.high - self.low

    @property
    def center(self) -> np.ndarray:
        """Return the middle [3] in the camera's frame, m."""
        return self.rotation @ (self.low + self.high) / 2 + self.translation

    def corners(self) -> np.ndarray:
        """Return the corners [8, 3] in the camera's frame, m.

        Corner i is at the upper end of axis k if bit k of i is 1.
        """
        return np.where(UPPER_CORNERS, self.high, self.low) @ self.rotation.T + self.translation

    def projected(self, camera: CameraView) -> tuple[float, float, float, float] | None:
        """Return (left, top, right, bottom) px around it, not clipped to the image; None: it is behind the camera."""
        return camera.box_around(self.corners() @ TO_VISION, BOX_EDGES)

    def truncation(self, camera: CameraView) -> float:
        """Return the share of the area of its projection's bounding box that lies outside of the image, 0 to 1."""
        box = self.projected(camera)
        if box is None:
            return 1.0
        left, top, right, bottom = box
        area = (right - left) * (bottom - top)
        width = min(right, camera.width_px) - max(left, 0)
        height = min(bottom, camera.height_px) - max(top, 0)
        return 1 - max(width, 0) * max(height, 0) / area if area > 0 else 0.0

    def occlusion(self, camera: CameraView, depth: np.ndarray) -> float:
        """Return the share of its pixels that show something in front of the box, 0 to 1.

        A pixel belongs to the box if the ray through its centre meets the box. Content of the box does not hide it, nor
        does anything behind the point where the ray enters.

        Args:
            depth: [height, width] m, +inf where nothing is.
        """
        box = self.projected(camera)
        if box is None:
            return 1.0
        left, top = max(math.floor(box[0]), 0), max(math.floor(box[1]), 0)
        right, bottom = min(math.ceil(box[2]), camera.width_px), min(math.ceil(box[3]), camera.height_px)
        if left >= right or top >= bottom:
            return 1.0
        entry = self._entry(camera, left, top, right, bottom)
        met = np.isfinite(entry)
        if not met.any():
            return 0.0
        hidden = met & (depth[top:bottom, left:right] < entry * (1 - _IN_FRONT))
        return float(np.count_nonzero(hidden) / np.count_nonzero(met))

    def _entry(self, camera: CameraView, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        """Return the depth [h, w] at which the rays of pixels enter the box; +inf where they miss it."""
        origins, directions = camera.vision_rays(left, top, right, bottom)
        start = (origins - self.translation) @ self.rotation
        way = directions @ self.rotation
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = np.stack(((self.low - start) / way, (self.high - start) / way))
        # A ray parallel to an axis is inside along all of it or nowhere.
        parallel = way == 0
        inside = parallel & (start >= self.low) & (start <= self.high)
        lower = np.where(parallel, np.where(inside, -np.inf, np.inf), ends.min(axis=0))
        upper = np.where(parallel, np.where(inside, np.inf, -np.inf), ends.max(axis=0))
        near, far = lower.max(axis=2), upper.min(axis=2)
        # A ray enters and leaves a flat box at the same depth, up to rounding.
        met = (near <= far + _IN_FRONT * np.abs(far)) & (far > 0)
        return np.where(met, np.maximum(near, 0), np.inf)


def camera_of(scene: scene_pb2.Scene, settings: render_pb2.RenderSettings) -> CameraView:
    """Return the camera of a scene that is rendered with the given settings."""
    node = next(node for node in scene.nodes if node.HasField("camera"))
    return camera_view(node.camera, world_matrices(scene)[node.id], settings.width_px, settings.height_px)


def cuboid_of(extent: render_pb2.Extent, world: np.ndarray, camera: CameraView) -> Cuboid:
    """Return the box around an object.

    Args:
        extent: in its node's frame.
        world: [4, 4] of its node, see `metasim.transforms.world_matrices`.
    """
    scale = float(np.linalg.norm(world[:3, 0]))
    return Cuboid(
        rotation=camera.vision_rotation @ world[:3, :3] / scale,
        translation=camera.vision_rotation @ world[:3, 3] + camera.vision_translation,
        low=scale * np.array((extent.low_x_m, extent.low_y_m, extent.low_z_m)),
        high=scale * np.array((extent.high_x_m, extent.high_y_m, extent.high_z_m)),
    )
