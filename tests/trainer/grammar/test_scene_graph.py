"""Scene graphs: the mutable attributes, read and replaced."""

import numpy as np
import pytest
from support.grammars import SPRITES, write_sprites

from trainer.errors import InputError
from trainer.grammar import load_grammar


@pytest.fixture
def grammar(tmp_path):
    return load_grammar(
        write_sprites(tmp_path, SPRITES.replace("[camera, thing]", "[camera, {kind: thing, count: 2}]"))
    )


@pytest.fixture
def scene(grammar):
    return grammar.sample(np.random.default_rng(0))


def test_mutable_attributes_come_by_node_and_then_in_the_order_of_the_wire(scene):
    assert [(item.node, item.name) for item in scene.mutable] == [(1, "x"), (1, "yaw"), (2, "x"), (2, "yaw")]
    x, yaw = scene.mutable[0].spec, scene.mutable[1].spec
    assert (x.low, x.high, x.unit, x.is_angle, x.wraps, x.step) == (-10, 10, "px", False, False, None)
    assert (yaw.low, yaw.high, yaw.unit, yaw.is_angle, yaw.wraps) == (-180, 180, "deg", True, True)


def test_specs_are_known_before_anything_is_sampled(grammar):
    assert [(kind, spec.name, spec.mutable) for kind, spec in grammar.specs] == [
        ("camera", "z", False),
        ("camera", "fov", False),
        ("thing", "x", True),
        ("thing", "yaw", True),
        ("thing", "width", False),
        ("thing", "height", False),
    ]


def test_values_go_in_and_come_out(scene):
    new = np.array([1.5, 170.0, -10.0, -20.0])
    changed = scene.with_values(new)
    np.testing.assert_array_equal(changed.values(), new)
    assert changed.nodes[1].values["width"] == 8
    assert changed.nodes[0] is scene.nodes[0]
    assert scene.values()[0] != 1.5  # the old scene stays
    np.testing.assert_array_equal(scene.with_values(scene.values()).values(), scene.values())


def test_angles_wrap(scene):
    changed = scene.with_values(np.array([0.0, 190.0, 0.0, -725.0]))
    np.testing.assert_allclose(changed.values(), [0, -170, 0, -5])


def test_an_angle_with_a_part_of_the_circle_is_wrapped_into_it(tmp_path):
    text = SPRITES.replace("yaw: {normal: [0, 10]", "yaw: {normal: [200, 10], range: [150, 250]")
    scene = load_grammar(write_sprites(tmp_path, text)).sample(np.random.default_rng(0))
    assert scene.with_values(np.array([0.0, -150.0])).values()[1] == 210
    with pytest.raises(InputError) as caught:
        scene.with_values(np.array([0.0, 90.0]))
    assert str(caught.value) == "thing-1.yaw is 90; it must lie between 150 and 250 deg"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 0, 10.5, 0], "thing-2.x is 10.5; it must lie between -10 and 10 px"),
        ([0, float("nan"), 0, 0], "thing-1.yaw is nan; it must lie between -180 and 180 deg"),
        ([float("inf"), 0, 0, 0], "thing-1.x is inf; it must lie between -10 and 10 px"),
        ([0, 0, 0], "values have the shape (3,); the scene has 4 mutable attributes"),
    ],
)
def test_values_that_do_not_fit_are_errors(scene, values, message):
    with pytest.raises(InputError) as caught:
        scene.with_values(np.array(values))
    assert str(caught.value) == message


def test_a_kind_can_be_frozen_as_a_whole(tmp_path):
    path = write_sprites(tmp_path)
    assert load_grammar(path, {"thing.mutable": False}).sample(np.random.default_rng(0)).mutable == ()
    only_yaw = load_grammar(path, {"thing.x.mutable": False}).sample(np.random.default_rng(0))
    assert [item.name for item in only_yaw.mutable] == ["yaw"]
    assert only_yaw.with_values(np.array([3.0])).values() == [3.0]
