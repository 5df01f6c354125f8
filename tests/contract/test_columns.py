"""Columns of the Jacobian: every engine's differences are those of render.proto."""

import numpy as np
import pytest
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from support.reference import Placed, blend
from support.scenes import Assets, column, difference, frame, image, png, sprite, sprite_scene, task

from render_server.engines import Engine
from render_server.errors import InvalidTask

#: Half precision rounds differences of at most 1 by up to 2**-12; coordinates add their noise.
EXACT = 4e-4

NOISE = np.random.default_rng(8).integers(0, 256, (6, 9, 4), dtype=np.uint8)

#: Attribute, step, and the reference's sprite at a value.
BASE = {"width": 14.0, "height": 11.0, "x": 1.3, "y": -2.4, "yaw_deg": 20.0}
CASES = [
    (scene_pb2.ATTRIBUTE_X, 0.5, "x"),
    (scene_pb2.ATTRIBUTE_Y, 0.5, "y"),
    (scene_pb2.ATTRIBUTE_YAW, 3.0, "yaw_deg"),
    (scene_pb2.ATTRIBUTE_WIDTH, 0.7, "width"),
    (scene_pb2.ATTRIBUTE_HEIGHT, 0.7, "height"),
]


def placed(**changes: float) -> Placed:
    return Placed(NOISE, **{**BASE, **changes})


def node(assets: Assets) -> scene_pb2.Node:
    return sprite("s", assets.add(png(NOISE)), 14, 11, x_m=1.3, y_m=-2.4, yaw_deg=20)


@pytest.mark.parametrize(("attribute", "step", "field"), CASES)
def test_a_column_is_the_central_difference(
    engine: Engine, assets: Assets, attribute: int, step: float, field: str
) -> None:
    message = task(sprite_scene([node(assets)], 32), 30, 32, columns=[column("s", attribute, step)])
    result = engine.render(message, assets)
    expected = blend([placed(**{field: BASE[field] + step})], 30, 32) - blend(
        [placed(**{field: BASE[field] - step})], 30, 32
    )
    np.testing.assert_allclose(difference(result, 0, 30, 32), expected, atol=EXACT)
    assert result.columns[0].span == pytest.approx(2 * step, rel=1e-12)


def test_scale_and_colour_columns(engine: Engine, assets: Assets) -> None:
    columns = [column("s", scene_pb2.ATTRIBUTE_SCALE, 0.1), column("s", scene_pb2.ATTRIBUTE_GREEN, 0.25)]
    result = engine.render(task(sprite_scene([node(assets)], 32), 30, 32, columns=columns), assets)
    larger, smaller = (blend([placed(width=14 * scale, height=11 * scale)], 30, 32) for scale in (1.1, 0.9))
    np.testing.assert_allclose(difference(result, 0, 30, 32), larger - smaller, atol=EXACT)
    # The image is clipped to 1 and so is its derivative, but premultiplied texels times 1.25 rarely get there.
    brighter, darker = (blend([Placed(NOISE, **BASE, tint=(1, green, 1))], 30, 32) for green in (1.25, 0.75))
    np.testing.assert_allclose(difference(result, 1, 30, 32), brighter - darker, atol=EXACT)


def test_moving_a_parent_moves_its_children(any_engine: Engine, assets: Assets) -> None:
    child = sprite("s", assets.add(png(NOISE)), 9, 6, x_m=6)
    child.parent = "arm"

    def at(yaw: float, **columns: list[pb.Column]) -> pb.RenderResult:
        scene = sprite_scene([frame("arm", x_m=-1, yaw_deg=yaw), child], 32)
        return any_engine.render(task(scene, 32, 32, **columns), assets)

    result = at(30, columns=[column("arm", scene_pb2.ATTRIBUTE_YAW, 4)])
    expected = image(at(34)) - image(at(26))
    np.testing.assert_allclose(difference(result, 0, 32, 32), expected, atol=EXACT)
    assert np.abs(expected).max() > 0.1


def test_the_unmoved_scene_around_does_not_enter_a_column(engine: Engine, assets: Assets) -> None:
    name = assets.add(png(NOISE))
    scene = sprite_scene(
        [
            sprite("back", name, 60, 60, z_m=-1),
            sprite("s", name, 6, 4, x_m=8, y_m=8),
            sprite("other", name, 9, 9, x_m=-8),
        ],
        32,
    )
    result = engine.render(task(scene, 32, 32, columns=[column("s", scene_pb2.ATTRIBUTE_X, 0.5)]), assets)
    region = result.columns[0].region
    # The sprite covers x 21 to 27 and y 6 to 10; add half a step and half a texel to each side.
    assert region.x_px >= 19
    assert region.x_px + region.width_px <= 29
    assert region.y_px >= 4
    assert region.y_px + region.height_px <= 12


