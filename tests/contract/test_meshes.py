"""Scenes with depth, which the Blender engine alone renders."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from metasim.colour import srgb_to_linear
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from support.bop import bop_folder, plate, two_colours
from support.glb import embedded
from support.reference import Placed, blend, to_display
from support.scenes import (
    ALL_OUTPUTS,
    DATA,
    Assets,
    column,
    difference,
    image,
    layers,
    png,
    sprite,
    task,
    without_timing,
)

from render_server.engines import Engine
from render_server.errors import InvalidTask
from trainer.assets.bop_models import BopModels
from trainer.assets.folder_set import MeshFolder

pytestmark = pytest.mark.blender

CARS = DATA / "assets3d" / "kenney_car_kit"
MODELS = DATA / "bop" / "models_6deval"


def needs(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"no test data at {path}; set METASIM_DATA")
    return path


def lit(scene: scene_pb2.Scene, width: int, height: int, **settings: Any) -> pb.RenderTask:
    """A task in linear light."""
    return task(scene, width, height, view_transform=pb.VIEW_TRANSFORM_STANDARD, **settings)


def solid(node_id: str = "solid", primitive: int = scene_pb2.PRIMITIVE_CUBE, **transform: float) -> scene_pb2.Node:
    return scene_pb2.Node(
        id=node_id,
        class_name="thing",
        transform=scene_pb2.Transform(**transform),
        mesh=scene_pb2.Mesh(primitive=primitive),
    )


def glowing(node: scene_pb2.Node, strength: float, colour: tuple[float, float, float]) -> scene_pb2.Node:
    node.mesh.material.emission = strength
    node.mesh.material.base_color.CopyFrom(scene_pb2.Color(red=colour[0], green=colour[1], blue=colour[2]))
    return node


def model(data: bytes, file_format: int, assets: Assets, **transform: float) -> scene_pb2.Node:
    asset = scene_pb2.MeshAsset(hash=assets.add(data), format=file_format)
    return scene_pb2.Node(
        id="model", class_name="thing", transform=scene_pb2.Transform(**transform), mesh=scene_pb2.Mesh(asset=asset)
    )


def scene_of(*nodes: scene_pb2.Node, ortho: float = 0.0, fov: float = 0.0, **camera: float) -> scene_pb2.Scene:
    eye = scene_pb2.Camera()
    if fov:
        eye.perspective.vertical_fov_deg = fov
    else:
        eye.orthographic.height_m = ortho
    return scene_pb2.Scene(
        nodes=[*nodes, scene_pb2.Node(id="camera", transform=scene_pb2.Transform(**camera), camera=eye)],
        classes=["other", "thing"],
    )


def sun(strength: float, angle: float = 0.0) -> scene_pb2.Node:
    return scene_pb2.Node(
        id="sun", light=scene_pb2.Light(sun=scene_pb2.SunLight(irradiance_w_m2=strength, angle_deg=angle))
    )


def test_a_cube_seen_from_above(blender: Engine) -> None:
    scene = scene_of(solid(scale=3, x_m=0.5), ortho=8, z_m=10)
    result = blender.render(lit(scene, 80, 64, outputs=ALL_OUTPUTS), {})
    found = layers(result)
    mask = np.zeros((64, 80), np.uint16)
    mask[20:44, 32:56] = 1  # 8 pixels a unit; from -1 to 2 and -1.5 to 1.5
    np.testing.assert_array_equal(found[pb.OUTPUT_INSTANCE_MASK], mask)
    np.testing.assert_array_equal(found[pb.OUTPUT_CLASS_MASK], mask * 2)
    np.testing.assert_allclose(found[pb.OUTPUT_DEPTH][mask == 1], 8.5, rtol=1e-6)
    assert np.isposinf(found[pb.OUTPUT_DEPTH][mask == 0]).all()
    np.testing.assert_allclose(found[pb.OUTPUT_NORMAL][mask == 1], [[0, 0, 1]] * 24 * 24, atol=1e-6)
    assert not found[pb.OUTPUT_NORMAL][mask == 0].any()
    box = result.boxes[0]
    assert (box.amodal.x_px, box.amodal.y_px, box.amodal.width_px) == pytest.approx((32, 20, 24))
    assert (box.visible.x_px, box.visible.y_px, box.visible_px) == (32, 20, 24 * 24)


def test_extents_are_in_the_frame_of_the_node(blender: Engine) -> None:
    turned = solid(scale=3, x_m=0.5, y_m=-2, yaw_deg=30, roll_deg=20)
    turned.mesh.size_x, turned.mesh.size_z = 2, 0.5
    scene = scene_of(turned, ortho=8, z_m=10)
    (box,) = blender.render(lit(scene, 8, 8, outputs=[pb.OUTPUT_BOXES]), {}).boxes
    extent = box.extent
    assert (extent.low_x_m, extent.low_y_m, extent.low_z_m) == pytest.approx((-1, -0.5, -0.25))
    assert (extent.high_x_m, extent.high_y_m, extent.high_z_m) == pytest.approx((1, 0.5, 0.25))


def test_a_cube_in_perspective(blender: Engine) -> None:
    scene = scene_of(solid(scale=2), fov=60, z_m=6)
    result = blender.render(lit(scene, 64, 64, outputs=ALL_OUTPUTS), {})
    focal = 32 / math.tan(math.radians(30))
    half = focal * 1 / 5  # The upper face is 5 m away and hides the rest.
    centres = np.arange(64) + 0.5 - 32
    inside = np.abs(centres) < half
    found = layers(result)
    np.testing.assert_array_equal(found[pb.OUTPUT_INSTANCE_MASK], np.outer(inside, inside))
    # Along the camera's axis, not along the ray.
    np.testing.assert_allclose(found[pb.OUTPUT_DEPTH][np.outer(inside, inside)], 5, rtol=1e-5)
    assert result.boxes[0].amodal.width_px == pytest.approx(2 * half)


@pytest.mark.parametrize("perspective", [False, True])
def test_the_silhouette_and_depth_of_a_sphere(blender: Engine, perspective: bool) -> None:
    radius, distance, size = 2.0, 8.0, 96
    ball = solid(primitive=scene_pb2.PRIMITIVE_SPHERE, scale=2 * radius)
    scene = scene_of(ball, fov=50 if perspective else 0, ortho=6, z_m=distance)
    found = layers(blender.render(lit(scene, size, size, outputs=ALL_OUTPUTS), {}))
    rows, columns = np.mgrid[0:size, 0:size] + 0.5 - size / 2
    off_axis = np.hypot(rows, columns)
    if perspective:
        focal = size / 2 / math.tan(math.radians(25))
        edge = focal * radius / math.sqrt(distance**2 - radius**2)
        # Nearest root of |t d - c|^2 = r^2 along the ray d = (x, y, 1).
        slope = 1 + (off_axis / focal) ** 2
        depth = (distance - np.sqrt(np.maximum(distance**2 - slope * (distance**2 - radius**2), 0))) / slope
    else:
        edge = radius * size / 6
        depth = distance - np.sqrt(np.maximum(radius**2 - (off_axis * 6 / size) ** 2, 0))
    mask = found[pb.OUTPUT_INSTANCE_MASK] == 1
    # The sphere has 32 x 16 segments: its silhouette lies inside the circle by up to 1 % of the radius.
    assert not mask[off_axis > edge + 0.1].any()
    assert mask[off_axis < edge * 0.985 - 0.1].all()
    middle = off_axis < 0.7 * edge
    np.testing.assert_allclose(found[pb.OUTPUT_DEPTH][middle], depth[middle], atol=0.03)
    assert found[pb.OUTPUT_NORMAL][size // 2, size // 2, 2] > 0.99
    np.testing.assert_allclose(np.linalg.norm(found[pb.OUTPUT_NORMAL][mask], axis=1), 1, atol=1e-4)


def test_sizes_stretch_a_mesh_along_its_own_axes(blender: Engine) -> None:
    node = solid(yaw_deg=90, scale=2)
    node.mesh.size_x, node.mesh.size_y, node.mesh.size_z = 2, 1, 3
    scene = scene_of(node, ortho=8, z_m=20)
    result = blender.render(lit(scene, 64, 64, outputs=ALL_OUTPUTS), {})
    box = result.boxes[0].visible
    assert (box.width_px, box.height_px) == (16, 32)  # Turned: y is across now.
    assert layers(result)[pb.OUTPUT_DEPTH][32, 32] == pytest.approx(20 - 3)


def test_an_object_that_passes_beneath_the_camera_has_a_box(blender: Engine) -> None:
    ground = solid(primitive=scene_pb2.PRIMITIVE_PLANE, scale=100)
    scene = scene_of(ground, fov=60, z_m=1, roll_deg=90)
    result = blender.render(lit(scene, 64, 48, outputs=ALL_OUTPUTS), {})
    focal = 24 / math.tan(math.radians(30))
    box = result.boxes[0].amodal
    # Its far edge lies 50 m away and 1 m below the axis.
    assert (box.x_px, box.width_px) == (0, 64)
    assert (box.y_px, box.y_px + box.height_px) == pytest.approx((24 + focal / 50, 48))


def test_emission_is_shown_as_srgb(blender: Engine) -> None:
    scene = scene_of(glowing(solid(scale=4), 2.0, (0.25, 0.1, 0.002)), ortho=8, z_m=10)
    scene.background.CopyFrom(scene_pb2.Color(red=0.5, green=0.2, blue=0.1))
    picture = image(blender.render(lit(scene, 16, 16), {}))
    np.testing.assert_allclose(picture[8, 8], to_display(np.array([0.5, 0.2, 0.004])), atol=1e-5)
    np.testing.assert_allclose(picture[0, 0], to_display(np.array([0.5, 0.2, 0.1])), atol=1e-5)


def test_the_sun_brightens_and_follows_lamberts_law(blender: Engine) -> None:
    ground = solid(primitive=scene_pb2.PRIMITIVE_PLANE, scale=20)
    ground.mesh.material.base_color.CopyFrom(scene_pb2.Color(red=0.5, green=0.5, blue=0.5))
    ground.mesh.material.roughness = 1.0

    def linear(strength: float, tilt: float) -> float:
        light = sun(strength)
        light.transform.roll_deg = tilt
        picture = image(blender.render(lit(scene_of(ground, light, ortho=8, z_m=10), 8, 8), {}))
        value = float(picture[4, 4, 0])
        return ((value + 0.055) / 1.055) ** 2.4

    assert linear(0.0, 0.0) == pytest.approx((0.055 / 1.055) ** 2.4)  # Nothing but darkness
    # A diffuse surface reflects albedo * irradiance / pi; the glossy coat takes and adds a little.
    assert linear(2.0, 0.0) == pytest.approx(0.5 * 2 / math.pi, rel=0.1)
    assert linear(2.0, 60.0) / linear(2.0, 0.0) == pytest.approx(0.5, rel=0.1)
    assert linear(1.0, 0.0) / linear(2.0, 0.0) == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("kind", ["point", "area"])
def test_lamps_shine(blender: Engine, kind: str) -> None:
    lamp = scene_pb2.Node(id="lamp", transform=scene_pb2.Transform(z_m=3))
    if kind == "point":
        lamp.light.point.power_w, lamp.light.point.radius_m = 100, 0.1
    else:
        lamp.light.area.power_w, lamp.light.area.edge_m = 100, 0.5
    lamp.light.color.CopyFrom(scene_pb2.Color(red=1, green=0.5, blue=0))
    ground = solid(primitive=scene_pb2.PRIMITIVE_PLANE, scale=20)
    picture = image(blender.render(lit(scene_of(ground, lamp, ortho=8, z_m=2), 9, 9, samples=16), {}))
    assert picture[4, 4, 0] > picture[4, 4, 1] > picture[4, 4, 2]
    assert picture[4, 4, 2] == 0
    assert picture[4, 4, 0] > picture[0, 0, 0] > 0


def test_seeds_change_the_noise_and_nothing_else_does(blender: Engine) -> None:
    scene = scene_of(
        solid(primitive=scene_pb2.PRIMITIVE_PLANE, scale=20), solid("cube", z_m=0.5), sun(2, 30), ortho=4, z_m=10
    )
    scene.nodes[2].transform.roll_deg = 50

    def rendered(seed: int) -> pb.RenderResult:
        return blender.render(lit(scene, 32, 32, samples=1, filter_width=1, seed=seed), {})

    first = rendered(1)
    assert without_timing(rendered(1)) == without_timing(first)
    other = rendered(2)
    assert without_timing(other) != without_timing(first)
    assert abs(float(image(other).mean() - image(first).mean())) < 0.05


def test_more_samples_take_effect(blender: Engine) -> None:
    scene = scene_of(glowing(solid(scale=3, yaw_deg=30), 1.0, (1, 1, 1)), ortho=8, z_m=10)

    def levels(samples: int) -> int:
        message = lit(scene, 32, 32, samples=samples, filter_width=1)
        return len(np.unique(image(blender.render(message, {}))))

    # Coverage of an edge pixel is a multiple of 1 / samples.
    assert levels(1) == 2
    assert 3 <= levels(4) <= 5
    assert 6 <= levels(16) <= 17
    assert levels(1) == 2


@pytest.mark.parametrize("width", [0.0, 2.0])
def test_other_filter_widths(blender: Engine, width: float) -> None:
    scene = scene_of(glowing(solid(scale=2), 1.0, (1, 1, 1)), ortho=8, z_m=10)
    message = lit(scene, 32, 32, samples=16, filter_width=width)
    row = image(blender.render(message, {}))[16, :, 0]
    # The edge lies between pixels 11 and 12. A box of two pixels reaches over it by a quarter of its width.
    expected = to_display(np.array([0, 0.25, 0.75, 1] if width else [0, 0, 1, 1]))
    np.testing.assert_allclose(row[10:14], expected, atol=1e-3)


def test_a_tilted_sprite_is_foreshortened(blender: Engine, assets: Assets) -> None:
    texture = np.random.default_rng(4).integers(0, 256, (6, 9, 4), dtype=np.uint8)
    node = sprite("s", assets.add(png(texture)), 18, 20, x_m=2, roll_deg=60)
    message = task(scene_of(node, ortho=32, z_m=100), 32, 32, outputs=ALL_OUTPUTS, columns=[column("s", 1, 0.5)])
    result = blender.render(message, assets)
    np.testing.assert_allclose(image(result), blend([Placed(texture, 18, 10, 2)], 32, 32), atol=1e-4)
    expected = blend([Placed(texture, 18, 10, 2.5)], 32, 32) - blend([Placed(texture, 18, 10, 1.5)], 32, 32)
    np.testing.assert_allclose(difference(result, 0, 32, 32), expected, atol=5e-4)


def test_a_texture_is_mapped_by_the_meshs_uv(blender: Engine, assets: Assets) -> None:
    texture = np.random.default_rng(5).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    plane = solid(primitive=scene_pb2.PRIMITIVE_PLANE, scale=8)
    glowing(plane, 1.0, (1, 1, 1)).mesh.material.texture = assets.add(png(texture))
    picture = image(blender.render(lit(scene_of(plane, ortho=8, z_m=10), 8, 8), assets))
    np.testing.assert_allclose(picture, texture / 255, atol=2e-3)


def test_columns_of_a_mesh(blender: Engine) -> None:
    node = glowing(solid(scale=10), 0.5, (0.4, 0.4, 0.4))
    columns = [
        column("solid", scene_pb2.ATTRIBUTE_X, 1.0),
        column("solid", scene_pb2.ATTRIBUTE_INTENSITY, 0.1),
        column("solid", scene_pb2.ATTRIBUTE_GREEN, 0.1),
        column("camera", scene_pb2.ATTRIBUTE_FOV, 8.0),
        column("solid", scene_pb2.ATTRIBUTE_WIDTH, 0.2),
    ]
    message = lit(scene_of(node, ortho=32, z_m=20), 32, 32, columns=columns)
    result = blender.render(message, {})
    shown = to_display(np.array(0.2))
    moved = np.zeros((32, 32))
    moved[11:21, 20:22], moved[11:21, 10:12] = shown, -shown
    np.testing.assert_allclose(difference(result, 0, 32, 32)[..., 1], moved, atol=1e-3)
    brighter = to_display(np.array(0.24)) - to_display(np.array(0.16))
    np.testing.assert_allclose(difference(result, 1, 32, 32)[16, 16], [brighter] * 3, atol=1e-3)
    greener = to_display(np.array(0.25)) - to_display(np.array(0.15))
    np.testing.assert_allclose(difference(result, 2, 32, 32)[16, 16], [0, greener, 0], atol=1e-3)
    # 32 +- 8: the cube takes 8 or 13 1/3 pixels.
    farther = difference(result, 3, 32, 32)[16, :, 0]
    np.testing.assert_allclose(farther[[8, 9, 16, 22, 23]], [0, -shown, 0, -shown, 0], atol=1e-3)
    wider = difference(result, 4, 32, 32)[16, :, 0]
    np.testing.assert_allclose(wider[9:13], [0, shown, shown, 0], atol=1e-3)
    assert result.timing.renders == 11
    np.testing.assert_allclose(image(blender.render(message, {})), image(result), rtol=0, atol=0)


def test_a_ply_keeps_its_points(blender: Engine, assets: Assets) -> None:
    path = needs(MODELS / "obj_000001.ply")
    lines = path.read_text().splitlines()
    count = next(int(line.split()[2]) for line in lines if line.startswith("element vertex"))
    first = lines.index("end_header") + 1
    points = np.array([line.split()[:3] for line in lines[first : first + count]], float) * 0.1
    node = model(path.read_bytes(), scene_pb2.MESH_FORMAT_PLY, assets, scale=0.1)
    height = float(np.abs(points).max()) * 2.5
    result = blender.render(
        lit(scene_of(node, sun(3), ortho=height, z_m=100), 64, 64, outputs=ALL_OUTPUTS),
        assets,
    )
    box, unit = result.boxes[0], 64 / height
    (left, bottom, _), (right, top, upper) = points.min(axis=0), points.max(axis=0)
    assert (box.amodal.x_px, box.amodal.width_px) == pytest.approx((32 + left * unit, (right - left) * unit), abs=1e-3)
    assert (box.amodal.y_px, box.amodal.height_px) == pytest.approx((32 - top * unit, (top - bottom) * unit), abs=1e-3)
    found = layers(result)
    assert box.visible_px > 20
    assert found[pb.OUTPUT_DEPTH].min() >= 100 - upper - 1e-3
    assert found[pb.OUTPUT_IMAGE_F32].max() > 0.2


def test_an_obj_shows_its_vertex_colours_and_no_other_files(blender: Engine, assets: Assets) -> None:
    data = (
        b"mtllib /etc/hostname\nv -1 -1 0 1 0 0\nv 1 -1 0 1 0 0\nv 1 1 0 1 0 0\nv -1 1 0 1 0 0\nusemtl x\nf 1 2 3 4\n"
    )
    node = model(data, scene_pb2.MESH_FORMAT_OBJ, assets)
    picture = image(blender.render(lit(scene_of(node, sun(3), ortho=4, z_m=5), 16, 16), assets))
    assert picture[8, 8, 0] > 0.8
    assert picture[8, 8, 1] < 0.5 * picture[8, 8, 0]
    assert picture[:3].max() == 0
    node.mesh.material.base_color.green = 1.0
    picture = image(blender.render(lit(scene_of(node, sun(3), ortho=4, z_m=5), 16, 16), assets))
    assert picture[8, 8, 1] > 0.8
    assert picture[8, 8, 0] < 0.5


@pytest.mark.parametrize("opacity", [0.25, 0.75])
def test_light_passes_an_obj_by_the_opacity_of_its_material(
    blender: Engine, assets: Assets, tmp_path: Path, opacity: float
) -> None:
    """Seen from above in front of a uniform background, without light of its own."""
    (tmp_path / "pane.obj").write_text("mtllib p.mtl\nv -1 -1 0\nv 1 -1 0\nv 1 1 0\nv -1 1 0\nusemtl x\nf 1 2 3 4\n")
    (tmp_path / "p.mtl").write_text(f"newmtl x\nKd 0 0 0\nPr 1\nd {opacity}\n")
    node = model(MeshFolder("things", tmp_path).data(0), scene_pb2.MESH_FORMAT_GLB, assets)
    scene = scene_of(node, ortho=4, z_m=5)
    scene.background.CopyFrom(scene_pb2.Color(red=0.5, green=0.5, blue=0.5))
    found = layers(blender.render(lit(scene, 16, 16, samples=64, outputs=ALL_OUTPUTS), assets))
    light = srgb_to_linear(found[pb.OUTPUT_IMAGE_F32].astype(np.float64))
    # A black surface of roughness 1 reflects some 4 % of the background's light.
    assert light[6:10, 6:10, 0].mean() / light[1, 1, 0] == pytest.approx(1 - opacity, abs=0.07)
    assert (found[pb.OUTPUT_INSTANCE_MASK][8, 8] > 0) == (opacity >= 0.5)


@pytest.mark.parametrize("look", ["colours", "texture"])
def test_a_bop_model_shows_its_colours(blender: Engine, assets: Assets, tmp_path: Path, look: str) -> None:
    data = plate(texture="skin.png") if look == "texture" else plate(((255, 0, 0), (0, 0, 255)))
    folder = bop_folder(tmp_path / "models", {1: data})
    two_colours(folder / "skin.png")
    models = BopModels("things", folder, standing=True)
    wall = model(models.data(0), scene_pb2.MESH_FORMAT_GLB, assets)
    scene = scene_of(wall, ortho=0.06, y_m=-1, z_m=0.03, roll_deg=90)
    scene.background.CopyFrom(scene_pb2.Color(red=0.5, green=0.5, blue=0.5))
    shown = image(blender.render(lit(scene, 10, 6, samples=4), assets))
    left, right = shown[3, 2], shown[3, 7]
    assert (left[0] > 0.6, left[2] < 0.4, right[2] > 0.6, right[0] < 0.4) == (True,) * 4


def test_a_glb_with_embedded_textures_stands_upright(blender: Engine, assets: Assets) -> None:
    path = needs(CARS / "sedan.glb")
    node = model(embedded(path), scene_pb2.MESH_FORMAT_GLB, assets)
    light = sun(4)
    light.transform.CopyFrom(scene_pb2.Transform(roll_deg=50, yaw_deg=30))
    # From the side: the camera stands at +x and looks along -x with z up.
    scene = scene_of(node, light, ortho=4, x_m=10, yaw_deg=90, roll_deg=90)
    result = blender.render(lit(scene, 96, 64, outputs=ALL_OUTPUTS, samples=4, filter_width=1), assets)
    (box,) = result.boxes
    # A car is longer than high and stands on the ground z = 0, the image's middle.
    assert box.visible.width_px > 1.5 * box.visible.height_px
    assert box.amodal.y_px + box.amodal.height_px == pytest.approx(32, abs=0.5)
    found = layers(result)
    colours = found[pb.OUTPUT_IMAGE_F32][found[pb.OUTPUT_INSTANCE_MASK] == 1]
    # Its texture has colours.
    assert (colours.max(axis=1) - colours.min(axis=1)).max() > 0.2


def test_a_glb_that_refers_to_other_files_is_refused(blender: Engine, assets: Assets) -> None:
    path = needs(CARS / "sedan.glb")
    node = model(path.read_bytes(), scene_pb2.MESH_FORMAT_GLB, assets)
    text = (
        r"^scene.nodes\[0\].mesh.asset.hash is [0-9a-f]{64}, which cannot be loaded \(it refers to the file 'Textures/"
    )
    with pytest.raises(InvalidTask, match=text):
        blender.render(lit(scene_of(node, ortho=4, z_m=5), 8, 8), assets)


@pytest.mark.parametrize(
    ("file_format", "data"),
    [
        (scene_pb2.MESH_FORMAT_PLY, b"junk"),
        (scene_pb2.MESH_FORMAT_OBJ, b"junk"),
        (scene_pb2.MESH_FORMAT_GLB, b"junk" * 9),
    ],
)
def test_a_damaged_mesh_is_named(blender: Engine, assets: Assets, file_format: int, data: bytes) -> None:
    node = model(data, file_format, assets)
    with pytest.raises(InvalidTask, match=r"^scene.nodes\[0\].mesh.asset.hash is [0-9a-f]{64}, which cannot be loaded"):
        blender.render(lit(scene_of(node, ortho=4, z_m=5), 8, 8), assets)


def test_meshes_have_no_raw_view(blender: Engine) -> None:
    with pytest.raises(InvalidTask, match=r"^settings.view_transform is VIEW_TRANSFORM_RAW; node 'solid' is a mesh"):
        blender.render(task(scene_of(solid(), ortho=4, z_m=5), 8, 8), {})
