"""The index of a scene."""

import math

import numpy as np
import pytest
from metasim.v1 import scene_pb2 as pb
from support.scenes import frame, sprite

from render_server.errors import InvalidTask
from render_server.scene.scene_graph import SceneGraph, local_matrix, natural_range


def scene(*nodes: pb.Node) -> pb.Scene:
    camera = pb.Node(id="camera", camera=pb.Camera(perspective=pb.Perspective(vertical_fov_deg=40)))
    return pb.Scene(nodes=[*nodes, camera], classes=["thing"])


def rotation(axis: int, degrees: float) -> np.ndarray:
    """Right-handed rotation about an axis, from the angle's two basis vectors."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix[first, first] = matrix[second, second] = c
    matrix[second, first], matrix[first, second] = s, -s
    return matrix


def test_a_transform_is_translation_yaw_pitch_roll_scale() -> None:
    transform = pb.Transform(x_m=1, y_m=2, z_m=3, yaw_deg=20, pitch_deg=-35, roll_deg=70, scale=1.5)
    expected = rotation(2, 20) @ rotation(1, -35) @ rotation(0, 70) * 1.5
    matrix = local_matrix(transform)
    np.testing.assert_allclose(matrix[:3, :3], expected, atol=1e-12)
    np.testing.assert_allclose(matrix[:, 3], [1, 2, 3, 1])
    np.testing.assert_allclose(matrix[3], [0, 0, 0, 1])


def test_an_absent_scale_is_one() -> None:
    np.testing.assert_array_equal(local_matrix(pb.Transform()), np.eye(4))


def test_world_matrices_follow_parents_in_any_order_of_nodes() -> None:
    leaf, middle, root = frame("leaf", x_m=1), frame("middle", yaw_deg=90, scale=2), frame("root", y_m=5)
    leaf.parent, middle.parent = "middle", "root"
    graph = SceneGraph(scene(leaf, middle, root))
    np.testing.assert_allclose(graph.world[0][:3, 3], [0, 7, 0], atol=1e-12)
    assert graph.parents[:3] == [1, 2, -1]
    assert graph.subtree(2) == (2, 1, 0)
    assert graph.camera == 3


def test_with_value_moves_what_hangs_below_and_leaves_the_original() -> None:
    child = frame("child", x_m=1)
    child.parent = "parent"
    graph = SceneGraph(scene(frame("parent"), child, frame("other")))
    turned = graph.with_value(0, pb.ATTRIBUTE_YAW, 90)
    np.testing.assert_allclose(turned.world[1][:3, 3], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(graph.world[1][:3, 3], [1, 0, 0])
    assert turned.changed == (0, 1)
    assert turned.world[2] is graph.world[2]
    assert graph.value(0, pb.ATTRIBUTE_YAW) == 0
    assert turned.value(0, pb.ATTRIBUTE_YAW) == 90


@pytest.mark.parametrize(
    ("node", "attribute", "default"),
    [
        (sprite("s", "", 3, 4), pb.ATTRIBUTE_WIDTH, 3),
        (sprite("s", "", 3, 4), pb.ATTRIBUTE_HEIGHT, 4),
        (sprite("s", "", 3, 4), pb.ATTRIBUTE_SCALE, 1),
        (sprite("s", "", 3, 4), pb.ATTRIBUTE_RED, 1),
        (pb.Node(mesh=pb.Mesh(primitive=pb.PRIMITIVE_CUBE)), pb.ATTRIBUTE_WIDTH, 1),
        (pb.Node(mesh=pb.Mesh(primitive=pb.PRIMITIVE_CUBE, size_y=2)), pb.ATTRIBUTE_DEPTH, 2),
        (pb.Node(mesh=pb.Mesh(primitive=pb.PRIMITIVE_CUBE)), pb.ATTRIBUTE_BLUE, 0.8),
        (pb.Node(mesh=pb.Mesh(primitive=pb.PRIMITIVE_CUBE)), pb.ATTRIBUTE_INTENSITY, 0),
        (pb.Node(light=pb.Light(sun=pb.SunLight(irradiance_w_m2=3))), pb.ATTRIBUTE_INTENSITY, 3),
        (pb.Node(light=pb.Light(area=pb.AreaLight(power_w=5))), pb.ATTRIBUTE_INTENSITY, 5),
        (pb.Node(light=pb.Light(sun=pb.SunLight())), pb.ATTRIBUTE_GREEN, 1),
    ],
)
def test_attributes_are_read_and_written_with_their_defaults(node: pb.Node, attribute: int, default: float) -> None:
    graph = SceneGraph(scene(node))
    assert graph.value(0, attribute) == default
    changed = graph.with_value(0, attribute, 0.25)
    assert changed.value(0, attribute) == 0.25
    others = {pb.ATTRIBUTE_RED, pb.ATTRIBUTE_GREEN, pb.ATTRIBUTE_BLUE} - {attribute}
    # Writing one channel of an absent colour leaves the others at their default.
    assert [changed.value(0, other) for other in others] == [graph.value(0, other) for other in others]


def test_the_field_of_view_is_the_height_of_an_orthographic_camera() -> None:
    graph = SceneGraph(scene())
    assert graph.value(0, pb.ATTRIBUTE_FOV) == 40
    flat = pb.Node(id="c", camera=pb.Camera(orthographic=pb.Orthographic(height_m=7)))
    graph = SceneGraph(pb.Scene(nodes=[flat]))
    assert graph.value(0, pb.ATTRIBUTE_FOV) == 7
    assert natural_range(flat, pb.ATTRIBUTE_FOV) == (0, math.inf, True)


@pytest.mark.parametrize(
    ("node", "attribute"),
    [
        (frame("n"), pb.ATTRIBUTE_WIDTH),
        (sprite("n", "", 1, 1), pb.ATTRIBUTE_DEPTH),
        (pb.Node(id="n", mesh=pb.Mesh(asset=pb.MeshAsset(hash="x"))), pb.ATTRIBUTE_RED),
        (pb.Node(id="n", light=pb.Light(sun=pb.SunLight())), pb.ATTRIBUTE_FOV),
        (frame("n"), 99),
    ],
)
def test_attributes_that_a_node_lacks(node: pb.Node, attribute: int) -> None:
    graph = SceneGraph(scene(node))
    assert graph.value(0, attribute) is None
    with pytest.raises(InvalidTask, match=r"^scene.nodes\[0\] is (ATTRIBUTE_\w+|99); node 'n' has ATTRIBUTE_X, "):
        graph.with_value(0, attribute, 1.0)


def test_trees_must_be_trees() -> None:
    first, second = frame("a"), frame("b")
    first.parent, second.parent = "b", "a"
    with pytest.raises(InvalidTask, match=r"^scene.nodes\[0\].parent is part of a cycle; parents must lead to a root$"):
        SceneGraph(scene(first, second))
    first.parent = "nobody"
    with pytest.raises(
        InvalidTask, match=r"^scene.nodes\[0\].parent is 'nobody'; it must be the id of a node or empty$"
    ):
        SceneGraph(scene(first))
    with pytest.raises(InvalidTask, match=r"^scene.nodes is a list with 0 cameras; it must hold exactly one$"):
        SceneGraph(pb.Scene())
