"""Means and spreads from noisy readings, where all is known."""

import numpy as np
import pytest

from trainer.learning.moments import read_shift, read_spread


def readings(mean: float, std: float, count: int, seed: int, *, error: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    """An attribute, and a reading of it that is too flat, shifted and noisy."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(mean, std, count)
    return truth, 0.8 * truth + 3 + rng.normal(0, error, count)


@pytest.mark.parametrize(("mean", "std"), [(0, 10), (6, 5), (-4, 20), (0, 15)])
def test_the_moments_of_the_target_are_found(mean: float, std: float) -> None:
    shifts, spreads = [], []
    for seed in range(20):
        truth, read = readings(0, 10, 2000, seed)
        _, target = readings(mean, std, 2000, 100 + seed)
        shifts.append(read_shift(truth, read, target))
        spreads.append(read_spread(truth, read, target, 10.0))
    assert np.mean(shifts) == pytest.approx(mean, abs=4 * np.std(shifts) / np.sqrt(len(shifts)))
    assert np.mean(spreads) == pytest.approx(std, rel=0.05)


def test_a_spread_that_differs_by_chance_alone_stays() -> None:
    same = [
        read_spread(*readings(0, 10, 1000, seed), readings(0, 10, 1000, 100 + seed)[1], 10.0) == 10.0
        for seed in range(40)
    ]
    assert np.mean(same) >= 0.85  # Two standard errors: 95 % are expected


def test_a_spread_is_told_from_renders_of_another() -> None:
    """The prior's is 10; the renders', of an earlier round, 14."""
    found = [
        read_spread(*readings(0, 14, 3000, seed), readings(0, 10, 1000, 100 + seed)[1], 10.0) for seed in range(40)
    ]
    assert np.mean(np.array(found) == 10.0) >= 0.8
    assert np.max(np.abs(np.array(found) - 10)) < 3


def test_what_cannot_be_seen_is_left_alone() -> None:
    truth, read = readings(0, 10, 2000, 0, error=40.0)
    assert read_shift(truth, read, read + 30) is None
    assert read_shift(np.zeros(100), np.arange(100.0), np.arange(100.0)) is None


def test_a_few_misread_images_do_not_matter() -> None:
    truth, read = readings(0, 10, 2000, 0)
    _, target = readings(0, 10, 2000, 1)
    target[:40] += 170
    shift = read_shift(truth, read, target)
    assert shift is not None
    assert abs(shift) < 2
    assert read_spread(truth, read, target, 10.0) == pytest.approx(10, rel=0.25)


def test_a_spread_that_is_too_small_for_the_errors_is_none_at_all() -> None:
    truth, read = readings(0, 10, 2000, 0)
    assert read_spread(truth, read, np.full(500, 3.0), 10.0) == 0
