"""Cameras and projected boxes."""

import math

import numpy as np
import pytest
from metasim.camera import CameraView
from metasim.v1 import scene_pb2 as pb

from render_server.scene.geometry import Outline, camera_view, clipped_box
from render_server.scene.scene_graph import SceneGraph


def view(camera: pb.Camera, **transform: float) -> CameraView:
    node = pb.Node(id="camera", transform=pb.Transform(**transform), camera=camera)
    return camera_view(SceneGraph(pb.Scene(nodes=[node])), 200, 100)


PERSPECTIVE = pb.Camera(perspective=pb.Perspective(vertical_fov_deg=90))
ORTHOGRAPHIC = pb.Camera(orthographic=pb.Orthographic(height_m=10))


def test_perspective_projection_and_intrinsics() -> None:
    camera = view(PERSPECTIVE, x_m=1, z_m=5)
    points = camera.to_camera(np.array([[1.0, 0.0, 0.0], [2.0, 2.0, 3.0]]))
    np.testing.assert_allclose(points, [[0, 0, -5], [1, 2, -2]])
    # The focal length is half the height at 90 degrees.
    np.testing.assert_allclose(camera.project(points), [[100, 50], [125, 0]], atol=1e-9)
    x, y, z = points[1]
    homogeneous = camera.intrinsics @ (x, -y, -z)
    np.testing.assert_allclose(homogeneous[:2] / homogeneous[2], [125, 0], atol=1e-9)


def test_orthographic_projection_and_intrinsics() -> None:
    camera = view(ORTHOGRAPHIC, yaw_deg=90)
    points = camera.to_camera(np.array([[0.0, 1.0, -3.0]]))
    np.testing.assert_allclose(points, [[1, 0, -3]], atol=1e-12)
    np.testing.assert_allclose(camera.project(points), [[110, 50]])
    np.testing.assert_allclose(camera.intrinsics @ (1, 0, 1), [110, 50, 1])


def test_near_and_far_have_defaults() -> None:
    camera = view(PERSPECTIVE)
    assert (camera.near_m, camera.far_m) == (0.1, 1000)


def test_boxes_are_clipped_to_the_image_and_the_near_plane() -> None:
    camera = view(PERSPECTIVE)
    behind = Outline(np.array([[0.0, 0.0, 1.0]]))
    assert clipped_box(camera, behind) is None
    beside = Outline(np.array([[9.0, 0.0, -1.0], [10.0, 1.0, -1.0]]))
    assert clipped_box(camera, beside) is None
    half_out = Outline(np.array([[-9.0, -0.5, -1.0], [0.0, 0.5, -1.0]]))
    assert clipped_box(camera, half_out) == pytest.approx((0, 25, 100, 75))
    # A pole from 1 m before the camera to 1 m behind it, 0.05 m below the axis.
    pole = np.array([[0.1, -0.05, -1.0], [0.1, -0.05, 1.0]])
    crossing = clipped_box(camera, Outline(pole, np.array([[0, 1]])))
    assert crossing == pytest.approx((105, 52.5, 100 + 50 * 0.1 / 0.1, 50 + 50 * 0.05 / 0.1))
    assert clipped_box(camera, Outline(np.zeros((0, 3)))) is None


def test_the_scale_of_a_cameras_node_has_no_effect() -> None:
    first, second = view(ORTHOGRAPHIC, z_m=3), view(ORTHOGRAPHIC, z_m=3, scale=2)
    np.testing.assert_allclose(first.camera_from_world, second.camera_from_world)
    assert math.isclose(first.focal_px, 10)
