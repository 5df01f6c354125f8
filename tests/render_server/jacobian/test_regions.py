"""Windows of probes hold all that can change, and little more."""

import numpy as np
import pytest
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from render_server.jacobian.probes import Probe, plan_probes
from render_server.jacobian.regions import NOWHERE, ChangedRegions, Window, union
from render_server.scene.extent import Extent, content_extent
from render_server.scene.geometry import camera_view
from render_server.scene.scene_graph import SceneGraph

WIDTH, HEIGHT = 200, 100


def cube(node_id: str, parent: str = "", **transform: float) -> scene_pb2.Node:
    mesh = scene_pb2.Mesh(primitive=scene_pb2.PRIMITIVE_CUBE)
    return scene_pb2.Node(id=node_id, parent=parent, transform=scene_pb2.Transform(**transform), mesh=mesh)


def sun(**transform: float) -> scene_pb2.Node:
    light = scene_pb2.Light(sun=scene_pb2.SunLight(irradiance_w_m2=1.0))
    return scene_pb2.Node(id="sun", transform=scene_pb2.Transform(**transform), light=light)


def ground() -> scene_pb2.Node:
    mesh = scene_pb2.Mesh(primitive=scene_pb2.PRIMITIVE_PLANE, size_x=100, size_y=100)
    return scene_pb2.Node(id="ground", mesh=mesh)


def from_above(*nodes: scene_pb2.Node) -> SceneGraph:
    """20 x 10 m seen from above at 10 px per metre; the origin is the image's centre."""
    camera = scene_pb2.Camera(orthographic=scene_pb2.Orthographic(height_m=10))
    view = scene_pb2.Node(id="camera", transform=scene_pb2.Transform(z_m=50), camera=camera)
    return SceneGraph(scene_pb2.Scene(nodes=[view, *nodes]))


def from_the_side(*nodes: scene_pb2.Node) -> SceneGraph:
    """In perspective along +y from the origin, 45 degrees up and down."""
    camera = scene_pb2.Camera(perspective=scene_pb2.Perspective(vertical_fov_deg=90))
    view = scene_pb2.Node(id="camera", transform=scene_pb2.Transform(roll_deg=90), camera=camera)
    return SceneGraph(scene_pb2.Scene(nodes=[view, *nodes]))


def probe(graph: SceneGraph, node: str, attribute: int, step: float) -> Probe:
    task = pb.RenderTask(columns=[pb.Column(node=node, attribute=attribute, step=step)])
    return plan_probes(graph, task, lambda *_: step)[0]


def window(graph: SceneGraph, node: str, attribute: int, step: float, **options: float) -> Window:
    regions = ChangedRegions(graph, camera_view(graph, WIDTH, HEIGHT), content_extent, **options)
    return regions.of(probe(graph, node, attribute, step))


def test_it_holds_the_object_before_and_after_the_step() -> None:
    graph = from_above(cube("cube", x_m=2, y_m=1))
    # x from 1.3 to 2.7 m, y from 0.5 to 1.5 m.
    assert window(graph, "cube", scene_pb2.ATTRIBUTE_X, 0.2) == Window(113, 35, 127, 45)
    assert window(graph, "cube", scene_pb2.ATTRIBUTE_X, 0.2, reach_px=0.5) == Window(112, 34, 128, 46)


def test_it_holds_what_hangs_below_the_object() -> None:
    graph = from_above(cube("cube", x_m=2), cube("rider", "cube", x_m=3))
    assert window(graph, "cube", scene_pb2.ATTRIBUTE_X, 0.2) == Window(113, 45, 157, 55)
    assert window(graph, "rider", scene_pb2.ATTRIBUTE_X, 0.2) == Window(143, 45, 157, 55)


def test_it_holds_the_shadow_on_the_ground() -> None:
    # The sun shines along (1, 0, -1): the top of a cube that stands on the ground is shown 1 m farther along x.
    graph = from_above(ground(), sun(pitch_deg=-45), cube("cube", z_m=0.5))
    assert window(graph, "cube", scene_pb2.ATTRIBUTE_X, 0.2) == Window(93, 45, 117, 55)
    # 2 m above the ground its shadow lies 1.5 to 2.5 m beside it.
    high = from_above(ground(), sun(pitch_deg=-45), cube("cube", z_m=2.0))
    assert window(high, "cube", scene_pb2.ATTRIBUTE_X, 0.2).right == 132


def test_a_wide_sun_widens_the_shadow() -> None:
    def right(angle_deg: float) -> int:
        lamp = sun(pitch_deg=-45)
        lamp.light.sun.angle_deg = angle_deg
        return window(from_above(ground(), lamp, cube("cube", z_m=2.0)), "cube", scene_pb2.ATTRIBUTE_X, 0.2).right

    assert right(0.0) < right(5.0) < right(20.0)


def test_a_shadow_that_leaves_the_lit_box_by_several_sides_is_not_cut_short() -> None:
    # The sun is low; the cube stands at the edge of a small plate, so that some rays miss the plate.
    plate = scene_pb2.Mesh(primitive=scene_pb2.PRIMITIVE_PLANE, size_x=3, size_y=3)
    graph = from_above(scene_pb2.Node(id="plate", mesh=plate), sun(pitch_deg=-80), cube("cube", x_m=1.4, z_m=0.5))
    assert window(graph, "cube", scene_pb2.ATTRIBUTE_X, 0.1).right >= 100 + 19


