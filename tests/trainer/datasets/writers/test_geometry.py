"""Boxes in 3D before a camera."""

import numpy as np
import pytest
from metasim.camera import TO_VISION
from metasim.v1 import render_pb2, scene_pb2
from support.samples import vision_camera

from trainer.datasets.writers.geometry import Cuboid, camera_of, cuboid_of

CAMERA = vision_camera(200, 100, 100.0)


def box(x: float, y: float, z: float, size: float = 2.0) -> Cuboid:
    half = np.full(3, size / 2)
    return Cuboid(np.eye(3), np.array((x, y, z)), -half, half)


def test_a_box_ahead_is_projected_by_its_nearer_face() -> None:
    assert box(0, 0, 6).projected(CAMERA) == pytest.approx((80, 30, 120, 70))
    assert box(0, 0, -6).projected(CAMERA) is None


def test_a_box_that_reaches_behind_the_camera_is_cut_at_the_near_plane() -> None:
    left, top, right, bottom = box(0, 0, 0.6).projected(CAMERA) or (0, 0, 0, 0)
    assert (left, top) == pytest.approx((100 - 1000, 50 - 1000))
    assert (right, bottom) == pytest.approx((1100, 1050))


def test_truncation_is_the_share_outside_of_the_image() -> None:
    assert box(0, 0, 6).truncation(CAMERA) == 0
    cube = box(-5, 0, 6)
    assert cube.projected(CAMERA) == pytest.approx((-20, 30, 100 - 400 / 7, 70))
    assert cube.truncation(CAMERA) == pytest.approx(20 / (120 - 400 / 7))
    assert box(-50, 0, 6).truncation(CAMERA) == 1
    assert box(0, 0, -6).truncation(CAMERA) == 1


def test_occlusion_counts_what_stands_before_the_box_alone() -> None:
    nothing = np.full((100, 200), np.inf)
    cube = box(0, 0, 6)
    assert cube.occlusion(CAMERA, nothing) == 0
    assert cube.occlusion(CAMERA, np.full((100, 200), 5.0)) == 0, "its own face"
    assert cube.occlusion(CAMERA, np.full((100, 200), 4.9)) == 1
    half = nothing.copy()
    half[:, :100] = 2.0
    assert cube.occlusion(CAMERA, half) == 0.5
    ground = nothing.copy()
    ground[60:] = 6.5
    assert cube.occlusion(CAMERA, ground) == 0, "behind where the ray enters"
    assert box(0, 0, -6).occlusion(CAMERA, nothing) == 1


def test_a_flat_box_does_not_hide_itself() -> None:
    sheet = Cuboid(np.eye(3), np.array((0, 0, 7.0)), np.array((-1.0, -1, 0)), np.array((1.0, 1, 0)))
    assert sheet.occlusion(CAMERA, np.full((100, 200), np.float32(7.0))) == 0
    assert sheet.occlusion(CAMERA, np.full((100, 200), np.float32(6.9))) == 1


@pytest.mark.parametrize("perspective", [False, True])
def test_the_camera_of_a_scene(perspective: bool) -> None:
    """A camera at (0, -10, 2) that looks along +y."""
    scene = scene_pb2.Scene()
    node = scene.nodes.add(id="camera", transform=scene_pb2.Transform(y_m=-10, z_m=2, roll_deg=90))
    if perspective:
        node.camera.perspective.vertical_fov_deg = 90
    else:
        node.camera.orthographic.height_m = 20
    thing = scene.nodes.add(id="thing", transform=scene_pb2.Transform(x_m=1, z_m=5, yaw_deg=90, scale=2))
    thing.mesh.primitive = scene_pb2.PRIMITIVE_CUBE
    camera = camera_of(scene, render_pb2.RenderSettings(width_px=300, height_px=100))
    world = np.array(((0, -2, 0, 1), (2, 0, 0, 0), (0, 0, 2, 5), (0, 0, 0, 1.0)))
    extent = render_pb2.Extent(low_x_m=-0.5, low_y_m=-0.5, low_z_m=-0.5, high_x_m=0.5, high_y_m=1.5, high_z_m=0.5)
    cuboid = cuboid_of(extent, world, camera)
    np.testing.assert_allclose(cuboid.translation, (1, -3, 10), atol=1e-12)
    np.testing.assert_allclose(cuboid.size, (2, 4, 2))
    np.testing.assert_allclose(cuboid.rotation[:, 0], (0, 0, 1), atol=1e-12)  # Its own x points away from the camera.
    np.testing.assert_allclose(cuboid.center, (0, -3, 10), atol=1e-12)
    if perspective:
        assert camera.focal_px == pytest.approx(50)
        np.testing.assert_allclose(camera.project(cuboid.center[None] @ TO_VISION), [(150, 50 - 15)])
    else:
        assert camera.focal_px == pytest.approx(5)
        np.testing.assert_allclose(camera.project(cuboid.center[None] @ TO_VISION), [(150, 50 - 15)])
        origins, directions = camera.vision_rays(0, 0, 300, 100)
        np.testing.assert_allclose(origins[35, 145], (-0.9, -2.9, 0))
        np.testing.assert_allclose(directions[35, 145], (0, 0, 1))
