"""Prediction-powered means against simulation: unbiased for any reader, with intervals that cover the truth."""

import numpy as np
import pytest

from trainer.metrics.prediction_powered import FEWEST, prediction_powered_mean

TRUTH, SPREAD = 3.0, 1.2
TRIALS, LABELS, OTHERS = 1500, 40, 600
#: Readers: bias, slope, and standard deviation of the error.
READERS = {"good": (0.0, 1.0, 0.3), "biased": (1.5, 0.6, 0.4), "useless": (0.0, 0.0, 1.0), "inverted": (6.0, -1.0, 0.3)}


def trials(reader: str) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    bias, slope, noise = READERS[reader]
    drawn = []
    for _ in range(TRIALS):
        y = rng.gamma((TRUTH / SPREAD) ** 2, SPREAD**2 / TRUTH, LABELS + OTHERS)
        f = bias + slope * y + rng.normal(0, noise, len(y))
        drawn.append((y[:LABELS], f[:LABELS], f[LABELS:]))
    return drawn


@pytest.mark.parametrize("reader", READERS)
def test_the_estimate_is_unbiased_and_the_interval_covers_the_truth(reader: str) -> None:
    found = [prediction_powered_mean(*trial) for trial in trials(reader)]
    means = np.array([item.mean for item in found])
    assert means.mean() == pytest.approx(TRUTH, abs=4 * means.std() / np.sqrt(TRIALS))
    covered = np.mean([item.low <= TRUTH <= item.high for item in found])
    # The standard error of the coverage is 0.006; with 40 labels of a skewed distribution it is a little below 0.95.
    assert 0.925 <= covered <= 0.965
    errors = np.mean([item.standard_error for item in found])
    assert errors == pytest.approx(means.std(), rel=0.08)


def test_a_good_reader_is_worth_many_labels_and_a_useless_one_costs_nothing() -> None:
    spread = {reader: np.std([prediction_powered_mean(*trial).mean for trial in trials(reader)]) for reader in READERS}
    alone = SPREAD / np.sqrt(LABELS)
    cov, var = SPREAD**2, SPREAD**2 + 0.3**2
    best = cov / ((1 + LABELS / OTHERS) * var)
    ideal = np.sqrt(best**2 * var / OTHERS + (SPREAD**2 - 2 * best * cov + best**2 * var) / LABELS)
    assert ideal < 0.4 * alone
    for reader, expected in {"good": ideal, "inverted": ideal, "useless": alone}.items():
        assert spread[reader] == pytest.approx(expected, rel=0.1)


def test_a_constant_reader_leaves_the_mean_of_the_labels() -> None:
    labels = np.arange(10.0)
    found = prediction_powered_mean(labels, np.full(10, 2.0), np.full(50, 2.0))
    assert (found.mean, found.weight) == (4.5, 0.0)
    assert found.standard_error == pytest.approx(labels.std(ddof=1) / np.sqrt(10))


def test_the_weight_is_the_one_with_the_smallest_variance() -> None:
    """The closed form against the variance that the estimator has for other weights."""
    rng = np.random.default_rng(1)
    y = rng.normal(0, 1, 5000)
    f = 0.5 * y + rng.normal(0, 0.5, 5000)
    g = 0.5 * rng.normal(0, 1, 10_000) + rng.normal(0, 0.5, 10_000)
    found = prediction_powered_mean(y, f, g)

    def variance(weight: float) -> float:
        return weight**2 * 0.5 / 10_000 + (1 - 2 * weight * 0.5 + weight**2 * 0.5) / 5000

    grid = np.linspace(0, 2, 2001)
    assert found.weight == pytest.approx(grid[np.argmin([variance(weight) for weight in grid])], abs=0.03)
    assert found.standard_error**2 == pytest.approx(variance(found.weight), rel=0.05)


@pytest.mark.parametrize(("labels", "predictions", "others"), [(FEWEST - 1, FEWEST - 1, 9), (9, 8, 9), (9, 9, 1)])
def test_too_few_values_are_refused(labels: int, predictions: int, others: int) -> None:
    with pytest.raises(ValueError, match=f"{labels} labels, {predictions} predictions for them and {others} others"):
        prediction_powered_mean(np.zeros(labels), np.zeros(predictions), np.zeros(others))