def test_sprites_that_reach_beyond_the_frame_do_not_leak_into_other_tiles(engine: Engine, assets: Assets) -> None:
    name = assets.add(png(NOISE))
    nodes = [sprite("s", name, 40, 36, x_m=12, y_m=-9, yaw_deg=25), sprite("edge", name, 8, 8, x_m=-8, y_m=8, z_m=1)]
    columns = [column(n, a, s) for n in ("s", "edge") for a, s, _ in CASES[:3]]
    result = engine.render(task(sprite_scene(nodes, 16), 16, 16, columns=columns), assets)
    back = {"width": 40, "height": 36, "x": 12, "y": -9, "yaw_deg": 25}
    front = {"width": 8, "height": 8, "x": -8, "y": 8, "yaw_deg": 0}
    np.testing.assert_allclose(
        image(result), blend([Placed(NOISE, **back), Placed(NOISE, **front)], 16, 16), atol=EXACT
    )
    for index, (moved, (_, step, field)) in enumerate((m, c) for m in (0, 1) for c in CASES[:3]):
        sides = []
        for sign in (1, -1):
            both = [dict(back), dict(front)]
            both[moved][field] += sign * step
            sides.append(blend([Placed(NOISE, **values) for values in both], 16, 16))
        np.testing.assert_allclose(difference(result, index, 16, 16), sides[0] - sides[1], atol=EXACT)


def test_depth_and_camera_columns(engine: Engine, assets: Assets) -> None:
    name = assets.add(png(np.full((4, 4, 3), 255, np.uint8)))
    red = sprite("red", name, 8, 8, z_m=1.0)
    red.sprite.tint.red = 1
    green = sprite("green", name, 8, 8, z_m=1.5)
    green.sprite.tint.green = 1
    columns = [column("red", scene_pb2.ATTRIBUTE_Z, 1), column("camera", scene_pb2.ATTRIBUTE_X, 1)]
    result = engine.render(task(sprite_scene([red, green], 16), 16, 16, columns=columns), assets)
    passing = difference(result, 0, 16, 16)
    np.testing.assert_allclose(passing[8, 8], (1, -1, 0), atol=EXACT)
    moving = difference(result, 1, 16, 16)
    # Texels are two pixels wide: half a texel fades out at each edge, from 1/4 through 3/4 to 1.
    np.testing.assert_allclose(
        moving[8, 2:14, 1], [0.25, 0.75, 0.75, 0.25, 0, 0, 0, 0, -0.25, -0.75, -0.75, -0.25], atol=EXACT
    )


@pytest.mark.parametrize(
    ("value", "bounds", "expected"),
    [
        (2.0, {"minimum": 2.0, "maximum": 9.0}, (2.0, 3.0)),
        (9.0, {"minimum": 2.0, "maximum": 9.0}, (8.0, 9.0)),
        (8.5, {"maximum": 9.0}, (7.5, 8.5)),
        (5.0, {"minimum": 2.0, "maximum": 9.0}, (4.0, 6.0)),
    ],
)
def test_steps_do_not_leave_the_attributes_range(
    any_engine: Engine, assets: Assets, value: float, bounds: dict[str, float], expected: tuple[float, float]
) -> None:
    name = assets.add(png(NOISE))

    def at(x: float, **columns: list[pb.Column]) -> pb.RenderResult:
        return any_engine.render(task(sprite_scene([sprite("s", name, 9, 6, x_m=x)], 32), 32, 32, **columns), assets)

    result = at(value, columns=[column("s", scene_pb2.ATTRIBUTE_X, 1.0, **bounds)])
    lower, upper = expected
    assert result.columns[0].span == upper - lower
    np.testing.assert_allclose(difference(result, 0, 32, 32), image(at(upper)) - image(at(lower)), atol=EXACT)


def test_a_column_that_changes_no_pixel_is_empty(engine: Engine, assets: Assets) -> None:
    scene = sprite_scene([sprite("s", assets.add(png(NOISE)), 4, 4, x_m=100)], 16)
    columns = [column("s", scene_pb2.ATTRIBUTE_X, 1), column("s", scene_pb2.ATTRIBUTE_Z, 1)]
    for result in engine.render(task(scene, 16, 16, columns=columns), assets).columns:
        assert (result.region.width_px, result.region.height_px) == (0, 0)
        assert list(result.difference.shape) == [0, 0, 3]
        assert result.span == 2


def test_many_columns_fill_several_atlases(engine: Engine, assets: Assets, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [column("s", attribute, step) for attribute, step, _ in CASES]
    message = task(sprite_scene([node(assets)], 32), 30, 32, columns=columns)
    whole = engine.render(message, assets)
    if engine.name == "blender":
        monkeypatch.setattr("render_server.engines.blender.atlas.MAX_EDGE_PX", 64)
    parts = engine.render(message, assets)
    for index in range(len(columns)):
        np.testing.assert_allclose(difference(parts, index, 30, 32), difference(whole, index, 30, 32), atol=EXACT)


def test_columns_alone_may_be_asked_for(any_engine: Engine, assets: Assets) -> None:
    message = task(
        sprite_scene([node(assets)], 32), 32, 32, outputs=(), columns=[column("s", scene_pb2.ATTRIBUTE_X, 0.5)]
    )
    result = any_engine.render(message, assets)
    assert len(result.layers) == 0
    assert result.columns[0].region.width_px > 5
    assert result.timing.renders == 2


def test_a_bad_column_is_named(any_engine: Engine, assets: Assets) -> None:
    message = task(sprite_scene([node(assets)], 32), 32, 32, columns=[column("s", scene_pb2.ATTRIBUTE_FOV, 1)])
    with pytest.raises(InvalidTask, match=r"^columns\[0\].attribute is ATTRIBUTE_FOV; node 's' has ATTRIBUTE_X, "):
        any_engine.render(message, assets)
