"""Frequencies of categories and numbers of objects: the distribution's own, and those of sampled scenes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.grammars import FLAT, write_sprites

from trainer.grammar import Grammar, load_grammar
from trainer.metrics.choices import ChoiceStatistics, choice_statistics, learned_choices, prior_choices
from trainer.metrics.counts import count_statistics
from trainer.model.encoding import Encoding
from trainer.model.sampling import transformed
from trainer.model.transformer import DistributionTransformer

WORLD = (
    FLAT
    + """\
  thing:
    class: thing
    sprite: {set: shapes, weights: {disc: 0.5, star: 0.3, square: 0.2}, mutable: true}
    width: {categorical: {8: 0.25, 16: 0.75}, mutable: true}
    height: 8
    x: {uniform: [-4, 4], mutable: true, range: [-10, 10]}
scene: [camera, {kind: thing, count: {integers: [1, 3]}}]
"""
)
SCENES = 800


@pytest.fixture
def world(tmp_path: Path) -> Grammar:
    return load_grammar(write_sprites(tmp_path, WORLD))


def by_name(items: list[ChoiceStatistics]) -> dict[str, dict[str, float]]:
    return {item.name: dict(item.frequencies) for item in items}


def test_frequencies_of_the_prior_are_the_grammars_probabilities(world: Grammar) -> None:
    found = by_name(prior_choices(Encoding(world)))
    assert found == {"sprite": {"disc": 0.5, "square": 0.2, "star": 0.3}, "width": {"8": 0.25, "16": 0.75}}


def test_an_untrained_model_has_the_frequencies_of_the_prior(world: Grammar) -> None:
    encoding, rng = Encoding(world), np.random.default_rng(0)
    transformer = DistributionTransformer(encoding, torch.Generator().manual_seed(0))
    scenes = [world.sample(rng) for _ in range(10)]
    found, expected = by_name(learned_choices(transformer, scenes)), by_name(prior_choices(encoding))
    assert found.keys() == expected.keys()
    for name, frequencies in expected.items():
        assert found[name] == pytest.approx(frequencies, abs=1e-6)


def test_learned_frequencies_are_the_expectation_of_drawn_ones(world: Grammar) -> None:
    encoding, rng = Encoding(world), np.random.default_rng(0)
    transformer = DistributionTransformer(encoding, torch.Generator().manual_seed(0))
    with torch.no_grad():
        transformer.output.weight.normal_(0, 0.3, generator=torch.Generator().manual_seed(1))
    scenes = [world.sample(rng) for _ in range(SCENES)]
    expected = by_name(learned_choices(transformer, scenes))
    drawn = by_name(choice_statistics(encoding, transformed(transformer, scenes)))
    nodes = sum(len(scene.nodes) - 1 for scene in scenes)
    prior = by_name(prior_choices(encoding))
    assert any(abs(expected["sprite"][name] - share) > 0.02 for name, share in prior["sprite"].items())
    for name in ("sprite", "width"):
        for category, share in expected[name].items():
            assert drawn[name][category] == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / nodes))


def test_counts_are_those_of_kinds_whose_number_varies(world: Grammar) -> None:
    rng = np.random.default_rng(0)
    scenes = [world.sample(rng) for _ in range(SCENES)]
    (found,) = count_statistics(scenes)
    assert found.kind == "thing"
    assert found.mean == pytest.approx(2, abs=4 * np.sqrt(2 / 3 / SCENES))
    assert found.std == pytest.approx(np.sqrt(2 / 3), abs=0.06)
    assert count_statistics([scene for scene in scenes if len(scene.nodes) == 2]) == []
