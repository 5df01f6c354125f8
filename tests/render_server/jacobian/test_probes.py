"""Which scenes are rendered for columns."""

import math

import pytest
from metasim.v1 import render_pb2
from metasim.v1 import scene_pb2 as pb
from support.scenes import column, sprite, sprite_scene

from render_server.errors import InvalidTask
from render_server.jacobian.probes import Probe, check_columns, plan_probes
from render_server.scene.scene_graph import SceneGraph

CENTRAL = render_pb2.DIFFERENCE_CENTRAL
FORWARD = render_pb2.DIFFERENCE_FORWARD


def graph(**transform: float) -> SceneGraph:
    return SceneGraph(sprite_scene([sprite("s", "", 4, 4, **transform)], 8))


def planned(
    scene: SceneGraph, *columns: render_pb2.Column, difference: int = CENTRAL, rule: float = math.nan
) -> list[Probe]:
    task = render_pb2.RenderTask(columns=columns, probes=render_pb2.ProbeSettings(difference=difference))
    return plan_probes(scene, task, lambda *_: rule)


def ends(probe: Probe, attribute: int) -> tuple[float | None, float | None]:
    begin, end = (None if side is None else side.value(0, attribute) for side in probe.sides)
    return begin, end


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
    (probe,) = planned(graph(**{attribute: value}), column("s", number, step, **bounds))
    assert ends(probe, number) == (lower, upper)
    span = (value if upper is None else upper) - (value if lower is None else lower)
    assert probe.span == pytest.approx(span)
    forward_end = lower if upper is None else upper
    (forward,) = planned(graph(**{attribute: value}), column("s", number, step, **bounds), difference=FORWARD)
    assert ends(forward, number) == (None, forward_end)
    assert forward.span == pytest.approx(forward_end - value)


def test_a_colour_at_zero_is_stepped_upwards() -> None:
    (probe,) = planned(graph().with_value(0, pb.ATTRIBUTE_RED, 0.0), column("s", pb.ATTRIBUTE_RED, 0.1))
    assert ends(probe, pb.ATTRIBUTE_RED) == (None, 0.1)
    assert probe.span == 0.1


@pytest.mark.parametrize(
    ("bounds", "lower", "upper"),
    [
        ({}, 2.8, 3.2),
        ({"minimum": 2.9}, None, 3.2),
        ({"minimum": 2.9, "maximum": 3.1}, 2.99, 3.01),  # At most a twentieth of the range
        ({"minimum": 3.0, "maximum": 3.1}, None, 3.005),
        ({"maximum": 3.0}, 2.8, None),
    ],
)
def test_a_step_of_the_workers_choice_is_made_to_fit(
    bounds: dict[str, float], lower: float | None, upper: float | None
) -> None:
    (probe,) = planned(graph(x_m=3), column("s", pb.ATTRIBUTE_X, 0.0, **bounds), rule=0.2)
    assert ends(probe, pb.ATTRIBUTE_X) == (
        None if lower is None else pytest.approx(lower),
        None if upper is None else pytest.approx(upper),
    )


@pytest.mark.parametrize(
    ("probed", "text"),
    [
        (("t", pb.ATTRIBUTE_X, 1.0), r"columns\[0\].node is 't'; it must be the id of a node of the scene"),
        (("s", pb.ATTRIBUTE_FOV, 1.0), r"columns\[0\].attribute is ATTRIBUTE_FOV; node 's' has .*ATTRIBUTE_BLUE"),
        (
            ("s", pb.ATTRIBUTE_X, -1.0),
            r"columns\[0\].step is -1.0; it must be finite and >= 0; 0 leaves it to the worker",
        ),
        (("s", pb.ATTRIBUTE_X, math.inf), r"columns\[0\].step is inf; it must be finite and >= 0; 0 leaves it .*"),
        (("s", pb.ATTRIBUTE_X, 1e-20), r"columns\[0\].step is 1e-20; it must be large enough to change the value 3"),
    ],
)
def test_bad_columns(probed: tuple[str, int, float], text: str) -> None:
    with pytest.raises(InvalidTask, match=f"^{text}$"):
        planned(graph(x_m=3), column(*probed))


def test_a_value_outside_the_columns_range() -> None:
    text = r"^columns\[0\]: x of node 's' is 3; it must lie in the column's range \[-1, 2\]$"
    with pytest.raises(InvalidTask, match=text):
        check_columns(graph(x_m=3), [column("s", pb.ATTRIBUTE_X, 0.1, minimum=-1.0, maximum=2.0)])


def test_a_range_without_room() -> None:
    text = r"^columns\[0\].maximum is 3; it must lie above the minimum$"
    with pytest.raises(InvalidTask, match=text):
        check_columns(graph(x_m=3), [column("s", pb.ATTRIBUTE_X, 0.0, minimum=3.0, maximum=3.0)])


def test_a_step_that_fits_on_neither_side() -> None:
    text = r"^columns\[0\].step is 5; a step from 3 to one side at least must stay in \[0, 4\]$"
    with pytest.raises(InvalidTask, match=text):
        check_columns(graph(x_m=3), [column("s", pb.ATTRIBUTE_X, 5.0, minimum=0.0, maximum=4.0)])
