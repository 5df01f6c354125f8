"""GLB files of every kind: images, masks, boxes and exported models show one shape."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from metasim.still_glb import still_glb
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from support import moving_glb
from support.glb import GlbMaker, blender_points, same_points, trimesh_points
from support.scenes import ALL_OUTPUTS, Assets, image, layers, task

from render_server.engines import Engine
from trainer.datasets.writers.meshes import MeshFile, bop_model

pytestmark = pytest.mark.blender

SIZE = 96


def rendered(
    engine: Engine, data: bytes, assets: Assets, *others: scene_pb2.Node, view_m: float = 12.0, **more: Any
) -> pb.RenderResult:
    """The model from above, in the middle of a frame that is `view_m` wide, before grey."""
    asset = scene_pb2.MeshAsset(hash=assets.add(data), format=scene_pb2.MESH_FORMAT_GLB)
    node = scene_pb2.Node(id="model", class_name="thing", mesh=scene_pb2.Mesh(asset=asset))
    eye = scene_pb2.Camera(orthographic=scene_pb2.Orthographic(height_m=view_m))
    camera = scene_pb2.Node(id="camera", transform=scene_pb2.Transform(z_m=50), camera=eye)
    scene = scene_pb2.Scene(nodes=[node, camera, *others], classes=["thing", "other"])
    scene.background.CopyFrom(scene_pb2.Color(red=0.4, green=0.4, blue=0.4))
    settings: dict[str, Any] = {"view_transform": pb.VIEW_TRANSFORM_STANDARD, "outputs": ALL_OUTPUTS, **more}
    return engine.render(task(scene, SIZE, SIZE, **settings), assets)


def corners(extent: pb.Extent) -> np.ndarray:
    low = (extent.low_x_m, extent.low_y_m, extent.low_z_m)
    return np.array([low, (extent.high_x_m, extent.high_y_m, extent.high_z_m)])


@pytest.mark.parametrize("name", moving_glb.BY_BLENDER)
def test_shapes_are_those_of_blenders_importer(blender: Engine, tmp_path: Path, name: str) -> None:
    assert blender.name == "blender"
    data = moving_glb.BY_BLENDER[name]()
    assert same_points(blender_points(data, tmp_path / "model.glb"), trimesh_points(still_glb(data)))


@pytest.mark.parametrize("name", moving_glb.ALL)
def test_picture_mask_boxes_and_export_agree(blender: Engine, assets: Assets, name: str) -> None:
    data = moving_glb.ALL[name]()
    result = rendered(blender, data, assets)
    (box,) = result.boxes
    points = trimesh_points(still_glb(data))
    np.testing.assert_allclose(corners(box.extent), [points.min(axis=0), points.max(axis=0)], atol=1e-4)
    found = layers(result)
    mask = found[pb.OUTPUT_INSTANCE_MASK] == 1
    rows, columns = np.nonzero(mask)
    unit = SIZE / 12
    (left, bottom, _), (right, top, upper) = points.min(axis=0), points.max(axis=0)
    middle = SIZE / 2
    seen = [columns.min(), columns.max() + 1, rows.min(), rows.max() + 1]
    np.testing.assert_allclose(
        seen, [middle + left * unit, middle + right * unit, middle - top * unit, middle - bottom * unit], atol=1
    )
    amodal, visible = box.amodal, box.visible
    assert amodal.x_px == pytest.approx(middle + left * unit, abs=1e-2)
    assert (amodal.width_px, amodal.height_px) == pytest.approx((visible.width_px, visible.height_px), abs=2)
    # Pixels' centres miss a peak by up to a pixel on a slope.
    assert -1e-3 < float(found[pb.OUTPUT_DEPTH].min()) - (50 - upper) < 2 / unit
    # Nothing but the object differs from the background.
    shown = np.abs(image(result) - image(result)[0, 0]).max(axis=2) > 0.01
    np.testing.assert_array_equal(shown, mask)

    mesh = MeshFile(data, scene_pb2.MESH_FORMAT_GLB)
    low, size = corners(box.extent)[0] * 1000, np.ptp(corners(box.extent), axis=0) * 1000
    ply = trimesh.load(trimesh.util.wrap_as_stream(bop_model(mesh, name, (1, 1, 1), low, size).ply), file_type="ply")
    assert same_points(np.asarray(ply.vertices) / 1000, points)


def test_mirrored_parts_keep_their_outside(blender: Engine, assets: Assets) -> None:
    import bpy

    rendered(blender, moving_glb.mirrored(), assets)
    high = trimesh_points(moving_glb.mirrored()).max(axis=0)
    meshes = [mesh for mesh in bpy.data.meshes if len(mesh.polygons) == 24]
    (mesh,) = [mesh for mesh in meshes if np.allclose(np.max([each.co for each in mesh.vertices], axis=0), high)]
    for part in (mesh.polygons[:12], mesh.polygons[12:]):
        middle = np.mean([face.center for face in part], axis=0)
        assert all(np.dot(np.array(face.center) - middle, face.normal) > 0 for face in part)


def covered(alpha: float, mode: str = "BLEND", **more: Any) -> bytes:
    """A cube of edge 4 with a material of that opacity."""
    material = {"pbrMetallicRoughness": {"baseColorFactor": [0.9, 0.2, 0.1, alpha], "metallicFactor": 0}}
    maker = GlbMaker(materials=[{**material, "alphaMode": mode, **more}])
    maker.document |= {
        "meshes": [{"primitives": [maker.cube(material=0)]}],
        "nodes": [{"mesh": 0, "scale": [4, 4, 4]}],
        "scenes": [{"nodes": [0]}],
    }
    return maker.data()


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize(
    ("alpha", "more", "counts"),
    [
        (0.3, {}, False),
        (0.49, {}, False),
        (0.5, {}, True),
        (0.7, {}, True),
        (0.3, {"doubleSided": True}, False),
        (0.6, {"mode": "MASK", "alphaCutoff": 0.7}, False),
        (0.6, {"mode": "MASK"}, True),
        (0.3, {"mode": "OPAQUE"}, True),
        (0.3, {"extensions": {"KHR_materials_unlit": {}}}, False),
        (0.8, {"extensions": {"KHR_materials_unlit": {}}}, True),
    ],
)
def test_surfaces_of_at_least_half_opacity_are_labelled(
    blender: Engine, assets: Assets, alpha: float, more: dict[str, Any], counts: bool, seed: int
) -> None:
    wall = scene_pb2.Node(id="wall", class_name="other", transform=scene_pb2.Transform(z_m=-5, scale=6))
    wall.mesh.primitive = scene_pb2.PRIMITIVE_PLANE
    result = rendered(blender, covered(alpha, **more), assets, wall, seed=seed, samples=4)
    found = layers(result)
    middle, unit = SIZE // 2, SIZE // 12
    expected = np.zeros((SIZE, SIZE), int)
    expected[middle - 3 * unit : middle + 3 * unit, middle - 3 * unit : middle + 3 * unit] = 3
    if counts:
        expected[middle - 2 * unit : middle + 2 * unit, middle - 2 * unit : middle + 2 * unit] = 1
    np.testing.assert_array_equal(found[pb.OUTPUT_INSTANCE_MASK], expected)
    depth = np.select([expected == 1, expected == 3], [48.0, 55.0], np.inf)
    np.testing.assert_allclose(found[pb.OUTPUT_DEPTH], depth, rtol=1e-5)
    model, behind = result.boxes
    assert (model.visible_px > 0) == counts
    assert model.HasField("visible") == counts
    assert behind.visible_px == (expected == 3).sum()


def test_light_passes_many_translucent_surfaces(blender: Engine, assets: Assets) -> None:
    """Ten sheets of opacity .2 that only emit: each shows a fifth of what is before it."""
    unlit = {"KHR_materials_unlit": {}}
    colour = {"baseColorFactor": [1, 1, 1, 0.2]}
    maker = GlbMaker(materials=[{"pbrMetallicRoughness": colour, "alphaMode": "BLEND", "extensions": unlit}])
    square = maker.array([[-2, 0, 2], [2, 0, 2], [2, 0, -2], [-2, 0, -2]])
    indices = maker.array([[0], [1], [2], [0], [2], [3]], "u2")
    maker.document |= {
        "extensionsUsed": ["KHR_materials_unlit"],
        "meshes": [{"primitives": [{"attributes": {"POSITION": square}, "indices": indices, "material": 0}]}],
        "nodes": [{"mesh": 0, "translation": [0, 0.1 * number, 0]} for number in range(10)],
        "scenes": [{"nodes": list(range(10))}],
    }
    picture = image(rendered(blender, maker.data(), assets, samples=256))
    shown = ((picture[SIZE // 2 - 8 : SIZE // 2 + 8, SIZE // 2 - 8 : SIZE // 2 + 8] + 0.055) / 1.055) ** 2.4
    passed = 0.8**10
    assert float(shown.mean()) == pytest.approx(1 - passed + 0.4 * passed, abs=0.01)


def test_labels_of_translucent_files_leave_the_picture_alone(blender: Engine, assets: Assets) -> None:
    data = covered(0.3)
    alone = image(rendered(blender, data, assets, outputs=[pb.OUTPUT_IMAGE_F32]))
    np.testing.assert_array_equal(image(rendered(blender, data, assets)), alone)
    assert np.ptp(alone) > 0.02


def test_an_importers_traceback_is_one_line(blender: Engine, assets: Assets) -> None:
    from render_server.errors import InvalidTask

    maker = GlbMaker()
    maker.document |= {"meshes": [{"primitives": [maker.cube()]}], "nodes": [{"mesh": 0}], "scenes": [{"nodes": [0]}]}
    maker.document["accessors"][0]["bufferView"] = 77
    with pytest.raises(InvalidTask) as raised:
        rendered(blender, maker.data(), assets)
    assert "IndexError: list index out of range" in str(raised.value)
    assert "File" not in str(raised.value)
    assert ".py" not in str(raised.value)
