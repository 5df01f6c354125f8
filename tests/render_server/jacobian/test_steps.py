"""Steps of the worker's choice move projections by half a pixel."""

import numpy as np
import pytest
from metasim.v1 import scene_pb2
from support.scenes import sprite, sprite_scene

from render_server.jacobian.steps import half_pixel_steps
from render_server.scene.extent import content_extent
from render_server.scene.geometry import camera_view
from render_server.scene.scene_graph import SceneGraph

#: 4 px per unit
PIXELS = 32


def step(graph: SceneGraph, node: int, attribute: int) -> float:
    return half_pixel_steps(graph, camera_view(graph, PIXELS, PIXELS), content_extent)(node, attribute)


def flat(**transform: float) -> SceneGraph:
    return SceneGraph(sprite_scene([sprite("s", "", 4, 2, **transform)], 8))


def in_depth(depth: float) -> SceneGraph:
    """A cube of edge 1 before a camera at the origin that looks along +y, 16 px for a slope of 1."""
    camera = scene_pb2.Camera(perspective=scene_pb2.Perspective(vertical_fov_deg=90))
    mesh = scene_pb2.Mesh(primitive=scene_pb2.PRIMITIVE_CUBE)
    nodes = [
        scene_pb2.Node(id="cube", transform=scene_pb2.Transform(y_m=depth), mesh=mesh),
        scene_pb2.Node(id="camera", transform=scene_pb2.Transform(roll_deg=90), camera=camera),
    ]
    return SceneGraph(scene_pb2.Scene(nodes=nodes))


def test_flat_motion() -> None:
    assert step(flat(), 0, scene_pb2.ATTRIBUTE_X) == pytest.approx(0.5 / 4)
    # The corners lie sqrt(5) units from the middle, 4 px each.
    assert step(flat(), 0, scene_pb2.ATTRIBUTE_YAW) == pytest.approx(np.degrees(0.5 / (4 * 5**0.5)), rel=1e-3)
    assert step(flat(), 0, scene_pb2.ATTRIBUTE_SCALE) == pytest.approx(0.5 / (4 * 5**0.5), rel=1e-3)
    assert step(flat(scale=2.0), 0, scene_pb2.ATTRIBUTE_X) == pytest.approx(0.5 / 4)
    # A width of w moves the edges by half of its change.
    assert step(flat(), 0, scene_pb2.ATTRIBUTE_WIDTH) == pytest.approx(2 * 0.5 / 4)


@pytest.mark.parametrize("depth", [5.0, 10.0, 40.0])
def test_motion_in_depth(depth: float) -> None:
    nearest = depth - 0.5
    assert step(in_depth(depth), 0, scene_pb2.ATTRIBUTE_X) == pytest.approx(0.5 * nearest / 16, rel=1e-2)
    # Away from the camera, the near corners at a slope of 0.5 / nearest to both sides move by 16 * 0.5 / nearest^2.
    speed = 16 * np.hypot(0.5, 0.5) / nearest**2
    assert step(in_depth(depth), 0, scene_pb2.ATTRIBUTE_Y) == pytest.approx(0.5 / speed, rel=1e-2)


def test_angles_have_a_longest_step() -> None:
    assert step(in_depth(300.0), 0, scene_pb2.ATTRIBUTE_YAW) == 5.0


def test_a_camera_moves_what_it_sees() -> None:
    # A cube of 1 m at 20 m: its near corners move by 16 / 19.5 px per metre, and by a little more if the camera turns.
    graph = in_depth(20.0)
    assert step(graph, 1, scene_pb2.ATTRIBUTE_X) == pytest.approx(0.5 * 19.5 / 16, rel=1e-2)
    assert step(graph, 1, scene_pb2.ATTRIBUTE_YAW) == pytest.approx(np.degrees(0.5 / 16), rel=2e-2)


@pytest.mark.parametrize(
    ("graph", "node", "attribute", "expected"),
    [
        (flat(), 0, scene_pb2.ATTRIBUTE_RED, 0.01),  # Colours move nothing
        (flat(x_m=500), 0, scene_pb2.ATTRIBUTE_YAW, 1.0),  # Neither does what lies outside of the image,
        (flat(x_m=500), 0, scene_pb2.ATTRIBUTE_X, 5.0),
        (in_depth(-5.0), 0, scene_pb2.ATTRIBUTE_X, 0.01),  # nor what lies behind the camera
    ],
)
def test_what_moves_nothing(graph: SceneGraph, node: int, attribute: int, expected: float) -> None:
    assert step(graph, node, attribute) == pytest.approx(expected)
