"""Distances between distributions, against closed forms."""

import numpy as np
import pytest

from trainer.metrics.wasserstein import wasserstein


def test_a_shift_is_its_own_length() -> None:
    values = np.random.default_rng(0).normal(size=500)
    assert wasserstein(values, values + 3) == pytest.approx(3)
    assert wasserstein(values, values[::-1]) == pytest.approx(0)


def test_samples_may_have_different_sizes() -> None:
    assert wasserstein(np.array([0.0]), np.array([-1.0, 3.0])) == pytest.approx(2)
    assert wasserstein(np.array([10.0]), np.array([350.0, 50.0]), 360) == pytest.approx(30)


def test_spreads_of_normals() -> None:
    z = np.random.default_rng(0).normal(size=200_000)
    # Quantiles differ by (5 - 2) |z|, whose mean is 3 √(2/π).
    assert wasserstein(5 * z, 2 * z) == pytest.approx(3 * np.sqrt(2 / np.pi), rel=0.01)


@pytest.mark.parametrize(("turn", "expected"), [(20, 20), (110, 110), (340, 20), (-90, 90)])
def test_on_a_circle_the_shorter_way_round_counts(turn: float, expected: float) -> None:
    angles = np.random.default_rng(0).normal(175, 10, 400)
    turned = (angles + turn + 180) % 360 - 180
    assert wasserstein(angles, turned, 360) == pytest.approx(expected, abs=0.01)


def test_a_circle_is_never_farther_than_the_line() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        one, other = rng.uniform(0, 360, 30), rng.uniform(0, 360, 41)
        best = min(wasserstein((one + cut) % 360, (other + cut) % 360) for cut in range(360))
        assert wasserstein(one, other, 360) <= best + 1e-9
        assert wasserstein(one, other, 360) == pytest.approx(best, rel=0.05)


def test_a_uniform_circle_from_a_point() -> None:
    angles = np.arange(0.5, 360)
    assert wasserstein(angles, np.array([77.0]), 360) == pytest.approx(90)
