"""Valleys that are half a turn apart."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support.painted import painted_problem

from trainer.inference.comparing import aligned, compare, shares


def compared(folder: Path, weight: float, valleys: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Of a target of which a part is turned by 90 and the rest by -90; valleys are (x, yaw)."""
    weights = [weight, 1 - weight]
    problem, transformer = painted_problem(folder, [90, -90], weights, valley_images=384, feature_epochs=5)
    order = [("x", "yaw").index(spec.name) for _, spec in problem.encoding.mutable]
    found, centres = compare(problem, transformer, range(2), [np.array(valley)[order] for valley in valleys])
    return found, np.array(centres)[:, np.argsort(order)]


def test_the_right_valley_wins_though_it_was_missed(tmp_path: Path) -> None:
    found, centres = compared(tmp_path, 1.0, [(4.3, -88), (2.4, 72)])
    assert found[1] > 0.9
    assert np.all(np.abs(centres[1] - (4, 90)) < (0.5, 8))


def test_a_mixture_is_weighed(tmp_path: Path) -> None:
    found, centres = compared(tmp_path, 0.7, [(4.8, -100), (3.0, 80)])
    assert found[1] == pytest.approx(0.7, abs=0.1)
    assert np.all(np.abs(centres - [(4, -90), (4, 90)]) < (0.5, 8))


def test_valleys_agree_in_what_does_not_tell_them_apart(tmp_path: Path) -> None:
    problem, _ = painted_problem(tmp_path, [0], [1])
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
