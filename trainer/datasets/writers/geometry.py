"""Cameras, and the projection of boxes in 3D.

The camera's frame here is that of computer vision: x to the right, y down, z forward, in metres. Pixels: x to the
right, y down, (0, 0) is the top left corner of the top left pixel, whose centre is (0.5, 0.5).
"""

import math
from dataclasses import dataclass, field

import numpy as np
from metasim.camera import BOX_EDGES, DEFAULT_NEAR_M, UPPER_CORNERS, camera_view
from metasim.lens import Distortion
from metasim.transforms import world_matrices
from metasim.v1 import render_pb2, scene_pb2

#: From a camera's own frame (x right, y up, looking along -z) to that of computer vision.
_TO_VISION = np.diag((1.0, -1.0, -1.0))
#: Relative differences of depth below this are rounding in single precision.
_IN_FRONT = 1e-4
#: Places along an edge that are projected where a lens bends it.
_SHARES = np.linspace(0, 1, 9)[1:-1]


@dataclass(frozen=True)
class Camera:
    """A camera.

    Attributes:
        focal_px: pixels per unit of y / z, or, of an orthographic camera, per metre.
        rotation: [3, 3] from the world's frame to the camera's.
        translation: [3] the world's origin in the camera's frame, m.
    """

    width_px: int
    height_px: int
    focal_px: float
    perspective: bool
    rotation: np.ndarray
    translation: np.ndarray
    near_m: float = DEFAULT_NEAR_M
    #: The principal point as a fraction of width and height.
    center: tuple[float, float] = (0.5, 0.5)
    #: Focal length along x over that along y.
    aspect: float = 1.0
    distortion: Distortion = field(default=Distortion())

    @property
    def center_px(self) -> tuple[float, float]:
        """Return the principal point."""
        return self.width_px * self.center[0], self.height_px * self.center[1]

    @property
    def focal_lengths_px(self) -> tuple[float, float]:
        """Return the focal lengths along x and y."""
        return self.focal_px * self.aspect, self.focal_px

    @property
    def matrix(self) -> list[float]:
        """Return K, [9] row by row, as OpenCV has it: the centre of the first pixel is (0, 0)."""
        (fx, fy), (u, v) = self.focal_lengths_px, self.center_px
        return [fx, 0.0, u - 0.5, 0.0, fy, v - 0.5, 0.0, 0.0, 1.0]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return the pixels [n, 2] of points [n, 3] in the camera's frame, in front of a perspective camera."""
        if not self.perspective:
            return points[:, :2] * self.focal_px + self.center_px
        seen = points[:, :2] / points[:, 2:]
        seen = seen if self.distortion.is_none else self.distortion.apply(seen)
        return seen * self.focal_lengths_px + self.center_px

    def rays(self, left: int, top: int, right: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
        """Return origins and directions [h, w, 3] of the rays through the centres of pixels; directions have z = 1."""
        u, v = np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)
        aside = (np.stack((u, v), axis=2) - self.center_px) / self.focal_lengths_px
        aside = aside if self.distortion.is_none else self.distortion.undo(aside)
        ahead, nothing = np.ones(u.shape), np.zeros(u.shape)
        if self.perspective:
            return np.zeros((*u.shape, 3)), np.dstack((aside, ahead))
        return np.dstack((aside, nothing)), np.dstack((nothing, nothing, ahead))


@dataclass(frozen=True)
class Cuboid:
    """A box in 3D, in the camera's frame.

    Attributes:
        rotation: [3, 3] from the object's own frame to the camera's; orthonormal.
        translation: [3] the object's own origin in the camera's frame, m.
        low, high: [3] its corners in the object's own frame, m: scales are part of them.
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

        Corner i lies at the upper end of the object's axis k if bit k of i is 1.
        """
        return np.where(UPPER_CORNERS, self.high, self.low) @ self.rotation.T + self.translation

    def projected(self, camera: Camera) -> tuple[float, float, float, float] | None:
        """Return (left, top, right, bottom) px around it, not cut off at the image; None: it is behind the camera."""
        corners = self.corners()
        front = corners[:, 2] >= camera.near_m
        first, second = (corners[BOX_EDGES[:, end]] for end in (0, 1))
        cut = front[BOX_EDGES[:, 0]] != front[BOX_EDGES[:, 1]]
        a, b = first[cut], second[cut]
        part = (camera.near_m - a[:, 2:]) / (b[:, 2:] - a[:, 2:])
        parts = [corners[front], a + part * (b - a)]
        if not camera.distortion.is_none:  # The lens bends edges: their ends do not bound them.
            both = front[BOX_EDGES[:, 0]] & front[BOX_EDGES[:, 1]]
            parts += [first[both] + share * (second[both] - first[both]) for share in _SHARES]
        seen = np.concatenate(parts)
        if not len(seen):
            return None
        pixels = camera.project(seen)
        (left, top), (right, bottom) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
        return left, top, right, bottom

    def truncation(self, camera: Camera) -> float:
        """Return the share of the area of its projection's bounding box that lies outside of the image, 0 to 1."""
        box = self.projected(camera)
        if box is None:
            return 1.0
        left, top, right, bottom = box
        area = (right - left) * (bottom - top)
        width = min(right, camera.width_px) - max(left, 0)
        height = min(bottom, camera.height_px) - max(top, 0)
        return 1 - max(width, 0) * max(height, 0) / area if area > 0 else 0.0

    def occlusion(self, camera: Camera, depth: np.ndarray) -> float:
        """Return the share of its pixels that show something in front of the box, 0 to 1.

        A pixel is one of the box's if the ray through the pixel's centre meets the box. What the box encloses does not
        hide it, nor does anything behind the point where the ray enters.

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

    def _entry(self, camera: Camera, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        """Return the depth [h, w] at which the rays of pixels enter the box; +inf where they miss it."""
        origins, directions = camera.rays(left, top, right, bottom)
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


def camera_of(scene: scene_pb2.Scene, settings: render_pb2.RenderSettings) -> Camera:
    """Return the camera of a scene that is rendered with the given settings."""
    node = next(node for node in scene.nodes if node.HasField("camera"))
    view = camera_view(node.camera, world_matrices(scene)[node.id], settings.width_px, settings.height_px)
    rotation = _TO_VISION @ view.camera_from_world[:3, :3]
    return Camera(
        width_px=view.width_px,
        height_px=view.height_px,
        focal_px=view.focal_px,
        perspective=view.perspective,
        rotation=rotation,
        translation=_TO_VISION @ view.camera_from_world[:3, 3],
        near_m=view.near_m,
        center=view.center,
        aspect=view.aspect,
        distortion=view.distortion,
    )


def cuboid_of(extent: render_pb2.Extent, world: np.ndarray, camera: Camera) -> Cuboid:
    """Return the box around an object.

    Args:
        extent: in its node's frame.
        world: [4, 4] of its node, see `metasim.transforms.world_matrices`.
    """
    scale = float(np.linalg.norm(world[:3, 0]))
    return Cuboid(
        rotation=camera.rotation @ world[:3, :3] / scale,
        translation=camera.rotation @ world[:3, 3] + camera.translation,
        low=scale * np.array((extent.low_x_m, extent.low_y_m, extent.low_z_m)),
        high=scale * np.array((extent.high_x_m, extent.high_y_m, extent.high_z_m)),
    )
