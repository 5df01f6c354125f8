"""The camera of a scene as a projection: points to pixels and depths, and pixels to rays."""

import math
from dataclasses import dataclass, field

import numpy as np

from metasim.lens import Distortion
from metasim.v1 import scene_pb2

#: Nearest and farthest distance that a camera sees by default; see `metasim/v1/scene.proto`.
DEFAULT_NEAR_M = 0.1
DEFAULT_FAR_M = 1000.0

#: [8, 3] bool: whether corner i of an upright box lies at its upper end along axis k: bit k of i.
UPPER_CORNERS = np.array([[bool(corner >> axis & 1) for axis in range(3)] for corner in range(8)])

#: [12, 2]: the pairs of corners of a box that an edge joins.
BOX_EDGES = np.array([(low, low | 1 << axis) for axis in range(3) for low in range(8) if not low >> axis & 1])


#: From a camera's own frame (x right, y up, looking along -z) to that of computer vision (x right, y down, z forward).
TO_VISION = np.diag((1.0, -1.0, -1.0))
#: Parts of an edge whose ends are looked at where a lens bends it.
_PARTS = 8
#: Difference, in units of x / z, that tells that a lens shows two points at one place.
_FOLDED = 1e-4


@dataclass(frozen=True)
class CameraView:
    """A camera and the image that it fills.

    Pixel coordinates run to the right and down from the top left corner of the top left pixel, whose centre is
    (0.5, 0.5). The camera's frame has x to the right, y up and looks along -z; depth is -z. The names that begin with
    `vision_` are in the frame of computer vision: x to the right, y down, z forward.
    """

    camera_from_world: np.ndarray  # [4, 4] float64, rigid
    perspective: bool
    focal_px: float  # Perspective: pixels per unit of x / depth. Orthographic: pixels per metre.
    width_px: int
    height_px: int
    near_m: float = DEFAULT_NEAR_M
    far_m: float = DEFAULT_FAR_M
    #: The principal point as a fraction of width and height, and the focal length along x over that along y.
    center: tuple[float, float] = (0.5, 0.5)
    aspect: float = 1.0
    distortion: Distortion = field(default=Distortion())

    @property
    def center_px(self) -> tuple[float, float]:
        """The principal point in pixel coordinates."""
        return self.width_px * self.center[0], self.height_px * self.center[1]

    @property
    def is_pinhole(self) -> bool:
        """Return whether straight lines are straight in the image and pixels are square."""
        return self.distortion.is_none and self.aspect == 1

    @property
    def intrinsics(self) -> np.ndarray:
        """[3, 3] float64 K: maps (x, -y, depth) of the camera's frame, or (x, -y, 1) if orthographic, to pixels.

        It leaves the distortion out.
        """
        f, (u, v) = self.focal_px, self.center_px
        return np.array(((f * self.aspect, 0.0, u), (0.0, f, v), (0.0, 0.0, 1.0)))

    @property
    def vision_matrix(self) -> list[float]:
        """Return K [9], row by row, in OpenCV's convention: the centre of the first pixel is (0, 0)."""
        (fx, _, u), (_, fy, v), _ = self.intrinsics.tolist()
        return [fx, 0.0, u - 0.5, 0.0, fy, v - 0.5, 0.0, 0.0, 1.0]

    @property
    def vision_rotation(self) -> np.ndarray:
        """Return the rotation [3, 3] from the world's frame to the camera's frame of computer vision."""
        return TO_VISION @ self.camera_from_world[:3, :3]

    @property
    def vision_translation(self) -> np.ndarray:
        """Return the world's origin [3] in the camera's frame of computer vision, m."""
        return TO_VISION @ self.camera_from_world[:3, 3]

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """Return world points [n, 3] in the camera's frame [n, 3]."""
        return points @ self.camera_from_world[:3, :3].T + self.camera_from_world[:3, 3]

    def depths(self, points: np.ndarray) -> np.ndarray:
        """Return the depths [n] of world points [n, 3]."""
        return -(points @ self.camera_from_world[2, :3] + self.camera_from_world[2, 3])

    def project(self, camera_points: np.ndarray) -> np.ndarray:
        """Return the pixels [n, 2] of points of the camera's frame [n, 3]. In perspective their depth must be > 0."""
        u, v = self.center_px
        if not self.is_pinhole:
            seen = self.distortion.apply(camera_points[:, :2] / -camera_points[:, 2:] * (1.0, -1.0))
            return seen * (self.focal_px * self.aspect, self.focal_px) + (u, v)
        scale = self.focal_px / -camera_points[:, 2] if self.perspective else self.focal_px
        x = u + scale * camera_points[:, 0]
        y = v - scale * camera_points[:, 1]
        return np.stack((x, y), axis=1)

    def undistorted(self, pixels: np.ndarray) -> np.ndarray:
        """Return (x, y) / depth [..., 2], x to the right and y down, of what a perspective camera sees at pixels.

        The result is NaN where the lens shows nothing. For an orthographic camera it is (x, y) in metres.
        """
        return self.distortion.undo((pixels - self.center_px) / (self.focal_px * self.aspect, self.focal_px))

    def vision_rays(self, left: int, top: int, right: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
        """Return origins and directions [h, w, 3] of the rays through the centres of pixels, in the frame of vision.

        Directions have z = 1.
        """
        pixels = np.stack(np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5), axis=2)
        aside = self.undistorted(pixels)
        one, zero = np.ones(aside.shape[:2]), np.zeros(aside.shape[:2])
        if self.perspective:
            return np.dstack((zero, zero, zero)), np.dstack((aside, one))
        return np.dstack((aside, zero)), np.dstack((zero, zero, one))

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
        if edges is not None and not self.distortion.is_none:  # Edges are bent: their ends do not bound them.
            both = front[edges[:, 0]] & front[edges[:, 1]]
            a, b = camera_points[edges[both, 0]], camera_points[edges[both, 1]]
            kept += [a + part * (b - a) for part in np.linspace(0, 1, _PARTS + 1)[1:-1]]
        visible = np.concatenate(kept)
        if len(visible) == 0:
            return None
        pixels = self._in_view(visible)
        if len(pixels) == 0:
            return None
        (left, top), (right, bottom) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
        return left, top, right, bottom

    def _in_view(self, visible: np.ndarray) -> np.ndarray:
        """Return the pixels of points; beyond a distortion's fold, those of the pinhole camera, outwards."""
        pixels = self.project(visible)
        if self.distortion.is_none:
            return pixels
        plain = visible[:, :2] / -visible[:, 2:] * (1.0, -1.0)
        folded = np.isnan(self.distortion.undo(self.distortion.apply(plain))).any(axis=1)
        folded |= np.abs(self.distortion.undo(self.distortion.apply(plain)) - plain).max(axis=1) > _FOLDED
        pixels[folded] = plain[folded] * (self.focal_px * self.aspect, self.focal_px) + self.center_px
        return pixels


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
    lens = camera.perspective.lens
    return CameraView(
        camera_from_world=inverse,
        perspective=perspective,
        focal_px=focal,
        width_px=width_px,
        height_px=height_px,
        near_m=camera.near_m if camera.HasField("near_m") else DEFAULT_NEAR_M,
        far_m=camera.far_m if camera.HasField("far_m") else DEFAULT_FAR_M,
        center=(
            lens.center_x if lens.HasField("center_x") else 0.5,
            lens.center_y if lens.HasField("center_y") else 0.5,
        ),
        aspect=lens.aspect if lens.HasField("aspect") else 1.0,
        distortion=Distortion.from_proto(lens),
    )
