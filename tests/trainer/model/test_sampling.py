"""Categories and modes drawn from the transformer's probabilities."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.crafted import move
from support.grammars import FLAT, write_sprites

from trainer.grammar import Grammar, load_grammar
from trainer.grammar.nodes import MODE
from trainer.model.encoding import Encoding
from trainer.model.sampling import draw, transformed
from trainer.model.transformer import DistributionTransformer

WORLD = (
    FLAT
    + """\
  thing:
    class: thing
    sprite: {set: shapes, weights: {disc: 0.5, square: 0.3, star: 0.2}, mutable: true}
    width: 8
    height: 8
    x: {normal: [0, 1], mutable: true, range: [-10, 10]}
scene: [camera, {kind: thing, count: {integers: [1, 3]}}]
"""
)


@pytest.fixture
def grammar(tmp_path: Path) -> Grammar:
    return load_grammar(write_sprites(tmp_path, WORLD))


@pytest.fixture
def transformer(grammar: Grammar) -> DistributionTransformer:
    """Its numbers are the identity."""
    transformer = DistributionTransformer(Encoding(grammar), torch.Generator().manual_seed(0))
    torch.nn.init.zeros_(transformer.output.weight)
    torch.nn.init.zeros_(transformer.output.bias)
    return transformer


def frequencies(scenes: list, name: str, categories: int) -> np.ndarray:
    drawn = [node.choices[name] for scene in scenes for node in scene.nodes if node.kind == "thing"]
    return np.bincount(drawn, minlength=categories) / len(drawn)


def test_at_first_the_frequencies_are_the_priors(grammar: Grammar, transformer: DistributionTransformer) -> None:
    scenes = [grammar.sample(np.random.default_rng(seed)) for seed in range(1000)]
    found = frequencies(transformed(transformer, scenes), "sprite", 3)
    assert found == pytest.approx([0.5, 0.3, 0.2], abs=0.05)


def test_probabilities_decide_the_frequencies_and_noise_what_each_scene_gets(
    grammar: Grammar, transformer: DistributionTransformer
) -> None:
    scenes = [grammar.sample(np.random.default_rng(seed)) for seed in range(1000)]
    start = transformer.encoding.choice_starts[0]
    transformer.output.bias.data[start : start + 3] = (
        torch.tensor([0.1, 0.7, 0.2]).log() - torch.tensor([0.5, 0.3, 0.2]).log()
    )
    once, again = transformed(transformer, scenes), transformed(transformer, scenes)
    assert once == again
    assert frequencies(once, "sprite", 3) == pytest.approx([0.1, 0.7, 0.2], abs=0.04)
    alone = transformed(transformer, scenes[7:8])
    assert alone == once[7:8]  # Not of what else is in the batch
    shapes = grammar.asset_sets["shapes"]
    for scene in once[:50]:
        for node in scene.nodes[1:]:
            assert shapes.item_name(node.asset.index) == ("disc", "square", "star")[node.choices["sprite"]]


def test_a_mode_moves_by_its_own_amount(grammar: Grammar, transformer: DistributionTransformer) -> None:
    place = next(i for i, (_, choice) in enumerate(transformer.encoding.choices) if choice is MODE)
    transformer.log_prior[place] = torch.tensor([0.25, 0.75, 0.0, 0.0]).log()
    move(transformer, {"thing.x": [-5.0, 5.0]})
    scenes = [grammar.sample(np.random.default_rng(seed)) for seed in range(1000)]
    learned = transformed(transformer, scenes)
    before = {node.id: node.values["x"] for node in scenes[0].nodes[1:]}
    for node in learned[0].nodes[1:]:
        mode = node.choices["mode"]
        assert node.values["x"] == pytest.approx(before[node.id] + (-5, 5)[mode], abs=1e-3)
    assert frequencies(learned, "mode", 4) == pytest.approx([0.25, 0.75, 0, 0], abs=0.04)


def test_impossible_categories_are_never_drawn_and_their_probability_is_zero(
    grammar: Grammar, transformer: DistributionTransformer
) -> None:
    transformer.log_prior[0, 1] = -torch.inf
    scenes = [grammar.sample(np.random.default_rng(seed)) for seed in range(200)]
    drawn = draw(transformer, scenes)
    assert frequencies(drawn.scenes, "sprite", 3)[1] == 0
    rows = drawn.batch.choice_places == 0
    assert torch.allclose(drawn.log_probabilities[rows].exp().sum(1), torch.tensor(1.0))


def test_attributes_that_are_not_active_keep_their_values(
    grammar: Grammar, transformer: DistributionTransformer
) -> None:
    move(transformer, {"thing.x": 3.0})
    transformer.learn_only([], [])
    scene = grammar.sample(np.random.default_rng(0))
    assert transformed(transformer, [scene])[0].values() == pytest.approx(scene.values())
