"""Lenses: OpenCV's formula, its inverse, and the projection of cameras that have one."""

import numpy as np
import pytest
from metasim.camera import camera_view
from metasim.lens import Distortion
from metasim.v1 import scene_pb2

COEFFICIENTS = {"k1": -0.28, "k2": 0.09, "p1": 0.004, "p2": -0.003, "k3": -0.01}


def opencv(points: np.ndarray, k: tuple[float, ...], fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    """cv2.projectPoints without rotation, as OpenCV documents it. `k` is (k1, k2, p1, p2, k3)."""
    k1, k2, p1, p2, k3 = k
    x, y = points[:, 0] / points[:, 2], points[:, 1] / points[:, 2]
    r2 = x**2 + y**2
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    x2 = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)
    y2 = y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y
    return np.stack((fx * x2 + cx, fy * y2 + cy), axis=1)


def test_projection_is_opencvs() -> None:
    lens = scene_pb2.Lens(center_x=0.45, center_y=0.55, aspect=1.1, **COEFFICIENTS)
    camera = scene_pb2.Camera(perspective=scene_pb2.Perspective(vertical_fov_deg=50, lens=lens))
    view = camera_view(camera, np.eye(4), 200, 120)
    fy = 60 / np.tan(np.radians(25))
    points = np.random.default_rng(0).uniform((-0.6, -0.4, 1), (0.6, 0.4, 1.5), (50, 3))
    expected = opencv(
        points, tuple(COEFFICIENTS[name] for name in ("k1", "k2", "p1", "p2", "k3")), 1.1 * fy, fy, 90, 66
    )
    np.testing.assert_allclose(view.project(points * (1, -1, -1)), expected, atol=1e-9)
    np.testing.assert_allclose(view.intrinsics, [[1.1 * fy, 0, 90], [0, fy, 66], [0, 0, 1]])
    np.testing.assert_allclose(view.undistorted(expected), points[:, :2] / points[:, 2:], atol=1e-8)


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_the_inverse_of_each_coefficient(name: str) -> None:
    distortion = Distortion(**{name: COEFFICIENTS[name]})
    points = np.random.default_rng(1).uniform(-0.7, 0.7, (200, 2))
    np.testing.assert_allclose(distortion.undo(distortion.apply(points)), points, atol=1e-8)


def test_where_a_lens_shows_nothing() -> None:
    # x (1 - x^2) has its largest value, 0.385, at 0.577.
    found = Distortion(k1=-1).undo(np.array([[0.38, 0.0], [0.39, 0.0], [0.0, 5.0]]))
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1:]).all()


def test_without_a_lens_nothing_changes() -> None:
    plain = scene_pb2.Camera(perspective=scene_pb2.Perspective(vertical_fov_deg=50))
    neutral = scene_pb2.Camera()
    neutral.CopyFrom(plain)
    neutral.perspective.lens.CopyFrom(scene_pb2.Lens(center_x=0.5, aspect=1))
    points = np.random.default_rng(2).normal((0, 0, -5), 1, (20, 3))
    first, second = (camera_view(each, np.eye(4), 64, 48) for each in (plain, neutral))
    assert first.is_pinhole
    np.testing.assert_array_equal(first.project(points), second.project(points))


def test_boxes_around_bent_edges() -> None:
    """A barrel lens bulges a square's edges: their middles bound it, not its corners."""
    lens = scene_pb2.Lens(k1=-0.2)
    view = camera_view(
        scene_pb2.Camera(perspective=scene_pb2.Perspective(vertical_fov_deg=90, lens=lens)), np.eye(4), 100, 100
    )
    corners = np.array([(-0.7, -0.7, -1), (0.7, -0.7, -1), (0.7, 0.7, -1), (-0.7, 0.7, -1)], float)
    edges = np.array([(0, 1), (1, 2), (2, 3), (3, 0)])
    left, top, right, bottom = view.box_around(corners, edges)
    expected = 50 * 0.7 * (1 - 0.2 * 0.49)  # The middle of an edge
    np.testing.assert_allclose([right - 50, bottom - 50, 50 - left, 50 - top], expected)
