"""Which values columns are probed at, and how differences travel."""

import math

import numpy as np
import pytest
from metasim.tensors import tensor_from_proto
from metasim.v1 import scene_pb2 as pb
from support.scenes import column, sprite, sprite_scene

from render_server.errors import InvalidTask
from render_server.probes import column_result, plan_probes
from render_server.scene_graph import SceneGraph


def graph(**transform: float) -> SceneGraph:
    return SceneGraph(sprite_scene([sprite("s", "", 4, 4, **transform)], 8))


@pytest.mark.parametrize(
    ("attribute", "value", "step", "bounds", "lower", "upper"),
    [
        ("x_m", 1.0, 0.5, {}, 0.5, 1.5),
        ("x_m", 1.0, 0.5, {"minimum": 0.5, "maximum": 1.5}, 0.5, 1.5),
        ("x_m", 1.0, 0.5, {"minimum": 0.6}, None, 1.5),
        ("x_m", 1.0, 0.5, {"maximum": 1.4}, 0.5, None),
        ("scale", 0.1, 0.1, {}, None, 0.2),  # 0 is excluded
        ("yaw_deg", 359.0, 2.0, {}, 357.0, 361.0),
        ("yaw_deg", 359.0, 2.0, {"minimum": 0.0, "maximum": 360.0}, 357.0, 361.0),  # A full circle has no ends
        ("yaw_deg", 359.0, 2.0, {"minimum": -10.0, "maximum": 10.0}, 357.0, 361.0),  # 359 is -1
        ("yaw_deg", 369.0, 2.0, {"minimum": -10.0, "maximum": 10.0}, 367.0, None),
        ("yaw_deg", -179.0, 2.0, {"minimum": 0.0, "maximum": 181.5}, -181.0, None),
    ],
)
def test_steps(
    attribute: str, value: float, step: float, bounds: dict[str, float], lower: float | None, upper: float | None
) -> None:
    number = {"x_m": pb.ATTRIBUTE_X, "scale": pb.ATTRIBUTE_SCALE, "yaw_deg": pb.ATTRIBUTE_YAW}[attribute]
    (probe,) = plan_probes(graph(**{attribute: value}), [column("s", number, step, **bounds)])
    assert (probe.lower, probe.upper) == (lower, upper)
    assert probe.span == pytest.approx((value if upper is None else upper) - (value if lower is None else lower))


def test_a_colour_at_zero_is_stepped_upwards() -> None:
    (probe,) = plan_probes(graph().with_value(0, pb.ATTRIBUTE_RED, 0.0), [column("s", pb.ATTRIBUTE_RED, 0.1)])
    assert (probe.lower, probe.upper, probe.span) == (None, 0.1, 0.1)


@pytest.mark.parametrize(
    ("probed", "text"),
    [
        (("t", pb.ATTRIBUTE_X, 1.0), r"columns\[0\].node is 't'; it must be the id of a node of the scene"),
        (("s", pb.ATTRIBUTE_FOV, 1.0), r"columns\[0\].attribute is ATTRIBUTE_FOV; node 's' has .*ATTRIBUTE_BLUE"),
        (("s", pb.ATTRIBUTE_X, 0.0), r"columns\[0\].step is 0.0; it must be finite and > 0"),
        (("s", pb.ATTRIBUTE_X, math.inf), r"columns\[0\].step is inf; it must be finite and > 0"),
        (("s", pb.ATTRIBUTE_X, 1e-20), r"columns\[0\].step is 1e-20; it must be large enough to change the value 3"),
    ],
)
def test_bad_columns(probed: tuple[str, int, float], text: str) -> None:
    with pytest.raises(InvalidTask, match=f"^{text}$"):
        plan_probes(graph(x_m=3), [column(*probed)])


def test_a_value_outside_the_columns_range() -> None:
    text = r"^columns\[0\]: x of node 's' is 3; it must lie in the column's range \[-1, 2\]$"
    with pytest.raises(InvalidTask, match=text):
        plan_probes(graph(x_m=3), [column("s", pb.ATTRIBUTE_X, 0.1, minimum=-1.0, maximum=2.0)])


def test_a_step_that_fits_on_neither_side() -> None:
    text = r"^columns\[0\].step is 5; a step from 3 to one side at least must stay in \[0, 4\]$"
    with pytest.raises(InvalidTask, match=text):
        plan_probes(graph(x_m=3), [column("s", pb.ATTRIBUTE_X, 5.0, minimum=0.0, maximum=4.0)])


def test_differences_are_trimmed_to_what_changed() -> None:
    difference = np.zeros((6, 8, 3), np.float32)
    difference[2, 3, 1], difference[4, 6, 2] = 0.5, -0.25
    result = column_result(difference, 2.0, left_px=10, top_px=20)
    region = result.region
    assert (region.x_px, region.y_px, region.width_px, region.height_px) == (13, 22, 4, 3)
    part = tensor_from_proto(result.difference)
    assert part.dtype == np.float16
    np.testing.assert_array_equal(part, difference[2:5, 3:7])
    assert result.span == 2.0


@pytest.mark.parametrize("value", [0.0, 1e-9])
def test_a_difference_that_half_precision_cannot_hold_is_none(value: float) -> None:
    result = column_result(np.full((3, 3, 3), value, np.float32), 1.0)
    assert (result.region.width_px, result.region.height_px) == (0, 0)
    assert tensor_from_proto(result.difference).shape == (0, 0, 3)
