"""Regions of Blender's scenes with depth: the pixels of whole frames, for less."""

import numpy as np
import pytest
from metasim.tensors import tensor_from_proto, tensor_to_proto
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from support.scenes import Assets, image

from render_server.engines import Engine
from trainer.bench.street_scene import street_task
from trainer.pool.assets import AssetStore

pytestmark = pytest.mark.blender

WIDTH, HEIGHT = 310, 94


def street(assets: Assets, cars: int = 12) -> pb.RenderTask:
    """A small street in the sun; its columns are those of every other car."""
    store = AssetStore()
    task = street_task(0, store, cars=cars)
    for node in task.scene.nodes:
        if node.mesh.HasField("asset"):
            assets.add(store(node.mesh.asset.hash))
    task.settings.width_px, task.settings.height_px, task.settings.samples = WIDTH, HEIGHT, 4
    keep = [column for place, column in enumerate(task.columns) if place // 3 % 2 == 0]
    return with_columns(task, keep)


def with_columns(task: pb.RenderTask, columns: list[pb.Column], **probes: object) -> pb.RenderTask:
    changed = pb.RenderTask()
    changed.CopyFrom(task)
    del changed.columns[:]
    changed.columns.extend(columns)
    changed.probes.CopyFrom(pb.ProbeSettings(**probes))
    return changed


def differences(result: pb.RenderResult, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """[columns, height, width, 3] float32"""
    frames = np.zeros((len(result.columns), height, width, 3), np.float32)
    for frame, column in zip(frames, result.columns, strict=True):
        if not column.HasField("difference"):
            continue
        part = tensor_from_proto(column.difference)
        top, left = round(column.region.y_px), round(column.region.x_px)
        frame[top : top + part.shape[0], left : left + part.shape[1]] = part
    return frames


def cubes(count: int, **settings: int) -> pb.RenderTask:
    """Glowing cubes on a grid, seen from above; nothing reflects."""
    camera = scene_pb2.Camera(orthographic=scene_pb2.Orthographic(height_m=2.0 * count**0.5))
    scene = scene_pb2.Scene(classes=["cube"])
    scene.nodes.add(id="camera", transform=scene_pb2.Transform(z_m=20), camera=camera)
    across = round(count**0.5)
    for number in range(count):
        node = scene.nodes.add(id=f"cube-{number}", class_name="cube")
        node.transform.x_m = 2.0 * (number % across - (across - 1) / 2)
        node.transform.y_m = 2.0 * (number // across - (across - 1) / 2)
        node.mesh.primitive = scene_pb2.PRIMITIVE_CUBE
        node.mesh.material.emission = 0.5
    image_settings = {"width_px": 128, "height_px": 128, "samples": 4, "filter_width_px": 1, **settings}
    view_transform = pb.VIEW_TRANSFORM_STANDARD
    return pb.RenderTask(
        id="cubes",
        scene=scene,
        settings=pb.RenderSettings(view_transform=view_transform, **image_settings),
        outputs=[pb.OUTPUT_IMAGE_F32],
    )


def test_regions_are_crops_of_the_frame_and_hold_nearly_all_that_changes(blender: Engine, assets: Assets) -> None:
    task = street(assets, cars=8)
    regions = blender.render(task, assets)
    frames = blender.render(with_columns(task, list(task.columns), full_frame=True), assets)
    by_region, by_frame = differences(regions), differences(frames)
    inside = by_region != 0
    np.testing.assert_array_equal(by_region[inside], by_frame[inside])
    norms = np.linalg.norm(by_region), np.linalg.norm(by_frame)
    assert norms[0] / norms[1] == pytest.approx(1.0, abs=0.02)
    assert np.vdot(by_region, by_frame) / (norms[0] * norms[1]) > 0.99
    used = sum(column.samples for column in regions.columns) / sum(column.samples for column in frames.columns)
    assert used < 0.05
    np.testing.assert_array_equal(image(regions), image(frames))


def test_audits_say_the_same(blender: Engine, assets: Assets) -> None:
    task = street(assets, cars=4)
    columns = list(task.columns)[:3]
    columns[1].audit = True
    result = blender.render(with_columns(task, columns), assets)
    assert [column.HasField("audit") for column in result.columns] == [False, True, False]
    frames = blender.render(with_columns(task, columns[1:2], full_frame=True), assets)
    audit = result.columns[1].audit
    assert audit.frame_norm == pytest.approx(np.linalg.norm(differences(frames)), rel=1e-3)
    assert audit.region_norm == pytest.approx(np.linalg.norm(differences(result)[1]), rel=1e-3)
    assert audit.product <= audit.region_norm * audit.frame_norm * (1 + 1e-9)


@pytest.mark.parametrize("difference", [pb.DIFFERENCE_CENTRAL, pb.DIFFERENCE_FORWARD])
def test_columns_do_not_depend_on_what_else_a_task_holds(blender: Engine, assets: Assets, difference: int) -> None:
    """With or without the image, all columns in one task or each in its own: the same bytes."""
    task = street(assets, cars=8)
    whole = blender.render(with_columns(task, list(task.columns), difference=difference), assets)
    del task.outputs[:]
    alone = [
        blender.render(with_columns(task, [column], difference=difference), assets).columns[0]
        for column in reversed(task.columns)
    ][::-1]
    for one, other in zip(whole.columns, alone, strict=True):
        assert (one.difference, one.region, one.span) == (other.difference, other.region, other.span)


def test_forward_differences_start_at_the_image(blender: Engine, assets: Assets) -> None:
    task = street(assets, cars=4)
    result = blender.render(with_columns(task, list(task.columns), difference=pb.DIFFERENCE_FORWARD), assets)
    assert result.timing.renders == 1 + len(task.columns)
    moved = pb.RenderTask()
    moved.CopyFrom(with_columns(task, []))
    node = next(node for node in moved.scene.nodes if node.id == task.columns[0].node)
    node.transform.x_m += result.columns[0].span
    expected = image(blender.render(moved, assets)) - image(result)
    found = differences(result)[0]
    inside = found != 0
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-3)
    assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(expected), rel=0.02)


def test_products_are_those_of_the_differences(blender: Engine, assets: Assets) -> None:
    task = street(assets)
    gradient = np.random.default_rng(0).normal(size=(HEIGHT, WIDTH, 3)).astype(np.float32)
    jacobian = blender.render(task, assets)
    expected = [
        np.vdot(gradient, frame) / column.span
        for frame, column in zip(differences(jacobian), jacobian.columns, strict=True)
    ]
    del task.outputs[:]
    task.image_gradient.CopyFrom(tensor_to_proto(gradient, compress=True))
    products = blender.render(task, assets).columns
    np.testing.assert_allclose(
        [column.product for column in products], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max()
    )
    assert all(column.ByteSize() <= 100 for column in products)


def test_probes_may_take_fewer_samples_than_the_image(blender: Engine, assets: Assets) -> None:
    task = street(assets, cars=4)
    few = blender.render(with_columns(task, list(task.columns), samples=1), assets)
    np.testing.assert_array_equal(image(few), image(blender.render(task, assets)))
    task.settings.samples = 1
    one = blender.render(task, assets)
    assert [column.difference for column in few.columns] == [column.difference for column in one.columns]


def test_what_cannot_be_seen_costs_nothing(blender: Engine, assets: Assets) -> None:
    task = street(assets, cars=2)
    car = next(node for node in task.scene.nodes if node.id == "car-0")
    car.transform.y_m = -20.0
    for column in task.columns:
        column.ClearField("minimum")
    result = blender.render(task, assets)
    assert [column.samples for column in result.columns] == [0, 0, 0]
    assert not differences(result).any()
    assert result.timing.renders == 1


def test_an_object_as_large_as_the_frame(blender: Engine, assets: Assets) -> None:
    task = cubes(1)
    task.scene.nodes[1].transform.scale = 1.5
    column = pb.Column(node="cube-0", attribute=scene_pb2.ATTRIBUTE_SCALE, step=0.2)
    result = blender.render(with_columns(task, [column]), assets)
    frame = blender.render(with_columns(task, [column], full_frame=True), assets)
    np.testing.assert_array_equal(differences(result, 128, 128), differences(frame, 128, 128))
    task.scene.nodes[1].transform.scale = 4.0  # It fills the image before and after.
    inside = blender.render(with_columns(task, [column]), assets)
    assert not differences(inside, 128, 128).any()
    assert inside.columns[0].samples == 2 * 4 * 128 * 128


def test_a_thousand_objects(blender: Engine, assets: Assets) -> None:
    task = cubes(1024)
    chosen = [0, 17, 500, 1023]
    columns = [pb.Column(node=f"cube-{number}", attribute=scene_pb2.ATTRIBUTE_X) for number in chosen]
    result = blender.render(with_columns(task, columns), assets)
    frame = blender.render(with_columns(task, columns, full_frame=True), assets)
    np.testing.assert_array_equal(differences(result, 128, 128), differences(frame, 128, 128))
    # Two metres are 4 px: half a pixel is 0.25 m to each side.
    assert [column.span for column in result.columns] == pytest.approx([0.5] * 4)
    assert all(column.samples <= 2 * 4 * 5 * 6 for column in result.columns)


def test_a_scene_without_columns(blender: Engine, assets: Assets) -> None:
    result = blender.render(cubes(4), assets)
    assert (len(result.columns), result.timing.renders) == (0, 1)


def test_a_surface_that_begins_to_glow(blender: Engine, assets: Assets) -> None:
    task = cubes(4)
    for node in task.scene.nodes[1:]:
        node.mesh.material.emission = 0.0
    column = pb.Column(node="cube-2", attribute=scene_pb2.ATTRIBUTE_INTENSITY, step=0.5)
    (frame,) = differences(blender.render(with_columns(task, [column]), assets), 128, 128)
    # Grey of 0.8, times 0.5: linear light of 0.4 in a quarter of the quarter that its cell fills.
    lit = frame[..., 0] > 0.6
    assert lit.sum() == pytest.approx(32 * 32, rel=0.1)
    assert frame[lit].mean() == pytest.approx(1.055 * 0.4 ** (1 / 2.4) - 0.055, abs=0.01)