@pytest.mark.parametrize("kind", ["point", "area", "mesh"])
def test_shadows_of_near_lamps_spread(kind: str) -> None:
    lamp = cube("lamp", scale=0.01)
    if kind == "mesh":
        lamp.mesh.material.emission = 10.0
    else:
        lamp.light.CopyFrom(scene_pb2.Light(**{kind: {"power_w": 10.0}}))
        lamp.transform.scale = 1.0
    if kind == "area":
        lamp.light.area.edge_m = 0.01
    lamp.transform.z_m = 2.0
    found = window(from_above(ground(), lamp, cube("cube", z_m=0.5)), "cube", scene_pb2.ATTRIBUTE_YAW, 0.01)
    # The cube's top, 1 m above the ground and 1 m below the lamp, throws a shadow of twice its size.
    assert (found.left, found.right) == (pytest.approx(90, abs=1), pytest.approx(110, abs=1))
    lamp.transform.z_m = 0.9
    inside = from_above(ground(), lamp, cube("cube", z_m=0.5))
    assert window(inside, "cube", scene_pb2.ATTRIBUTE_YAW, 0.01) == Window(0, 0, WIDTH, HEIGHT)


def test_without_lamps_the_sky_is_dimmed_around_the_object() -> None:
    graph = from_above(ground(), cube("cube", z_m=0.5))
    assert window(graph, "cube", scene_pb2.ATTRIBUTE_X, 0.2) == Window(93, 45, 107, 55)
    assert window(graph, "cube", scene_pb2.ATTRIBUTE_X, 0.2, sky=True) == Window(90, 42, 110, 58)


@pytest.mark.parametrize(
    ("node", "attribute"),
    [
        ("camera", scene_pb2.ATTRIBUTE_X),
        ("camera", scene_pb2.ATTRIBUTE_FOV),
        ("sun", scene_pb2.ATTRIBUTE_INTENSITY),
        ("sun", scene_pb2.ATTRIBUTE_YAW),
        ("ground", scene_pb2.ATTRIBUTE_RED),
        ("lamp", scene_pb2.ATTRIBUTE_X),  # It glows and lights the ground.
    ],
)
def test_cameras_lamps_and_grounds_change_the_whole_frame(node: str, attribute: int) -> None:
    lamp = cube("lamp", z_m=3)
    lamp.mesh.material.emission = 1.0
    graph = from_above(ground(), sun(), lamp)
    assert window(graph, node, attribute, 0.1) == Window(0, 0, WIDTH, HEIGHT)


def test_what_glows_where_nothing_reflects_is_a_region() -> None:
    lamp = cube("lamp", z_m=3)
    lamp.mesh.material.emission = 1.0
    assert window(from_above(lamp), "lamp", scene_pb2.ATTRIBUTE_X, 0.2) == Window(93, 45, 107, 55)


def test_what_cannot_be_seen_is_not_rendered() -> None:
    behind = from_the_side(cube("cube", y_m=-5))
    assert window(behind, "cube", scene_pb2.ATTRIBUTE_X, 0.2) == NOWHERE
    beside = from_the_side(cube("cube", x_m=100, y_m=5))
    assert window(beside, "cube", scene_pb2.ATTRIBUTE_X, 0.2) == NOWHERE


def test_an_object_around_the_camera_is_the_whole_frame() -> None:
    graph = from_the_side(cube("room", scale=20))
    assert window(graph, "room", scene_pb2.ATTRIBUTE_X, 0.2) == Window(0, 0, WIDTH, HEIGHT)


def test_an_object_that_crosses_the_near_plane_is_cut_there() -> None:
    # A bar along y through the image plane, to the right of the camera: it goes out of the image at the right.
    bar = cube("bar", x_m=1)
    bar.mesh.size_x = bar.mesh.size_z = 0.2
    bar.mesh.size_y = 40
    found = window(from_the_side(bar), "bar", scene_pb2.ATTRIBUTE_Z, 0.01)
    # Its far end lies 20 m away: 0.9 m to the right there is 100 + 50 * 0.9 / 20 px.
    assert (found.left, found.right) == (102, WIDTH)


def test_smooth_objects_are_enclosed_by_few_points() -> None:
    """Windows by the chosen points of a sphere hold the windows of all its vertices."""
    from render_server.scene.extent import extent_of_points

    rng = np.random.default_rng(0)
    points = rng.normal(size=(8000, 3))
    points /= 2 * np.linalg.norm(points, axis=1, keepdims=True)
    sphere = extent_of_points(points)
    assert len(sphere.points) <= 256

    def exact(graph: SceneGraph, index: int) -> Extent | None:
        return Extent(points, sphere.corners).placed(graph.world[index]) if graph.nodes[index].id == "cube" else None

    def chosen(graph: SceneGraph, index: int) -> Extent | None:
        return sphere.placed(graph.world[index]) if graph.nodes[index].id == "cube" else None

    for yaw, size in ((0, 1.0), (17, 3.0), (40, 4.5)):
        graph = from_above(cube("cube", x_m=1, yaw_deg=yaw, roll_deg=30, scale=size))
        view = camera_view(graph, WIDTH, HEIGHT)
        step = probe(graph, "cube", scene_pb2.ATTRIBUTE_X, 0.05)
        inner, outer = ChangedRegions(graph, view, exact).of(step), ChangedRegions(graph, view, chosen).of(step)
        assert union((inner, outer)) == outer
        assert outer.pixels <= 1.1 * inner.pixels + 100


def test_the_union_of_nothing_is_nowhere() -> None:
    assert union([]) == NOWHERE
    assert union([NOWHERE, Window(1, 2, 3, 4)]) == Window(1, 2, 3, 4)
