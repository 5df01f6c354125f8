"""Light that surrounds a scene, lenses, and surfaces beyond colour and roughness."""

from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from metasim.colour import srgb_to_linear
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from support.scenes import Assets, column, difference, image, layers, png, without_timing

from render_server.checks.decoded_size import AssetTooLarge, check_decoded_size
from render_server.checks.validation import required_assets, validate
from render_server.engines import Engine
from render_server.errors import InvalidTask
from render_server.limits import Limits

pytestmark = pytest.mark.blender

WIDTH, HEIGHT = 64, 48
ANGLES = {"yaw_deg": -90.0, "roll_deg": 90.0}  # Looks along +x, z is up.


def exr(pixels: np.ndarray, folder: Path) -> bytes:
    path = folder / "map.exr"
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"RGB": pixels.astype(np.float32)}).write(str(path))
    return path.read_bytes()


def world(*nodes: scene_pb2.Node, light: scene_pb2.Light | None = None, lens: scene_pb2.Lens | None = None, **camera):
    scene = scene_pb2.Scene(classes=["thing"])
    eye = scene.nodes.add(id="camera", transform=scene_pb2.Transform(**{**ANGLES, **camera}))
    eye.camera.perspective.vertical_fov_deg = 50
    if lens is not None:
        eye.camera.perspective.lens.CopyFrom(lens)
    scene.nodes.extend(nodes)
    if light is not None:
        scene.nodes.add(id="light", light=light)
    return scene


def task_of(scene: scene_pb2.Scene, *outputs: int, samples: int = 16, columns=(), **settings) -> pb.RenderTask:
    settings = {"width_px": WIDTH, "height_px": HEIGHT, "samples": samples, "filter_width_px": 1, **settings}
    return pb.RenderTask(
        id="t",
        scene=scene,
        settings=pb.RenderSettings(view_transform=pb.VIEW_TRANSFORM_STANDARD, **settings),
        outputs=outputs or (pb.OUTPUT_IMAGE_F32,),
        columns=columns,
    )


def mesh(node_id: str, primitive: int, material: scene_pb2.Material | None = None, size: float = 1.0, **transform):
    shape = scene_pb2.Mesh(primitive=primitive, size_x=size, size_y=size, size_z=size, material=material)
    return scene_pb2.Node(id=node_id, class_name="thing", mesh=shape, transform=scene_pb2.Transform(**transform))


def grey(value: float, **fields: object) -> scene_pb2.Material:
    return scene_pb2.Material(base_color=scene_pb2.Color(red=value, green=value, blue=value), **fields)


def environment(asset: str, strength: float = 1.0) -> scene_pb2.Light:
    return scene_pb2.Light(environment=scene_pb2.EnvironmentLight(asset=asset, strength=strength))


def linear(result: pb.RenderResult) -> np.ndarray:
    return srgb_to_linear(image(result).astype(np.float64))


# Light


def test_a_uniform_environment_is_a_background(blender: Engine, assets: Assets, tmp_path: Path) -> None:
    asset = assets.add(exr(np.full((8, 16, 3), (0.2, 0.4, 0.6)), tmp_path))
    floor = mesh("floor", scene_pb2.PRIMITIVE_PLANE, grey(0.5, roughness=1, specular=0), 50, z_m=-1)
    lit = linear(blender.render(task_of(world(floor, light=environment(asset)), samples=128), assets))
    np.testing.assert_allclose(lit[2], np.broadcast_to((0.2, 0.4, 0.6), lit[2].shape), rtol=1e-3)
    # A matte surface of albedo a in a uniform world of radiance L has the radiance a L.
    np.testing.assert_allclose(lit[-8:].mean((0, 1)), (0.1, 0.2, 0.3), rtol=0.03)


