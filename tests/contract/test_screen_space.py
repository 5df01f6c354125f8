"""Columns in screen space: close to those of renders, exact where the rules do not hold."""

import numpy as np
import pytest
from metasim.tensors import tensor_to_proto
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from support.scenes import Assets

from render_server.engines import Engine

pytestmark = pytest.mark.blender

WIDTH, HEIGHT = 96, 64
MOTIONS = (
    scene_pb2.ATTRIBUTE_X,
    scene_pb2.ATTRIBUTE_Y,
    scene_pb2.ATTRIBUTE_Z,
    scene_pb2.ATTRIBUTE_YAW,
    scene_pb2.ATTRIBUTE_SCALE,
)


def yard(samples: int = 8, **probes: object) -> pb.RenderTask:
    """Three boxes above the ground in the sun, and a gradient of a smooth loss."""
    scene = scene_pb2.Scene(classes=["box"], background=scene_pb2.Color(red=0.1, green=0.15, blue=0.3))
    camera = scene.nodes.add(id="camera")
    camera.transform.CopyFrom(scene_pb2.Transform(x_m=0.2, y_m=-9.0, z_m=4.0, roll_deg=63.0, scale=1.0))
    camera.camera.perspective.vertical_fov_deg = 30.0
    sun = scene.nodes.add(id="sun", transform=scene_pb2.Transform(roll_deg=35.0, pitch_deg=30.0, scale=1.0))
    sun.light.sun.irradiance_w_m2 = 3.0
    boxes = {"ground": (0, 0, 0, 0, 30), "left": (-1.6, 0.5, 0.7, 20, 1.2), "right": (1.4, -0.3, 1.1, -35, 1.0)}
    for name, (x, y, z, yaw, size) in boxes.items():
        node = scene.nodes.add(id=name, class_name="box")
        node.transform.CopyFrom(scene_pb2.Transform(x_m=x, y_m=y, z_m=z, yaw_deg=yaw, scale=1.0))
        node.mesh.primitive = scene_pb2.PRIMITIVE_PLANE if name == "ground" else scene_pb2.PRIMITIVE_CUBE
        node.mesh.size_x = node.mesh.size_y = node.mesh.size_z = size
        node.mesh.material.roughness = 1.0
        colour = {"ground": (0.3, 0.3, 0.28), "left": (0.7, 0.2, 0.1), "right": (0.2, 0.5, 0.6)}[name]
        node.mesh.material.base_color.CopyFrom(scene_pb2.Color(red=colour[0], green=colour[1], blue=colour[2]))
    task = pb.RenderTask(id="yard", scene=scene, seed=4, probes=pb.ProbeSettings(**probes))
    task.settings.CopyFrom(
        pb.RenderSettings(
            width_px=WIDTH,
            height_px=HEIGHT,
            samples=samples,
            filter_width_px=1,
            view_transform=pb.VIEW_TRANSFORM_STANDARD,
        )
    )
    for name in ("left", "right"):
        for attribute in (*MOTIONS, scene_pb2.ATTRIBUTE_GREEN):
            task.columns.add(node=name, attribute=attribute)
    for attribute in (scene_pb2.ATTRIBUTE_YAW, scene_pb2.ATTRIBUTE_Z, scene_pb2.ATTRIBUTE_FOV):
        task.columns.add(node="camera", attribute=attribute)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] / 9.0
    gradient = np.stack([np.cos(rows + phase) * np.sin(1.3 * columns + phase) for phase in (0.0, 1.0, 2.5)], -1)
    task.image_gradient.CopyFrom(tensor_to_proto(gradient.astype(np.float32)))
    return task


def effects(result: pb.RenderResult) -> np.ndarray:
    """The change of the loss over each column's step."""
    return np.array([column.product * column.span for column in result.columns])


def test_products_are_close_to_those_of_converged_renders(blender: Engine, assets: Assets) -> None:
    screen = blender.render(yard(method=pb.PROBE_METHOD_SCREEN_SPACE), assets)
    exact = blender.render(yard(samples=64), assets)
    found, expected = effects(screen), effects(exact)
    colours = [number for number, column in enumerate(yard().columns) if column.attribute == scene_pb2.ATTRIBUTE_GREEN]
    assert [n for n, column in enumerate(screen.columns) if not column.screen_space] == colours
    assert [column.span for column in screen.columns] == [column.span for column in exact.columns]
    cosine = (found * expected).sum() / np.linalg.norm(found) / np.linalg.norm(expected)
    assert cosine > 0.98, (found, expected)
    assert np.linalg.norm(found) / np.linalg.norm(expected) == pytest.approx(1, abs=0.1)


def test_the_largest_columns_can_be_exact(blender: Engine, assets: Assets) -> None:
    screen = blender.render(yard(method=pb.PROBE_METHOD_SCREEN_SPACE), assets)
    mixed = blender.render(yard(method=pb.PROBE_METHOD_SCREEN_SPACE, exact_columns=3), assets)
    exact = blender.render(yard(), assets)
    measured = [n for n, column in enumerate(mixed.columns) if not column.screen_space]
    moving = [
        n for n, column in enumerate(screen.columns) if column.screen_space and yard().columns[n].node != "camera"
    ]
    largest = sorted(moving, key=lambda n: -abs(effects(screen)[n]))[:3]
    assert set(measured) == {*largest, *(n for n, column in enumerate(screen.columns) if not column.screen_space)}
    for number, column in enumerate(mixed.columns):
        assert column == (exact if number in measured else screen).columns[number]


def test_an_audit_compares_the_product_with_that_of_the_whole_frame(blender: Engine, assets: Assets) -> None:
    task = yard(method=pb.PROBE_METHOD_SCREEN_SPACE)
    task.columns[0].audit = True
    column = blender.render(task, assets).columns[0]
    plain = yard(full_frame=True)
    exact = blender.render(plain, assets).columns[0]
    assert column.screen_space
    assert column.audit.region_norm == pytest.approx(abs(column.product * column.span))
    assert column.audit.frame_norm == pytest.approx(abs(exact.product * exact.span), rel=1e-5)
    assert column.audit.product == pytest.approx(column.product * exact.product * exact.span**2, rel=1e-5)


def lamp(task: pb.RenderTask) -> None:
    task.scene.nodes.add(id="lamp", transform=scene_pb2.Transform(z_m=5.0, scale=1.0)).light.point.power_w = 100.0


def glow(task: pb.RenderTask) -> None:
    task.scene.nodes[-1].mesh.material.emission = 1.0


def no_gradient(task: pb.RenderTask) -> None:
    task.ClearField("image_gradient")


@pytest.mark.parametrize("change", [lamp, glow, no_gradient])
def test_columns_are_exact_where_the_rules_do_not_hold(blender: Engine, assets: Assets, change: object) -> None:
    screen, exact = yard(method=pb.PROBE_METHOD_SCREEN_SPACE), yard()
    for task in (screen, exact):
        change(task)
        del task.columns[4:]
    assert list(blender.render(screen, assets).columns) == list(blender.render(exact, assets).columns)
