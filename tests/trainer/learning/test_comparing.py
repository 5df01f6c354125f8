"""Valleys that are half a turn apart, in a world that is painted here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.grammars import write_sprites

from trainer.grammar import SceneGraph, load_grammar
from trainer.learning.comparing import aligned, compare, shares
from trainer.learning.problem import Problem
from trainer.learning.settings import TrainingSettings
from trainer.model.transformer import DistributionTransformer

SIZE_PX = 24


@dataclass(frozen=True)
class Painted(Problem):
    """A problem that needs no renderer."""

    def images(self, scenes: Sequence[SceneGraph], *_: Any) -> np.ndarray:
        return painted(scenes, seed=scenes[0].noise)


def painted(scenes: Sequence[SceneGraph], seed: int) -> np.ndarray:
    """A bar whose ends differ a little in brightness, under noise: uint8 [N, SIZE_PX, SIZE_PX, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX] - (SIZE_PX - 1) / 2
    images = []
    for scene in scenes:
        thing = next(node for node in scene.nodes if node.kind == "thing")
        angle = np.deg2rad(thing.values["yaw"])
        along = np.cos(angle) * (x - thing.values["x"]) + np.sin(angle) * y
        across = -np.sin(angle) * (x - thing.values["x"]) + np.cos(angle) * y
        bar = np.exp(-((along / 5) ** 2) - (across / 2) ** 2) * (1 + 0.08 * along)
        images.append(np.clip(120 * bar + rng.normal(40, 12, bar.shape), 0, 255))
    return np.repeat(np.stack(images)[..., None], 3, axis=3).astype(np.uint8)


@pytest.fixture
def problem(tmp_path: Path) -> Painted:
    grammar = load_grammar(write_sprites(tmp_path))
    settings = TrainingSettings.parse({"valley_images": 384, "feature_epochs": 5})
    renderer = SimpleNamespace(settings=SimpleNamespace(width_px=SIZE_PX, height_px=SIZE_PX))
    return Painted(grammar, settings, 0, renderer, np.zeros((0, SIZE_PX, SIZE_PX, 3), np.uint8))  # type: ignore[arg-type]


def compared(problem: Painted, weight: float, valleys: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Of a target of which a part lies at (4, 90) and the rest at (4, -90)."""
    rng = np.random.default_rng(1)
    scenes = []
    for _ in range(1000):
        scene = problem.grammar.sample(rng)
        yaw = 90 if rng.random() < weight else -90
        places = [item.name for item in scene.mutable]
        means = {"x": (4.0, 1.0), "yaw": (yaw, 10.0)}
        scenes.append(scene.with_values(np.array([rng.normal(*means[name]) for name in places])))
    known = Painted(problem.grammar, problem.settings, 0, problem.renderer, painted(scenes, seed=7))
    transformer = DistributionTransformer(known.encoding, torch.Generator().manual_seed(0))
    with torch.no_grad():  # The identity.
        transformer.output.weight.zero_()
        transformer.output.bias.zero_()
    names = [spec.name for _, spec in known.encoding.mutable]
    order = [("x", "yaw").index(name) for name in names]
    found, centres = compare(known, transformer, range(2), [valley[order] for valley in valleys])
    return found, [centre[np.argsort(order)] for centre in centres]


def test_the_right_valley_wins_though_it_was_missed(problem: Painted) -> None:
    found, centres = compared(problem, 1.0, [np.array([4.3, -88.0]), np.array([2.4, 72.0])])
    assert found[1] > 0.9
    assert np.all(np.abs(centres[1] - (4, 90)) < (0.5, 8))


def test_a_mixture_is_weighed(problem: Painted) -> None:
    found, centres = compared(problem, 0.7, [np.array([4.8, -100.0]), np.array([3.0, 80.0])])
    assert found[1] == pytest.approx(0.7, abs=0.1)
    assert np.all(np.abs(np.array(centres) - [(4, -90), (4, 90)]) < (0.5, 8))


def test_valleys_agree_in_what_does_not_tell_them_apart(problem: Painted) -> None:
    specs = sorted((spec for _, spec in problem.encoding.mutable), key=lambda spec: spec.name)
    found = aligned(specs, [np.array([-4.0, 175.0]), np.array([-3.0, 5.0]), np.array([6.0, -179.0])])
    np.testing.assert_allclose(found, [[-3.5, 178.0], [-3.5, 5.0], [6.0, 178.0]])


def test_shares_are_corrected_for_what_the_classifier_confuses() -> None:
    """Overlapping normals, and a classifier that is far too sure of itself."""
    rng = np.random.default_rng(0)
    means = np.array([0.0, 1.5, 3.0])

    def posteriors(classes: np.ndarray) -> np.ndarray:
        x = rng.normal(means[classes])
        density = np.exp(-4 * ((x[:, None] - means) ** 2) / 2)
        return density / density.sum(1, keepdims=True)

    confusion = np.stack([posteriors(np.full(2000, index)).mean(0) for index in range(3)])
    for wanted in ([0.8, 0.15, 0.05], [1.0, 0.0, 0.0], [0.5, 0.0, 0.5]):
        votes = posteriors(rng.choice(3, 6000, p=wanted)).mean(0)
        assert np.abs(votes - wanted).max() > 0.1
        assert np.abs(shares(votes, confusion) - wanted).max() < 0.05