def test_the_middle_of_the_map_lies_along_x_and_turns_with_its_node(
    blender: Engine, assets: Assets, tmp_path: Path
) -> None:
    pixels = np.zeros((32, 64, 3))
    pixels[16:, :, 2] = 0.5  # Blue below the horizon
    pixels[:, 36:44, 0] = 0.5  # Red to the right of the middle, about 34 deg
    asset = assets.add(exr(pixels, tmp_path))
    scene = world(light=environment(asset))
    seen = linear(blender.render(task_of(scene, samples=1), assets))
    assert seen[4, 4, 2] < 0.01 < 0.4 < seen[-4, 4, 2]
    assert seen[HEIGHT // 2, -1, 0] > 0.4 > 0.01 > seen[HEIGHT // 2, 0, 0]
    scene.nodes[1].transform.yaw_deg = 60  # Counter-clockwise from above: to the left
    turned = linear(blender.render(task_of(scene, samples=1), assets))
    assert turned[HEIGHT // 2, 3, 0] > 0.4 > 0.01 > turned[HEIGHT // 2, -1, 0]


def test_strength_and_rotation_are_columns(blender: Engine, assets: Assets, tmp_path: Path) -> None:
    asset = assets.add(exr(np.random.default_rng(1).uniform(0.1, 0.6, (8, 16, 3)), tmp_path))
    columns = [column("light", scene_pb2.ATTRIBUTE_INTENSITY, 0.1), column("light", scene_pb2.ATTRIBUTE_YAW, 2.0)]
    scene = world(light=environment(asset))
    result = blender.render(task_of(scene, samples=1, columns=columns), assets)
    ends = []
    for strength in (0.9, 1.1):
        scene.nodes[1].light.environment.strength = strength
        ends.append(image(blender.render(task_of(scene, samples=1), assets)))
    np.testing.assert_allclose(difference(result, 0, WIDTH, HEIGHT), ends[1] - ends[0], atol=1e-3)
    assert np.abs(difference(result, 1, WIDTH, HEIGHT)).max() > 1e-3


def test_regions_under_image_based_light_are_crops_of_the_frame(
    blender: Engine, assets: Assets, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    asset = assets.add(exr(rng.lognormal(-1, 1, (16, 32, 3)), tmp_path))
    floor = mesh("floor", scene_pb2.PRIMITIVE_PLANE, grey(0.5, roughness=1), 50, z_m=-1)
    ball = mesh("ball", scene_pb2.PRIMITIVE_SPHERE, grey(0.7), x_m=4, z_m=-0.5)
    columns = [column("ball", scene_pb2.ATTRIBUTE_Y, 0.05)]
    task = task_of(world(floor, ball, light=environment(asset)), samples=4, columns=columns)
    task.columns[0].audit = True
    region = blender.render(task, assets)
    task.probes.full_frame = True
    frame = blender.render(task, assets)
    by_region, by_frame = (difference(result, 0, WIDTH, HEIGHT) for result in (region, frame))
    inside = by_region != 0
    np.testing.assert_array_equal(by_region[inside], by_frame[inside])
    audit = region.columns[0].audit
    assert audit.product / (audit.region_norm * audit.frame_norm) > 0.95
    assert region.columns[0].samples < frame.columns[0].samples / 3


def test_a_sky_has_its_sun_and_its_unit(blender: Engine, assets: Assets) -> None:
    floor = mesh("floor", scene_pb2.PRIMITIVE_PLANE, grey(0.5, roughness=1, specular=0), 50, z_m=-1)
    sky = scene_pb2.Light(sky=scene_pb2.SkyLight(irradiance_w_m2=2, sun_elevation_deg=90))
    lit = linear(blender.render(task_of(world(floor, light=sky), samples=64), assets))[-8:].mean((0, 1))
    assert lit @ (0.2126, 0.7152, 0.0722) == pytest.approx(0.5 * 2 / np.pi, rel=0.05)
    # The sun stands above the node's +x: the shadow of a wall falls towards -x, at the camera.
    wall = mesh("wall", scene_pb2.PRIMITIVE_CUBE, grey(0.5), 1, x_m=6, z_m=-0.5)
    scene = world(floor, wall, light=sky)
    scene.nodes[-1].light.sky.sun_elevation_deg = 20
    ahead = linear(blender.render(task_of(scene, samples=16), assets))
    scene.nodes[-1].transform.yaw_deg = 180
    behind = linear(blender.render(task_of(scene, samples=16), assets))
    shaded = np.s_[HEIGHT // 2 + 9 : HEIGHT // 2 + 12, WIDTH // 2 - 2 : WIDTH // 2 + 2]
    assert ahead[shaded].mean() < 0.5 * behind[shaded].mean()


def test_what_is_no_environment_map_is_named(blender: Engine, assets: Assets) -> None:
    for data in (png(np.zeros((4, 8, 3), np.uint8)), b"\x76\x2f\x31\x01 not an image"):
        asset = assets.add(data)
        with pytest.raises(InvalidTask, match=r"scene.nodes\[1\].light.environment.asset is .*OpenEXR or Radiance HDR"):
            blender.render(task_of(world(light=environment(asset))), assets)


def test_rules_of_surroundings(assets: Assets, tmp_path: Path) -> None:
    pixels = exr(np.zeros((64, 128, 3)), tmp_path)
    asset = assets.add(pixels)
    task = task_of(world(light=environment(asset)))
    validate(task, Limits())
    assert required_assets(task) == [asset]
    task.scene.nodes.add(id="again").light.sky.irradiance_w_m2 = 1
    with pytest.raises(InvalidTask, match=r"nodes\[2\].light is a second environment map or sky"):
        validate(task, Limits())
    sky = task_of(world(light=scene_pb2.Light(sky=scene_pb2.SkyLight(turbidity=1))))
    with pytest.raises(InvalidTask, match=r"sky.turbidity is 1.0; it must be from 2 to 10"):
        validate(sky, Limits())
    with pytest.raises(AssetTooLarge, match="OpenEXR image of 128 x 64 pixels"):
        check_decoded_size("x", pixels, Limits(texture_pixels=1000))
    with pytest.raises(AssetTooLarge, match="HDR image of 4096 x 2048 pixels"):
        check_decoded_size("x", b"#?RADIANCE\n\n-Y 2048 +X 4096\n", Limits(texture_pixels=1000))


@pytest.mark.usefixtures("blender")
def test_only_so_many_environment_maps_are_kept(assets: Assets, tmp_path: Path) -> None:
    import bpy

    from render_server.engines.blender.environment import EnvironmentMaps

    maps = EnvironmentMaps(max_bytes=16 * 8 * 4 * 2)
    before = len(bpy.data.images)
    for value in range(5):
        asset = assets.add(exr(np.full((4, 8, 3), value), tmp_path))
        maps.get(asset, assets, "asset")
        maps.trim()
    assert len(bpy.data.images) == before + 2


# Lenses

LENS = scene_pb2.Lens(center_x=0.47, center_y=0.54, k1=-0.25, k2=0.05, p1=0.004, p2=-0.003)
FY = HEIGHT / 2 / np.tan(np.radians(25))


def opencv_pixel(x: float, y: float, z: float, lens: scene_pb2.Lens) -> tuple[float, float]:
    """Pixel coordinates of a point (x right, y down, z forward) by OpenCV's formula, from the corner of the image."""
    x, y = x / z, y / z
    r2 = x * x + y * y
    radial = 1 + lens.k1 * r2 + lens.k2 * r2**2
    u = FY * (x * radial + 2 * lens.p1 * x * y + lens.p2 * (r2 + 2 * x * x)) + lens.center_x * WIDTH
    v = FY * (y * radial + lens.p1 * (r2 + 2 * y * y) + 2 * lens.p2 * x * y) + lens.center_y * HEIGHT
    return u, v


def balls() -> list[scene_pb2.Node]:
    """Small glowing balls, 10 m ahead of a camera that looks along +x: right is -y."""
    places = [(-4, -3), (4, -3), (-4, 2.5), (4, 2.5), (0, 0), (0, -3.5), (-4, 0)]
    return [
        mesh(f"ball-{n}", scene_pb2.PRIMITIVE_SPHERE, grey(1, emission=1), 0.8, x_m=10, y_m=-x, z_m=-y)
        for n, (x, y) in enumerate(places)
    ]


@pytest.mark.parametrize("lens", [LENS, scene_pb2.Lens(center_x=0.4, center_y=0.6)], ids=["distorted", "shifted"])
def test_points_are_seen_where_opencv_projects_them(blender: Engine, assets: Assets, lens: scene_pb2.Lens) -> None:
    outputs = (pb.OUTPUT_IMAGE_F32, pb.OUTPUT_INSTANCE_MASK, pb.OUTPUT_DEPTH, pb.OUTPUT_BOXES)
    result = blender.render(task_of(world(*balls(), lens=lens), *outputs, samples=64), assets)
    found = layers(result)
    light, mask, depth = (found[output] for output in outputs[:3])
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    for number, (node, box) in enumerate(zip(balls(), result.boxes, strict=True)):
        u, v = opencv_pixel(-node.transform.y_m, -node.transform.z_m, 10, lens)
        pixels = mask == number + 2
        near = (np.abs(rows - v) < 4) & (np.abs(columns - u) < 4)
        weights = srgb_to_linear(light[..., 0].astype(np.float64)) * near
        centre = np.array(((weights * columns).sum(), (weights * rows).sum())) / weights.sum()
        np.testing.assert_allclose(centre, (u, v), atol=0.15)
        np.testing.assert_allclose((columns[pixels].mean(), rows[pixels].mean()), (u, v), atol=0.6)
        amodal = box.amodal
        middle = amodal.x_px + amodal.width_px / 2, amodal.y_px + amodal.height_px / 2
        np.testing.assert_allclose(middle, (u, v), atol=0.1)
        assert (np.abs(depth[pixels] - 9.8) < 0.45).all()


def test_regions_through_a_lens_are_crops_of_the_frame(blender: Engine, assets: Assets) -> None:
    columns = [column(f"ball-{n}", scene_pb2.ATTRIBUTE_Y, 0.1) for n in (0, 3, 4)]
    task = task_of(world(*balls(), lens=LENS), samples=4, columns=columns)
    region = blender.render(task, assets)
    task.probes.full_frame = True
    frame = blender.render(task, assets)
    for number in range(3):
        by_region, by_frame = (difference(result, number, WIDTH, HEIGHT) for result in (region, frame))
        assert np.abs(by_frame).max() > 0.1
        np.testing.assert_array_equal(by_region, by_frame)
    assert sum(each.samples for each in region.columns) < 0.2 * sum(each.samples for each in frame.columns)


@pytest.mark.parametrize("attribute", [scene_pb2.ATTRIBUTE_K1, scene_pb2.ATTRIBUTE_CENTER_X, scene_pb2.ATTRIBUTE_P2])
def test_columns_of_a_lens(blender: Engine, assets: Assets, attribute: int) -> None:
    field = {scene_pb2.ATTRIBUTE_K1: "k1", scene_pb2.ATTRIBUTE_CENTER_X: "center_x", scene_pb2.ATTRIBUTE_P2: "p2"}
    task = task_of(world(*balls(), lens=LENS), samples=1, columns=[column("camera", attribute, 0.01)])
    found = difference(blender.render(task, assets), 0, WIDTH, HEIGHT)
    ends = []
    for side in (-1, 1):
        lens = scene_pb2.Lens()
        lens.CopyFrom(LENS)
        setattr(lens, field[attribute], getattr(LENS, field[attribute]) + side * 0.01)
        ends.append(image(blender.render(task_of(world(*balls(), lens=lens), samples=1), assets)))
    np.testing.assert_allclose(found, ends[1] - ends[0], atol=1e-3)
    assert np.abs(found).max() > 0.1


def test_a_neutral_lens_leaves_every_byte(blender: Engine, assets: Assets) -> None:
    outputs = (pb.OUTPUT_IMAGE_U8, pb.OUTPUT_BOXES, pb.OUTPUT_DEPTH)
    plain = blender.render(task_of(world(*balls()), *outputs), assets)
    neutral = blender.render(task_of(world(*balls(), lens=scene_pb2.Lens(center_x=0.5, aspect=1)), *outputs), assets)
    assert without_timing(plain) == without_timing(neutral)


def test_a_lens_without_inverse_is_named(blender: Engine, assets: Assets) -> None:
    with pytest.raises(InvalidTask, match=r"camera.perspective.lens is a distortion .* of \(-3, .*must be invertible"):
        blender.render(task_of(world(*balls(), lens=scene_pb2.Lens(k1=-3))), assets)


# Surfaces


def plate(material: scene_pb2.Material, light: scene_pb2.Light) -> pb.RenderTask:
    """A plate that fills the view of a camera that looks down on it, and a light above it."""
    board = mesh("plate", scene_pb2.PRIMITIVE_PLANE, material, 4)
    scene = world(board, light=light, yaw_deg=0.0, roll_deg=0.0, z_m=2)
    return task_of(scene, pb.OUTPUT_IMAGE_F32, pb.OUTPUT_INSTANCE_MASK, samples=16)


def test_opacity_mixes_with_what_is_behind(blender: Engine, assets: Assets) -> None:
    material = grey(0.5, roughness=1, specular=0)
    sun = scene_pb2.Light(sun=scene_pb2.SunLight(irradiance_w_m2=3))
    opaque = linear(blender.render(plate(material, sun), assets)).mean()
    for opacity in (0.7, 0.3):
        material.opacity = opacity
        result = blender.render(plate(material, sun), assets)
        assert linear(result).mean() == pytest.approx(opacity * opaque, rel=0.1)
        assert (layers(result)[pb.OUTPUT_INSTANCE_MASK] > 0).all() == (opacity >= 0.5)


def test_metal_reflects_its_colour_and_matte_dielectrics_scatter_it(
    blender: Engine, assets: Assets, tmp_path: Path
) -> None:
    pixels = np.full((64, 128, 3), 0.05)
    pixels[:16] = 0.8  # Light from above alone
    light = environment(assets.add(exr(pixels, tmp_path)))
    colour = scene_pb2.Color(red=0.8, green=0.4, blue=0.1)
    metal = scene_pb2.Material(base_color=colour, metallic=1, roughness=0)
    found = linear(blender.render(plate(metal, light), assets))[20:28, 28:36].mean((0, 1))
    np.testing.assert_allclose(found, 0.8 * np.array((0.8, 0.4, 0.1)), rtol=0.1)


def test_maps_of_a_material(blender: Engine, assets: Assets) -> None:
    half = np.zeros((4, 8, 3), np.uint8)
    half[:, 4:] = 255
    tilted = np.full((4, 8, 3), (128, 128, 255), np.uint8)
    tilted[:, 4:] = (255, 128, 128)  # Tilted by 90 deg towards u: away from a sun in the zenith
    sun = scene_pb2.Light(sun=scene_pb2.SunLight(irradiance_w_m2=3))
    plain = linear(blender.render(plate(grey(0.5, roughness=1, specular=0), sun), assets))
    bumpy = grey(0.5, roughness=1, specular=0, normal_texture=assets.add(png(tilted)))
    found = linear(blender.render(plate(bumpy, sun), assets))
    left, right = np.s_[:, :12], np.s_[:, -12:]
    assert found[left].mean() == pytest.approx(plain[left].mean(), rel=0.05)
    assert found[right].mean() < 0.3 * plain[right].mean()
    metal = grey(0.5, roughness=0.1, metallic_texture=assets.add(png(half)))
    found = linear(blender.render(plate(metal, sun), assets))
    assert found[right].mean() < 0.3 * found[left].mean()  # A mirror does not show the sun here.


def test_uv_scale_repeats_textures(blender: Engine, assets: Assets) -> None:
    stripes = np.zeros((2, 8, 3), np.uint8)
    stripes[:, 4:] = 255
    texture = assets.add(png(stripes))
    found = []
    for scale in (1, 4):
        material = grey(1, texture=texture, emission=1, uv_scale=scale)
        row = linear(blender.render(plate(material, scene_pb2.Light(sun=scene_pb2.SunLight())), assets))[24, :, 0]
        found.append(int(np.count_nonzero(np.diff(row > 0.5))))
    assert found[1] >= 3 * max(found[0], 1)


def test_surfaces_do_not_depend_on_what_was_rendered_before(blender: Engine, assets: Assets) -> None:
    sun = scene_pb2.Light(sun=scene_pb2.SunLight(irradiance_w_m2=3))
    materials = [grey(0.5), grey(0.5, metallic=0.8, roughness=0.2), grey(0.5, opacity=0.6), grey(0.5, metallic=0.1)]
    first = [without_timing(blender.render(plate(material, sun), assets)) for material in materials]
    second = [without_timing(blender.render(plate(material, sun), assets)) for material in reversed(materials)]
    assert first == second[::-1]
