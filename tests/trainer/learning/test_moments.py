"""Means and spreads from noisy readings, where all is known."""

import numpy as np
import pytest

from trainer.learning.moments import MOST, read_moments


def readings(mean: float, std: float, count: int, seed: int, *, error: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    """An attribute, and a reading of it that is too flat, shifted and noisy."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(mean, std, count)
    return truth, 0.8 * truth + 3 + rng.normal(0, error, count)


@pytest.mark.parametrize(("mean", "std"), [(0, 10), (6, 5), (-4, 20), (0, 15)])
def test_the_moments_of_the_target_are_found(mean: float, std: float) -> None:
    found = []
    for seed in range(20):
        truth, read = readings(0, 10, 2000, seed)
        _, target = readings(mean, std, 2000, 100 + seed)
        moments = read_moments(truth, read, target)
        assert moments is not None
        found.append(moments)
    shifts, quotients = np.array(found).T
    assert np.mean(shifts) == pytest.approx(mean, abs=4 * np.std(shifts) / np.sqrt(len(shifts)))
    assert np.mean(quotients) == pytest.approx(std / 10, rel=0.05)


def test_a_spread_that_differs_by_chance_alone_stays() -> None:
    same = [
        read_moments(*readings(0, 10, 1000, seed), readings(0, 10, 1000, 100 + seed)[1])[1]  # type: ignore[index]
        for seed in range(40)
    ]
    assert np.mean(np.array(same) == 1.0) >= 0.85  # Two standard errors: 95 % are expected


def test_what_cannot_be_seen_is_left_alone() -> None:
    truth, read = readings(0, 10, 2000, 0, error=40.0)
    assert read_moments(truth, read, read + 30) is None
    assert read_moments(np.zeros(100), np.arange(100.0), np.arange(100.0)) is None


def test_a_few_misread_images_do_not_matter() -> None:
    truth, read = readings(0, 10, 2000, 0)
    _, target = readings(0, 10, 2000, 1)
    target[:40] += 170
    shift, quotient = read_moments(truth, read, target)  # type: ignore[misc]
    assert abs(shift) < 2
    assert quotient == pytest.approx(1.0, abs=0.25)


def test_one_round_changes_a_spread_by_a_bounded_factor() -> None:
    truth, read = readings(0, 1, 2000, 0, error=0.1)
    _, target = readings(0, 100, 2000, 1)
    assert read_moments(truth, read, target)[1] == MOST  # type: ignore[index]
