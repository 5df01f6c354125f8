"""Rigid bodies that settle, and images that are denoised."""

import numpy as np
import pytest
from metasim.transforms import local_matrix
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from support.scenes import Assets, column, image, layers, without_timing

from render_server.checks.validation import validate
from render_server.engines import Engine
from render_server.errors import InvalidTask, Unsupported
from render_server.limits import Limits


def box(node_id: str, *, settles: bool = True, size: float = 0.1, **transform: float) -> scene_pb2.Node:
    shape = scene_pb2.Mesh(primitive=scene_pb2.PRIMITIVE_CUBE, size_x=size, size_y=size, size_z=size / 2)
    pose = scene_pb2.Transform(**transform)
    return scene_pb2.Node(id=node_id, class_name="box", mesh=shape, transform=pose, settles=settles)


def heap(*outputs: int, samples: int = 2, columns=(), **settings: object) -> pb.RenderTask:
    """Three boxes above a floor, one of them in the frame of a turned tray."""
    scene = scene_pb2.Scene(classes=["box"])
    eye = scene.nodes.add(id="camera", transform=scene_pb2.Transform(z_m=1.5))
    eye.camera.perspective.vertical_fov_deg = 40
    floor = scene.nodes.add(id="floor")
    floor.mesh.primitive, floor.mesh.size_x, floor.mesh.size_y = scene_pb2.PRIMITIVE_PLANE, 3, 3
    scene.nodes.add(id="tray", transform=scene_pb2.Transform(x_m=0.3, yaw_deg=40))
    scene.nodes.add(id="sun", transform=scene_pb2.Transform(roll_deg=30)).light.sun.irradiance_w_m2 = 3
    scene.nodes.append(box("low", z_m=0.2, roll_deg=20))
    scene.nodes.append(box("high", x_m=0.02, z_m=0.4, pitch_deg=30))
    scene.nodes.append(box("aside", z_m=0.2, y_m=0.1, yaw_deg=10))
    scene.nodes[-1].parent = "tray"
    values = {"width_px": 48, "height_px": 40, "samples": samples, "filter_width_px": 1, **settings}
    return pb.RenderTask(
        id="heap",
        scene=scene,
        settings=pb.RenderSettings(view_transform=pb.VIEW_TRANSFORM_STANDARD, **values),
        outputs=outputs or (pb.OUTPUT_IMAGE_F32,),
        columns=columns,
    )


@pytest.mark.blender
def test_boxes_fall_and_are_labelled_where_they_lie(blender: Engine, assets: Assets) -> None:
    result = blender.render(heap(pb.OUTPUT_IMAGE_F32, pb.OUTPUT_BOXES, pb.OUTPUT_DEPTH), assets)
    assert [pose.node for pose in result.poses] == ["low", "high", "aside"]
    poses = {pose.node: pose.transform for pose in result.poses}
    corners = np.array([(x, y, z) for x in (-0.05, 0.05) for y in (-0.05, 0.05) for z in (-0.025, 0.025)])
    for name in ("low", "aside"):  # In their parents' frames, both upright
        matrix = local_matrix(poses[name])
        assert (corners @ matrix[:3, :3].T + matrix[:3, 3])[:, 2].min() == pytest.approx(0, abs=2e-3)
    # The same scene with the nodes put there, without physics, is the same image with the same labels.
    still = heap(pb.OUTPUT_IMAGE_F32, pb.OUTPUT_BOXES, pb.OUTPUT_DEPTH)
    for node in still.scene.nodes:
        if node.id in poses:
            node.transform.CopyFrom(poses[node.id])
            node.settles = False
    there = blender.render(still, assets)
    del result.poses[:]
    assert without_timing(result) == without_timing(there)


@pytest.mark.blender
def test_physics_is_a_function_of_the_scene(blender: Engine, assets: Assets) -> None:
    first = blender.render(heap(), assets)
    other = heap()
    other.scene.nodes[4].transform.x_m += 0.01
    moved = blender.render(other, assets)
    assert [*moved.poses] != [*first.poses]
    blender._engine._settled._poses.clear()
    assert without_timing(blender.render(heap(), assets)) == without_timing(first)


@pytest.mark.blender
def test_columns_move_what_has_settled(blender: Engine, assets: Assets) -> None:
    columns = [column("low", scene_pb2.ATTRIBUTE_X, 0.01, minimum=-0.001, maximum=0.001)]
    result = blender.render(heap(columns=columns), assets)
    assert result.columns[0].span == pytest.approx(0.02)
    assert result.columns[0].region.width_px > 0


@pytest.mark.blender
def test_denoised_images_are_nearer_to_the_converged_one(blender: Engine, assets: Assets) -> None:
    task = heap(pb.OUTPUT_IMAGE_F32, pb.OUTPUT_DEPTH)
    task.scene.nodes[3].ClearField("light")  # A soft light, which makes noise
    task.scene.background.CopyFrom(scene_pb2.Color(red=0.5, green=0.5, blue=0.5))
    noisy = blender.render(task, assets)
    task.settings.denoise = True
    clean = blender.render(task, assets)
    again = blender.render(task, assets)
    task.settings.denoise, task.settings.samples = False, 512
    converged = image(blender.render(task, assets))
    errors = [float(np.sqrt(((image(result) - converged) ** 2).mean())) for result in (noisy, clean)]
    assert errors[1] < 0.7 * errors[0]
    np.testing.assert_array_equal(layers(clean)[pb.OUTPUT_DEPTH], layers(noisy)[pb.OUTPUT_DEPTH])
    assert without_timing(clean) == without_timing(again)


def test_rules(raster: Engine, assets: Assets) -> None:
    with pytest.raises(InvalidTask, match=r"settings.denoise is true; it must be false in tasks with columns"):
        validate(heap(denoise=True, columns=[column("low", scene_pb2.ATTRIBUTE_X, 0.01)]), Limits())
    wrong = heap()
    wrong.scene.nodes[2].settles = True
    with pytest.raises(InvalidTask, match=r"scene.nodes\[2\].settles is true; only a mesh settles"):
        validate(wrong, Limits())
    for task, feature in ((heap(), pb.FEATURE_SETTLING), (heap(denoise=True), pb.FEATURE_DENOISING)):
        with pytest.raises(Unsupported) as caught:
            raster.render(task, assets)
        assert caught.value.feature == feature
