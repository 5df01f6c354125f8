"""Mutable categorical attributes: assets, textures, colours and discrete numbers that the model may redraw."""

import numpy as np
import pytest
from support.grammars import FLAT, SPRITES, write_sprites

from trainer.grammar import GrammarError, load_grammar

WORLD = (
    FLAT
    + """\
  thing:
    class: thing
    sprite: {set: shapes, weights: {disc: 0.5, star: 0.5}, mutable: true}
    width: {categorical: {8: 0.25, 16: 0.75}, mutable: true}
    height: 8
    color: {choices: {white: [1, 1, 1], red: [0.5, 0, 0]}, weights: {red: 0.4, white: 0.6}, mutable: true}
    x: {uniform: [-4, 4], mutable: true, range: [-10, 10]}
scene: [camera, {kind: thing, count: 2}]
"""
)
# In the order of a kind's choices.
NAMES = ["sprite", "color", "width", "mode"]


@pytest.fixture
def world(tmp_path):
    return load_grammar(write_sprites(tmp_path, WORLD))


def test_a_kind_lists_its_choices_with_the_priors_probabilities(world):
    choices = {choice.name: choice for choice in world.kinds["thing"].choices}
    assert list(choices) == NAMES
    assert choices["sprite"].categories == ("disc", "star")
    assert choices["width"].probabilities == (0.25, 0.75)
    assert dict(zip(choices["color"].categories, choices["color"].probabilities, strict=True)) == {
        "red": 0.4,
        "white": 0.6,
    }
    assert choices["mode"].probabilities == (1, 0, 0, 0)
    assert world.kinds["camera"].choices == ()


def test_a_sampled_node_knows_its_categories(world):
    scenes = [world.sample(np.random.default_rng(seed)) for seed in range(200)]
    for scene in scenes:
        for node in scene.nodes[1:]:
            assert node.values["width"] == (8, 16)[node.choices["width"]]
            assert node.values["red"] == (0.5, 1.0)[node.choices["color"]]
            assert world.asset_sets["shapes"].item_name(node.asset.index) == ("disc", "star")[node.choices["sprite"]]
    wide = np.mean([node.choices["width"] for scene in scenes for node in scene.nodes[1:]])
    assert wide == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / 400))


def test_other_categories_change_what_they_stand_for_and_nothing_else(world):
    scene = world.sample(np.random.default_rng(1))
    assert [(item.node, item.spec.name) for item in scene.choices] == [(n, name) for n in (1, 2) for name in NAMES]
    before = scene.nodes[1].choices
    wanted = [1 - before["sprite"], 1 - before["color"], 1 - before["width"], 2]
    changed = world.with_choices(scene, [*wanted, *scene.nodes[2].choices.values()])

    node = changed.nodes[1]
    assert [node.choices[name] for name in NAMES] == wanted
    assert node.values["width"] == (8, 16)[wanted[2]]
    assert (node.values["red"], node.values["green"]) == ((0.5, 0.0), (1.0, 1.0))[wanted[1]]
    assert node.values["x"] == scene.nodes[1].values["x"]
    assert changed.nodes[2] == scene.nodes[2]
    assert world.with_choices(scene, [*wanted, *scene.nodes[2].choices.values()]) == changed
    assert np.array_equal(changed.values(), scene.values())


def test_the_colour_is_the_tint_on_the_wire(world):
    scene = world.sample(np.random.default_rng(1))
    wire = scene.to_wire(world.assets.hash_of)
    assert wire.nodes[1].sprite.tint.green == scene.nodes[1].values["green"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "weights: {red: 0.4, white: 0.6}",
            "weights: {rad: 1}",
            "nodes.thing.color.weights: unknown colour 'rad'; did you mean 'red'",
        ),
        ("height: 8", "height: 8\n    green: 1", "nodes.thing.green: color sets it already"),
        (
            "camera: {camera",
            "camera: {color: {choices: {red: [1, 0, 0]}}, camera",
            "only a sprite, a mesh .but no card. or a light",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, old, new, message):
    with pytest.raises(GrammarError, match=message):
        load_grammar(write_sprites(tmp_path, WORLD.replace(old, new)))


def test_the_probabilities_of_mutable_angles_are_learned_as_those_of_other_numbers(tmp_path):
    text = SPRITES.replace(
        "yaw: {normal: [0, 10], mutable: true}", "yaw: {categorical: {0: 0.25, 180: 0.75}, mutable: true}"
    )
    grammar = load_grammar(write_sprites(tmp_path, text))
    [choice] = [choice for choice in grammar.kinds["thing"].choices if choice.name == "yaw"]
    assert dict(zip(choice.categories, choice.probabilities, strict=True)) == {"-180": 0.75, "0": 0.25}
    assert [spec.name for spec in grammar.kinds["thing"].mutable_specs] == ["x"]
