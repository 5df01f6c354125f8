"""The fake engine: its images and derivatives in closed form."""

import math
import time

import numpy as np
import pytest
from metasim.v1 import render_pb2, scene_pb2
from support.scenes import ALL_OUTPUTS, column, difference, frame, image, layers, sprite, sprite_scene, task

from render_server.engines.fake import FakeEngine

W, H = 30, 24
X, Y, YAW, SCALE = 2.3, -1.7, 25.0, 1.2
WIDTH, HEIGHT = 14.0, 8.0
TINT = np.array([0.5, 0.3, 0.2])


def message(**settings: object) -> render_pb2.RenderTask:
    node = sprite("s", "", WIDTH, HEIGHT, x_m=X, y_m=Y, yaw_deg=YAW, scale=SCALE)
    node.sprite.tint.CopyFrom(scene_pb2.Color(red=TINT[0], green=TINT[1], blue=TINT[2]))
    # Two pixels a metre.
    return task(sprite_scene([node], H / 2), W, H, **settings)


def formula() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """exp(-q/2), q, d [h, w, 2] and S d [h, w, 2] of the module's docstring."""
    f = 2.0
    rows, columns = np.mgrid[0:H, 0:W] + 0.5
    d = np.stack((columns - (W / 2 + f * X), rows - (H / 2 - f * Y)), axis=2)
    c, s = math.cos(math.radians(YAW)), math.sin(math.radians(YAW))
    axes = f * SCALE * np.array([[c, -s], [-s, -c]])  # Pixel vectors of the node's x and y axis, as columns
    a = axes * (WIDTH / 4, HEIGHT / 4)
    precision = np.linalg.inv(a @ a.T)
    sd = d @ precision
    q = (d * sd).sum(axis=2)
    return np.exp(-q / 2), q, d, sd


def test_the_image_is_a_gaussian() -> None:
    blob, *_ = formula()
    result = FakeEngine().render(message(), {})
    np.testing.assert_allclose(image(result), blob[..., None] * TINT, atol=1e-6)


@pytest.mark.parametrize("name", ["x", "y", "yaw", "scale", "red"])
def test_derivatives_are_those_of_the_docstring(name: str) -> None:
    blob, q, d, sd = formula()
    derivative = {
        "x": 2.0 * blob * sd[..., 0],
        "y": -2.0 * blob * sd[..., 1],
        "yaw": math.pi / 180 * blob * (sd[..., 0] * d[..., 1] - sd[..., 1] * d[..., 0]),
        "scale": blob * q / SCALE,
        "red": blob,
    }[name]
    expected = derivative[..., None] * (TINT if name != "red" else np.array([1.0, 0.0, 0.0]))
    attribute = scene_pb2.Attribute.Value(f"ATTRIBUTE_{name.upper()}")
    step = 0.5 if name == "yaw" else 0.02
    result = FakeEngine().render(message(columns=[column("s", attribute, step)]), {})
    found = difference(result, 0, W, H) / result.columns[0].span
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


def test_blobs_of_children_and_meshes_add_up() -> None:
    child = sprite("child", "", 4, 4, x_m=4)
    child.parent = "arm"
    cube = scene_pb2.Node(id="cube", mesh=scene_pb2.Mesh(primitive=scene_pb2.PRIMITIVE_CUBE, size_x=4, size_y=4))
    arm = frame("arm", yaw_deg=90)
    both = image(FakeEngine().render(task(sprite_scene([arm, child, cube], 24), 24, 24), {}))
    rows, columns = np.mgrid[0:24, 0:24] + 0.5
    expected = np.exp(-((columns - 12) ** 2 + (rows - 8) ** 2) / 2)
    expected = expected + 0.8 * np.exp(-((columns - 12) ** 2 + (rows - 12) ** 2) / 2)
    np.testing.assert_allclose(both[..., 0], np.minimum(expected, 1), atol=1e-6)


def test_labels() -> None:
    result = FakeEngine().render(message(outputs=ALL_OUTPUTS), {})
    blob, *_ = formula()
    np.testing.assert_array_equal(layers(result)[render_pb2.OUTPUT_INSTANCE_MASK], blob >= 0.5)
    assert result.boxes[0].node == "s"
    assert result.boxes[0].visible_px == (blob >= 0.5).sum()


def test_a_task_takes_at_least_the_service_time() -> None:
    started = time.perf_counter()
    result = FakeEngine(service_time_s=0.05).render(message(), {})
    assert time.perf_counter() - started >= 0.05
    assert result.timing.render_s >= 0.05


def test_a_blob_that_is_seen_edge_on_does_not_show() -> None:
    scene = sprite_scene([sprite("s", "", 8, 8, roll_deg=90)], 16)
    result = FakeEngine().render(task(scene, 16, 16), {})
    assert not image(result).any()
