"""Sprite scenes: every engine draws them as scene.proto says."""

import io

import numpy as np
import pytest
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from PIL import Image
from support.reference import Placed, blend
from support.scenes import ALL_OUTPUTS, Assets, frame, image, layers, png, sprite, sprite_scene, task

from render_server.engines import Engine
from render_server.errors import AssetMissing, InvalidTask

#: Float noise of single precision in coordinates and blending.
EXACT = 2e-5

RNG = np.random.default_rng(7)
NOISE = RNG.integers(0, 256, (6, 9, 4), dtype=np.uint8)
WHITE = np.full((4, 4, 4), 255, np.uint8)


def centroid(picture: np.ndarray) -> tuple[float, float]:
    weight = picture.sum(axis=2, dtype=np.float64)
    rows, columns = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]] + 0.5
    return (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()


def test_plus_x_is_right_and_plus_y_is_up(any_engine: Engine, assets: Assets) -> None:
    scene = sprite_scene([sprite("s", assets.add(png(WHITE)), 4, 4, x_m=9, y_m=5)], 32)
    x, y = centroid(image(any_engine.render(task(scene, 40, 32), assets)))
    assert (x, y) == pytest.approx((20 + 9, 16 - 5), abs=1e-3)


def test_yaw_is_counter_clockwise(any_engine: Engine, assets: Assets) -> None:
    child = sprite("s", assets.add(png(WHITE)), 4, 4, x_m=8)
    child.parent = "arm"
    scene = sprite_scene([frame("arm", yaw_deg=90), child], 32)
    x, y = centroid(image(any_engine.render(task(scene, 32, 32), assets)))
    assert (x, y) == pytest.approx((16, 16 - 8), abs=1e-3)


def test_a_texture_stands_upright_and_turns_counter_clockwise(engine: Engine, assets: Assets) -> None:
    texture = np.zeros((4, 4, 4), np.uint8)
    texture[0, 0] = 255  # Top left texel
    name = assets.add(png(texture))
    for yaw, (dx, dy) in ((0, (-6, -6)), (90, (-6, 6)), (180, (6, 6))):
        scene = sprite_scene([sprite("s", name, 16, 16, yaw_deg=yaw)], 32)
        x, y = centroid(image(engine.render(task(scene, 32, 32), assets)))
        assert (x, y) == pytest.approx((16 + dx, 16 + dy), abs=1e-2), yaw


@pytest.mark.parametrize(("dx", "dy"), [(0.3, 0.0), (0.0, 0.7), (0.25, -0.6)])
def test_a_subpixel_shift_interpolates_between_whole_ones(engine: Engine, assets: Assets, dx: float, dy: float) -> None:
    name = assets.add(png(NOISE))

    def at(x: float, y: float) -> np.ndarray:
        # Odd sizes of the image and the sprite put texels onto pixels at whole numbers.
        return image(engine.render(task(sprite_scene([sprite("s", name, 9, 6, x_m=x, y_m=y)], 16), 17, 16), assets))

    ex, ey = np.floor(dx), np.floor(dy)
    fx, fy = dx - ex, dy - ey
    expected = (1 - fy) * ((1 - fx) * at(ex, ey) + fx * at(ex + 1, ey)) + fy * (
        (1 - fx) * at(ex, ey + 1) + fx * at(ex + 1, ey + 1)
    )
    np.testing.assert_allclose(at(dx, dy), expected, atol=EXACT)


def test_whole_pixel_placement_reproduces_the_texels(engine: Engine, assets: Assets) -> None:
    scene = sprite_scene([sprite("s", assets.add(png(NOISE)), 9, 6, x_m=0.5)], 16)
    picture = image(engine.render(task(scene, 20, 16), assets))
    texels = NOISE / 255.0
    np.testing.assert_allclose(picture[5:11, 6:15], texels[..., :3] * texels[..., 3:], atol=EXACT)
    assert picture[:5].max() < EXACT
    assert picture[11:].max() < EXACT


@pytest.mark.parametrize("standard", [False, True])
@pytest.mark.parametrize("offsets", [1, 5])
def test_layers_blend_as_an_independent_renderer_does(
    engine: Engine, assets: Assets, standard: bool, offsets: int
) -> None:
    name = assets.add(png(NOISE))
    far = sprite("far", name, 30, 22, x_m=-3.2, y_m=1.1, yaw_deg=35, z_m=1)
    near = sprite("near", name, 20, 24, x_m=4.4, y_m=-2.7, yaw_deg=-110, z_m=2)
    near.sprite.tint.CopyFrom(scene_pb2.Color(red=0.9, green=0.4, blue=0.6))
    scene = sprite_scene([near, far], 32)
    scene.background.CopyFrom(scene_pb2.Color(red=0.1, green=0.3, blue=0.2))
    view = pb.VIEW_TRANSFORM_STANDARD if standard else pb.VIEW_TRANSFORM_RAW
    grid = [(0.0, 0.0)]
    if offsets == 5:
        # Two rows of cells of equal area: three above, two below.
        upper, lower = 1.5 * (3 / 10 - 0.5), 1.5 * (3 / 5 + 1 / 5 - 0.5)
        grid = [(1.5 * (k / 6 - 0.5), upper) for k in (1, 3, 5)] + [(1.5 * (k / 4 - 0.5), lower) for k in (1, 3)]
    message = task(scene, 36, 32, view_transform=view, samples=offsets, filter_width=0.0 if offsets == 1 else 1.5)
    expected = blend(
        [
            Placed(NOISE, 30, 22, -3.2, 1.1, 35),
            Placed(NOISE, 20, 24, 4.4, -2.7, -110, (0.9, 0.4, 0.6)),
        ],
        36,
        32,
        background=(0.1, 0.3, 0.2),
        standard=standard,
        offsets=grid,
    )
    np.testing.assert_allclose(image(engine.render(message, assets)), expected, atol=3 * EXACT)


def test_a_child_stands_in_its_parents_frame(engine: Engine, assets: Assets) -> None:
    name = assets.add(png(NOISE))
    child = sprite("s", name, 6, 4, x_m=4, y_m=2, yaw_deg=15, scale=0.8)
    child.parent = "parent"
    scene = sprite_scene([child, frame("parent", x_m=1, y_m=-2, yaw_deg=90, scale=2)], 32)
    # p = (1, -2) + R(90) * 2 * (4, 2)
    expected = blend([Placed(NOISE, 6 * 1.6, 4 * 1.6, 1 - 4, -2 + 8, 105)], 32, 32)
    np.testing.assert_allclose(image(engine.render(task(scene, 32, 32), assets)), expected, atol=EXACT)


@pytest.mark.parametrize(("depths", "seen"), [((0, 1), 2), ((1, 0), 1), ((0, 0), 2)])
def test_the_nearest_sprite_hides_the_others_and_ties_go_to_the_later_node(
    engine: Engine, assets: Assets, depths: tuple[float, float], seen: int
) -> None:
    red, green = WHITE.copy(), WHITE.copy()
    red[..., 1:3], green[..., 0::2] = 0, 0
    green[..., 3] = 255
    scene = sprite_scene(
        [
            sprite("a", assets.add(png(red)), 8, 8, z_m=depths[0]),
            sprite("b", assets.add(png(green)), 8, 8, z_m=depths[1]),
        ],
        16,
    )
    result = layers(engine.render(task(scene, 16, 16, outputs=ALL_OUTPUTS), assets))
    np.testing.assert_allclose(result[pb.OUTPUT_IMAGE_F32][8, 8], [1, 0, 0] if seen == 1 else [0, 1, 0], atol=EXACT)
    assert result[pb.OUTPUT_INSTANCE_MASK][8, 8] == seen
    assert result[pb.OUTPUT_DEPTH][8, 8] == 100 - depths[seen - 1]


def test_a_sprite_that_reaches_beyond_the_frame_is_cut_there(engine: Engine, assets: Assets) -> None:
    name = assets.add(png(NOISE))
    nodes = [sprite("s", name, 20, 20, x_m=9, y_m=-8, yaw_deg=30)]
    small = image(engine.render(task(sprite_scene(nodes, 16), 16, 16), assets))
    large = image(engine.render(task(sprite_scene(nodes, 64), 64, 64), assets))
    np.testing.assert_allclose(small, large[24:40, 24:40], atol=EXACT)
    assert small.max() > 0.1


def test_a_camera_of_any_pose_looks_along_its_own_axis(engine: Engine, assets: Assets) -> None:
    name = assets.add(png(NOISE))
    # The camera looks along +y with z up; the sprite faces it.
    scene = sprite_scene([sprite("s", name, 9, 6, x_m=2, z_m=1, roll_deg=90)], 16)
    camera = scene.nodes[-1].transform
    camera.CopyFrom(scene_pb2.Transform(y_m=-50, roll_deg=90))
    result = layers(engine.render(task(scene, 16, 16, outputs=ALL_OUTPUTS), assets))
    np.testing.assert_allclose(result[pb.OUTPUT_IMAGE_F32], blend([Placed(NOISE, 9, 6, 2, 1)], 16, 16), atol=EXACT)
    inside = result[pb.OUTPUT_INSTANCE_MASK] == 1
    np.testing.assert_allclose(result[pb.OUTPUT_NORMAL][inside], np.tile([0, -1, 0], (inside.sum(), 1)), atol=1e-6)
    np.testing.assert_allclose(result[pb.OUTPUT_DEPTH][inside], 50, atol=1e-4)


def test_a_sprite_seen_from_behind_is_mirrored(engine: Engine, assets: Assets) -> None:
    scene = sprite_scene([sprite("s", assets.add(png(NOISE)), 9, 6, pitch_deg=180)], 16)
    expected = blend([Placed(NOISE[:, ::-1], 9, 6)], 16, 16)
    np.testing.assert_allclose(image(engine.render(task(scene, 16, 16), assets)), expected, atol=EXACT)


def test_sprites_beyond_the_near_and_far_plane_are_not_seen(engine: Engine, assets: Assets) -> None:
    name = assets.add(png(WHITE))
    scene = sprite_scene([sprite("s", name, 8, 8, z_m=z) for z in (99.5, 60.0)], 16)
    scene.nodes[1].id = "far"
    scene.nodes[2].camera.near_m, scene.nodes[2].camera.far_m = 1, 30
    assert image(engine.render(task(scene, 16, 16), assets)).max() == 0


def test_u8_is_the_rounded_float_image(any_engine: Engine, assets: Assets) -> None:
    scene = sprite_scene([sprite("s", assets.add(png(NOISE)), 20, 20, yaw_deg=20)], 32)
    result = layers(any_engine.render(task(scene, 32, 32, outputs=(pb.OUTPUT_IMAGE_U8, pb.OUTPUT_IMAGE_F32)), assets))
    expected = np.rint(result[pb.OUTPUT_IMAGE_F32] * np.float32(255)).astype(np.uint8)
    np.testing.assert_array_equal(result[pb.OUTPUT_IMAGE_U8], expected)


def test_masks_depth_normals_and_boxes_of_opaque_sprites(engine: Engine, assets: Assets) -> None:
    name = assets.add(png(WHITE))
    below, above, curtain, outside = (
        sprite("below", name, 10, 6, x_m=-2, z_m=1),
        sprite("above", name, 4, 8, x_m=1, y_m=1, z_m=3),
        sprite("curtain", name, 4, 16, x_m=14, z_m=4),
        sprite("outside", name, 4, 4, x_m=100),
    )
    behind_curtain = sprite("hidden", name, 2, 2, x_m=14, z_m=2)
    curtain.class_name = ""
    above.class_name = "other"
    scene = sprite_scene([below, above, curtain, outside, behind_curtain], 32)
    result = engine.render(task(scene, 32, 32, outputs=ALL_OUTPUTS), assets)
    found = layers(result)
    # Pixels of each sprite, by hand.
    mask = np.zeros((32, 32), np.uint16)
    mask[13:19, 9:19] = 1
    mask[11:19, 15:19] = 2
    np.testing.assert_array_equal(found[pb.OUTPUT_INSTANCE_MASK], mask)
    np.testing.assert_array_equal(found[pb.OUTPUT_CLASS_MASK], np.array([0, 2, 1])[mask])
    depth = np.array([np.inf, 99, 97], np.float32)[mask]
    depth[8:24, 28:32] = 96
    np.testing.assert_array_equal(found[pb.OUTPUT_DEPTH], depth)
    np.testing.assert_array_equal(
        found[pb.OUTPUT_NORMAL], np.where(np.isinf(depth)[..., None], 0, np.array([0.0, 0.0, 1.0]))
    )
    boxes = {box.node: box for box in result.boxes}
    assert list(boxes) == ["below", "above", "outside", "hidden"]
    assert [boxes[node].visible_px for node in boxes] == [10 * 6 - 4 * 6, 32, 0, 0]

    def rectangle(box: pb.Rectangle) -> tuple[float, ...]:
        return box.x_px, box.y_px, box.width_px, box.height_px

    assert rectangle(boxes["below"].visible) == (9, 13, 6, 6)
    assert rectangle(boxes["below"].amodal) == pytest.approx((9, 13, 10, 6))
    assert rectangle(boxes["above"].visible) == (15, 11, 4, 8)
    assert not boxes["outside"].HasField("amodal")
    assert not boxes["hidden"].HasField("visible")
    assert rectangle(boxes["hidden"].amodal) == pytest.approx((29, 15, 2, 2))
    extent = boxes["below"].extent
    assert (extent.low_x_m, extent.high_x_m) == pytest.approx((-5, 5))
    assert (extent.low_y_m, extent.high_y_m) == pytest.approx((-3, 3))
    assert (extent.low_z_m, extent.high_z_m) == pytest.approx((0, 0), abs=1e-12)


def test_amodal_boxes_go_around_opaque_texels_and_end_at_the_image(engine: Engine, assets: Assets) -> None:
    texture = np.full((8, 8, 4), 100, np.uint8)  # Below one half
    texture[2:5, 1:7, 3] = 200
    scene = sprite_scene([sprite("s", assets.add(png(texture)), 8, 8, x_m=-15, y_m=3, yaw_deg=90)], 32)
    (box,) = engine.render(task(scene, 32, 32, outputs=[pb.OUTPUT_BOXES]), assets).boxes
    # Turned by 90 degrees the texels' x from -3 to 3 becomes y, and their y from -1 to 2 becomes -x.
    assert (box.amodal.x_px, box.amodal.width_px) == pytest.approx((0, 16 - 15 + 1))
    assert (box.amodal.y_px, box.amodal.height_px) == pytest.approx((16 - 3 - 3, 6))


def test_half_transparent_sprites_blend_but_stay_out_of_masks(engine: Engine, assets: Assets) -> None:
    thin, thick = WHITE.copy(), WHITE.copy()
    thin[..., 3], thick[..., 3] = 127, 128
    scene = sprite_scene(
        [sprite("thin", assets.add(png(thin)), 8, 8, x_m=-8), sprite("thick", assets.add(png(thick)), 8, 8, x_m=8)], 32
    )
    found = layers(engine.render(task(scene, 32, 32, outputs=ALL_OUTPUTS), assets))
    np.testing.assert_allclose(found[pb.OUTPUT_IMAGE_F32][16, 8], 127 / 255, atol=EXACT)
    assert not (found[pb.OUTPUT_INSTANCE_MASK] == 1).any()
    assert found[pb.OUTPUT_INSTANCE_MASK][16, 24] == 2


@pytest.mark.parametrize("kind", ["grey", "grey16", "rgb", "palette"])
def test_textures_without_an_alpha_channel_are_opaque(engine: Engine, assets: Assets, kind: str) -> None:
    grey = (np.arange(16, dtype=np.uint8) * 16).reshape(4, 4)
    if kind == "palette":
        buffer = io.BytesIO()
        Image.fromarray(grey).convert("P").save(buffer, "PNG")
        data = buffer.getvalue()
    else:
        data = png({"grey": grey, "grey16": grey.astype(np.uint16) * 257, "rgb": np.stack((grey,) * 3, axis=2)}[kind])
    scene = sprite_scene([sprite("s", assets.add(data), 4, 4)], 8)
    picture = image(engine.render(task(scene, 8, 8), assets))
    np.testing.assert_allclose(picture[2:6, 2:6], np.stack((grey,) * 3, axis=2) / 255, atol=EXACT)


def test_layers_come_in_the_order_of_the_outputs(any_engine: Engine, assets: Assets) -> None:
    scene = sprite_scene([sprite("s", assets.add(png(WHITE)), 4, 4)], 8)
    outputs = [pb.OUTPUT_DEPTH, pb.OUTPUT_BOXES, pb.OUTPUT_IMAGE_U8]
    result = any_engine.render(task(scene, 8, 8, outputs=outputs), assets)
    assert [layer.output for layer in result.layers] == [pb.OUTPUT_DEPTH, pb.OUTPUT_IMAGE_U8]
    assert result.id == "t"
    assert [box.node for box in result.boxes] == ["s"]


def test_an_asset_that_is_no_png_is_named(engine: Engine, assets: Assets) -> None:
    name = assets.add(b"not a picture")
    scene = sprite_scene([sprite("s", name, 4, 4)], 8)
    with pytest.raises(InvalidTask, match=rf"^scene.nodes\[0\].sprite.asset is {name}, which cannot be decoded"):
        engine.render(task(scene, 8, 8), assets)


def test_a_missing_asset_is_named(engine: Engine, assets: Assets) -> None:
    scene = sprite_scene([sprite("s", "ab" * 32, 4, 4)], 8)
    with pytest.raises(AssetMissing, match="^assets " + "ab" * 32 + " are missing"):
        engine.render(task(scene, 8, 8), assets)


@pytest.mark.parametrize("what", ["tilt", "perspective", "mesh", "light"])
def test_raster_names_the_engine_that_draws_the_rest(raster: Engine, assets: Assets, what: str) -> None:
    scene = sprite_scene([sprite("s", assets.add(png(WHITE)), 4, 4)], 8)
    if what == "tilt":
        scene.nodes[0].transform.roll_deg = 1
        text = r"^scene.nodes\[0\].transform of 's' is tilted out of the image plane;"
    elif what == "perspective":
        scene.nodes[1].camera.perspective.vertical_fov_deg = 50
        text = r"^scene.nodes\[1\].camera of 'camera' is a perspective camera;"
    else:
        node = scene.nodes.add(id="extra")
        if what == "mesh":
            node.mesh.primitive = scene_pb2.PRIMITIVE_CUBE
        else:
            node.light.sun.irradiance_w_m2 = 1
        text = rf"^scene.nodes\[2\].{what} of 'extra' is a {what};"
    with pytest.raises(InvalidTask, match=text + ".* use a worker with the engine blender$"):
        raster.render(task(scene, 8, 8), assets)
