"""How columns are probed: every engine's differences are those of renders of moved scenes, whatever the estimator."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from metasim.tensors import tensor_to_proto
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from support.scenes import Assets, column, difference, image, png, sprite, sprite_scene, task

from render_server.engines import Engine, create_engine

#: Half precision rounds differences of at most 1 by up to 2**-12; coordinates add their noise.
EXACT = 4e-4
SIZE = 64
NOISE = np.random.default_rng(8).integers(0, 256, (6, 9, 4), dtype=np.uint8)

#: Node, attribute, step. The ranges of `columns` let the second go up only.
STEPS = [
    ("a", scene_pb2.ATTRIBUTE_X, 0.5),
    ("a", scene_pb2.ATTRIBUTE_YAW, 3.0),
    ("b", scene_pb2.ATTRIBUTE_SCALE, 0.1),
    ("b", scene_pb2.ATTRIBUTE_RED, 0.2),
]
CENTRAL = [(-0.5, 0.5), (0.0, 3.0), (-0.1, 0.1), (-0.2, 0.2)]
FORWARD = [(0.0, 0.5), (0.0, 3.0), (0.0, 0.1), (0.0, 0.2)]

#: Samples, filter's width, view transform.
SAMPLING = [
    (1, 0.0, pb.VIEW_TRANSFORM_RAW),
    (4, 1.0, pb.VIEW_TRANSFORM_STANDARD),
    (5, 2.0, pb.VIEW_TRANSFORM_RAW),
    (1, 0.0, pb.VIEW_TRANSFORM_STANDARD),
]


class Scene:
    """Two sprites, one over the other, and renders of them."""

    def __init__(
        self, engine: Engine, assets: Assets, sampling: tuple[int, float, int] = SAMPLING[0], **probes: object
    ) -> None:
        name = assets.add(png(NOISE))
        nodes = [sprite("a", name, 26, 8, x_m=-5, y_m=2, yaw_deg=10), sprite("b", name, 14, 12, x_m=3.4, scale=1.5)]
        for node in nodes:  # So that blobs, which add up, are not clipped.
            node.sprite.tint.CopyFrom(scene_pb2.Color(red=0.4, green=0.3, blue=0.35))
        self.nodes = nodes
        self.engine, self.assets = engine, assets
        self.samples, self.filter_width, self.view_transform = sampling
        self.probes = pb.ProbeSettings(**probes)

    def task(self, **arguments: object) -> pb.RenderTask:
        settings = {"samples": self.samples, "filter_width": self.filter_width, "view_transform": self.view_transform}
        message = task(sprite_scene(self.nodes, SIZE), SIZE, SIZE, **{**settings, **arguments})
        message.probes.CopyFrom(self.probes)
        return message

    def columns(self, **changes: object) -> list[pb.Column]:
        columns = [column(node, attribute, step) for node, attribute, step in STEPS]
        columns[1].minimum, columns[1].maximum = 10.0, 100.0
        for each in columns:
            for name, value in changes.items():
                setattr(each, name, value)
        return columns

    def render(self, **arguments: object) -> pb.RenderResult:
        return self.engine.render(self.task(**arguments), self.assets)

    def moved(self, deltas: Sequence[float], **arguments: object) -> np.ndarray:
        """The image with each attribute of STEPS changed by that much."""
        message = self.task(**arguments)
        transforms = [node.transform for node in message.scene.nodes]
        transforms[0].x_m += deltas[0]
        transforms[0].yaw_deg += deltas[1]
        transforms[1].scale += deltas[2]
        message.scene.nodes[1].sprite.tint.red += deltas[3]
        return image(self.engine.render(message, self.assets))

    def expected(self, ends: Sequence[tuple[float, float]], **arguments: object) -> list[np.ndarray]:
        """Per column, the image at the end of its step minus at its beginning."""
        places = np.eye(len(ends))
        return [
            self.moved(place * end, **arguments) - self.moved(place * begin, **arguments)
            for place, (begin, end) in zip(places, ends, strict=True)
        ]


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("kind", [pb.DIFFERENCE_CENTRAL, pb.DIFFERENCE_FORWARD])
def test_columns_are_differences_of_moved_scenes(
    any_engine: Engine, assets: Assets, sampling: tuple[int, float, int], kind: int
) -> None:
    scene = Scene(any_engine, assets, sampling, difference=kind)
    result = scene.render(columns=scene.columns())
    ends = FORWARD if kind == pb.DIFFERENCE_FORWARD else CENTRAL
    for index, expected in enumerate(scene.expected(ends)):
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(difference(result, index, SIZE, SIZE), expected, atol=EXACT)
        assert result.columns[index].span == pytest.approx(ends[index][1] - ends[index][0])


@pytest.mark.parametrize("kind", [pb.DIFFERENCE_CENTRAL, pb.DIFFERENCE_FORWARD])
def test_products_are_those_of_the_differences(any_engine: Engine, assets: Assets, kind: int) -> None:
    scene = Scene(any_engine, assets, SAMPLING[1], difference=kind)
    jacobian = scene.render(columns=scene.columns())
    differences = [difference(jacobian, index, SIZE, SIZE) for index in range(len(STEPS))]
    gradient = np.random.default_rng(4).normal(scale=1e-3, size=(SIZE, SIZE, 3)) + sum(differences)
    message = scene.task(columns=scene.columns())
    message.image_gradient.CopyFrom(tensor_to_proto(gradient.astype(np.float32)))
    result = any_engine.render(message, assets)
    assert np.array_equal(image(result), image(jacobian))
    for each, pixels in zip(result.columns, differences, strict=True):
        size = np.linalg.norm(gradient) * np.linalg.norm(pixels) / abs(each.span)
        assert each.product == pytest.approx(np.sum(gradient * pixels) / each.span, abs=1e-3 * size)
        assert not each.HasField("difference")
        assert each.ByteSize() <= 100


@pytest.mark.parametrize("kind", [pb.DIFFERENCE_CENTRAL, pb.DIFFERENCE_FORWARD])
@pytest.mark.parametrize("outputs", [(pb.OUTPUT_IMAGE_F32,), (pb.OUTPUT_INSTANCE_MASK,), ()])
def test_probes_may_take_other_samples_than_the_image(
    any_engine: Engine, assets: Assets, kind: int, outputs: Sequence[int]
) -> None:
    scene = Scene(any_engine, assets, (9, 2.0, pb.VIEW_TRANSFORM_RAW), difference=kind, samples=4)
    result = scene.render(columns=scene.columns(), outputs=outputs)
    ends = FORWARD if kind == pb.DIFFERENCE_FORWARD else CENTRAL
    for index, expected in enumerate(scene.expected(ends, samples=4)):
        np.testing.assert_allclose(difference(result, index, SIZE, SIZE), expected, atol=EXACT)
    if pb.OUTPUT_IMAGE_F32 in outputs:
        np.testing.assert_allclose(image(result), scene.moved([0, 0, 0, 0]), atol=1e-6)
    both = 2 * 4 * SIZE**2
    assert all(0 < each.samples <= both for each in result.columns)


def test_samples_are_those_of_the_renders(any_engine: Engine, assets: Assets) -> None:
    def samples(**probes: object) -> list[int]:
        scene = Scene(any_engine, assets, (4, 1.0, pb.VIEW_TRANSFORM_RAW), **probes)
        return [each.samples for each in scene.render(columns=scene.columns()).columns]

    central, forward = samples(), samples(difference=pb.DIFFERENCE_FORWARD)
    assert samples(full_frame=True) == [2 * 4 * SIZE**2, 4 * SIZE**2, 2 * 4 * SIZE**2, 2 * 4 * SIZE**2]
    assert samples(full_frame=True, samples=1)[0] == 2 * SIZE**2
    assert all(
        0 < half < whole for half, whole in zip(forward[:1] + forward[2:], central[:1] + central[2:], strict=True)
    )
    assert forward[1] == central[1]
    if any_engine.name != "fake":
        # 26 x 8 pixels, turned by 10 degrees, with half a texel more around.
        assert central[0] < 2 * 4 * 33 * 18


@pytest.mark.parametrize("sampling", SAMPLING[:3])
def test_the_whole_frame_gives_the_same_differences(
    any_engine: Engine, assets: Assets, sampling: tuple[int, float, int]
) -> None:
    regions = Scene(any_engine, assets, sampling)
    frames = Scene(any_engine, assets, sampling, full_frame=True)
    first, second = regions.render(columns=regions.columns()), frames.render(columns=frames.columns())
    for index in range(len(STEPS)):
        if any_engine.name == "blender":
            one, other = (difference(result, index, SIZE, SIZE) for result in (first, second))
            np.testing.assert_allclose(one, other, atol=EXACT)
        else:
            assert first.columns[index].difference == second.columns[index].difference
            assert first.columns[index].region == second.columns[index].region


@pytest.mark.parametrize("kind", [pb.DIFFERENCE_CENTRAL, pb.DIFFERENCE_FORWARD])
def test_audits_find_nothing_outside_of_a_flat_region(any_engine: Engine, assets: Assets, kind: int) -> None:
    scene = Scene(any_engine, assets, SAMPLING[1], difference=kind)
    plain = scene.render(columns=scene.columns())
    result = scene.render(columns=scene.columns(audit=True))
    exact = 1e-4 if any_engine.name == "blender" else 1e-6
    for index in range(len(STEPS)):
        audit = result.columns[index].audit
        assert audit.frame_norm == pytest.approx(np.linalg.norm(difference(plain, index, SIZE, SIZE)), rel=1e-3)
        assert audit.region_norm == pytest.approx(audit.frame_norm, rel=exact)
        assert audit.product == pytest.approx(audit.region_norm * audit.frame_norm, rel=exact)
        assert result.columns[index].samples == plain.columns[index].samples
    assert not plain.columns[0].HasField("audit")


def test_a_step_of_the_engines_choice_moves_the_sprite_by_half_a_pixel(any_engine: Engine, assets: Assets) -> None:
    node = sprite("s", assets.add(png(NOISE)), 14, 11, x_m=1.3, yaw_deg=20, scale=1.2)
    node.sprite.tint.CopyFrom(scene_pb2.Color(red=2.0, green=0.5, blue=0.5))
    names = ("X", "Y", "YAW", "SCALE", "WIDTH", "RED", "GREEN")
    columns = [column("s", scene_pb2.Attribute.Value(f"ATTRIBUTE_{name}"), 0) for name in names]
    # Two pixels a unit.
    result = any_engine.render(task(sprite_scene([node], SIZE / 2), SIZE, SIZE, columns=columns), assets)
    steps = dict(zip(names, (each.span / 2 for each in result.columns), strict=True))
    corner = math.hypot(7, 5.5)
    assert 2 * steps["X"] == pytest.approx(0.5, rel=1e-3)
    assert 2 * steps["Y"] == pytest.approx(0.5, rel=1e-3)
    assert 2 * 1.2 * corner * math.radians(steps["YAW"]) == pytest.approx(0.5, rel=0.01)
    assert 2 * corner * steps["SCALE"] == pytest.approx(0.5, rel=0.01)
    assert 2 * 1.2 * steps["WIDTH"] / 2 == pytest.approx(0.5, rel=0.01)
    assert steps["RED"] == pytest.approx(0.02)
    assert steps["GREEN"] == pytest.approx(0.01)


def test_every_engine_chooses_the_same_steps(raster: Engine, any_engine: Engine, assets: Assets) -> None:
    spans = []
    for engine in (raster, any_engine):
        scene = Scene(engine, assets)
        columns = [*scene.columns(step=0.0), column("camera", scene_pb2.ATTRIBUTE_FOV, 0)]
        spans.append([each.span for each in scene.render(columns=columns).columns])
    assert spans[0] == spans[1]


def test_no_columns(any_engine: Engine, assets: Assets) -> None:
    result = Scene(any_engine, assets).render()
    assert len(result.columns) == 0
    assert result.timing.renders == 1


def test_a_sprite_outside_of_the_image_costs_nothing(any_engine: Engine, assets: Assets) -> None:
    name = assets.add(png(NOISE))
    outside, behind = sprite("outside", name, 9, 6, x_m=200), sprite("behind", name, 9, 6, z_m=101)
    attributes = (scene_pb2.ATTRIBUTE_X, scene_pb2.ATTRIBUTE_YAW, scene_pb2.ATTRIBUTE_RED)
    nodes = [outside] if any_engine.name == "fake" else [outside, behind]  # Blobs have no back.
    columns = [column(node.id, attribute, 0) for node in nodes for attribute in attributes]
    for difference_kind in (pb.DIFFERENCE_CENTRAL, pb.DIFFERENCE_FORWARD):
        message = task(sprite_scene(nodes, 32), 32, 32, columns=columns)
        message.probes.difference = difference_kind
        result = any_engine.render(message, assets)
        for each in result.columns:
            assert (each.region.width_px, each.region.height_px) == (0, 0)
            assert list(each.difference.shape) == [0, 0, 3]
            assert each.samples == 0
            assert each.span > 0
        assert result.timing.renders == 1


def test_a_sprite_larger_than_the_frame(any_engine: Engine, assets: Assets) -> None:
    name = assets.add(png(NOISE))

    def at(x: float, **columns: list[pb.Column]) -> pb.RenderResult:
        node = sprite("s", name, 100, 90, x_m=x, yaw_deg=8)
        node.sprite.tint.CopyFrom(scene_pb2.Color(red=0.5, green=0.5, blue=0.5))
        return any_engine.render(task(sprite_scene([node], 32), 32, 32, **columns), assets)

    result = at(2, columns=[column("s", scene_pb2.ATTRIBUTE_X, 1)])
    np.testing.assert_allclose(difference(result, 0, 32, 32), image(at(3)) - image(at(1)), atol=EXACT)
    assert result.columns[0].samples == 2 * 32 * 32
    assert result.columns[0].region.width_px == 32


def test_a_column_does_not_depend_on_the_others(any_engine: Engine, assets: Assets) -> None:
    scene = Scene(any_engine, assets, SAMPLING[1])
    together = scene.render(columns=scene.columns())
    for index, each in enumerate(scene.columns()):
        alone = scene.render(columns=[each])
        if any_engine.name == "blender":  # Its tile lies at another place of the atlas, which rounds differently.
            one, other = difference(alone, 0, SIZE, SIZE), difference(together, index, SIZE, SIZE)
            np.testing.assert_allclose(one, other, atol=EXACT)
        else:
            assert alone.columns[0].SerializeToString() == together.columns[index].SerializeToString()


@pytest.mark.parametrize("name", ["raster", "fake"])
def test_a_thousand_sprites_with_three_columns_each(name: str, assets: Assets) -> None:
    engine, rng = create_engine(name), np.random.default_rng(5)
    texture = assets.add(png(NOISE))
    nodes = [
        sprite(f"s{k}", texture, 5, 4, x_m=x, y_m=y, z_m=z, yaw_deg=yaw)
        for k, (x, y, z, yaw) in enumerate(rng.uniform((-34, -34, 0, 0), (34, 34, 50, 360), (1000, 4)))
    ]
    for node in nodes:
        node.sprite.tint.CopyFrom(scene_pb2.Color(red=0.03, green=0.02, blue=0.03))
    attributes = (scene_pb2.ATTRIBUTE_X, scene_pb2.ATTRIBUTE_Y, scene_pb2.ATTRIBUTE_YAW)
    columns = [column(node.id, attribute, 0.5) for node in nodes for attribute in attributes]
    result = engine.render(task(sprite_scene(nodes, SIZE), SIZE, SIZE, columns=columns), assets)
    assert 3000 < result.timing.renders <= 6001
    for index in (0, 1501, 2999):
        sides = []
        for sign in (1, -1):
            message = task(sprite_scene(nodes, SIZE), SIZE, SIZE)
            transform = message.scene.nodes[index // 3].transform
            field = ("x_m", "y_m", "yaw_deg")[index % 3]
            setattr(transform, field, getattr(transform, field) + sign * 0.5)
            sides.append(image(engine.render(message, assets)))
        np.testing.assert_allclose(difference(result, index, SIZE, SIZE), sides[0] - sides[1], atol=EXACT)
