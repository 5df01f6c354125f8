"""Confidence intervals against closed forms, and the share of the gap between prior and real data."""

import numpy as np
import pytest

from trainer.errors import InputError
from trainer.tasks.bootstrap import bootstrap, gap_closed, gaps_closed, interval
from trainer.tasks.task import MeanResults, Scores


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = np.random.default_rng(0).random(400)
    results = MeanResults("score", {"score": values})
    samples = bootstrap({"prior": [results]}, 400, np.random.default_rng(1), replicates=2_000)["prior"]["score"]
    low, high = interval(samples)
    error = values.std() / np.sqrt(400)
    # The ends are quantiles of 2,000 samples: their own standard error is 0.06 of the standard error.
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)


def test_models_are_scored_on_the_same_samples() -> None:
    values = np.random.default_rng(0).random(50)
    better = MeanResults("score", {"score": values + 0.25})
    found = bootstrap(
        {"prior": [MeanResults("score", {"score": values})], "learned": [better]}, 50, np.random.default_rng(0)
    )
    np.testing.assert_allclose(found["learned"]["score"] - found["prior"]["score"], 0.25)


def test_networks_are_averaged() -> None:
    low, high = (MeanResults("score", {"score": np.full(5, value)}) for value in (0.2, 0.6))
    samples = bootstrap({"prior": [low, high]}, 5, np.random.default_rng(0), replicates=3)
    np.testing.assert_allclose(samples["prior"]["score"], 0.4)


class Rare:
    """Undefined where the only image with an object is missing."""

    def scores(self, chosen: np.ndarray | None = None) -> Scores:
        if chosen is not None and 0 not in chosen:
            raise InputError("no object")
        return Scores("score", {"score": 1.0})


def test_samples_on_which_a_score_is_undefined_are_left_out() -> None:
    samples = bootstrap({"prior": [Rare()]}, 4, np.random.default_rng(0), replicates=200)["prior"]["score"]
    assert 0 < np.isnan(samples).sum() < 200
    assert interval(samples) == [1.0, 1.0]
    assert interval(np.full(3, np.nan)) is None


def test_the_share_of_the_gap() -> None:
    assert gap_closed(0.2, 0.5, 0.8) == pytest.approx(0.5)
    assert gap_closed(3.0, 1.0, 2.0) == pytest.approx(2.0), "errors fall"
    assert gap_closed(0.5, 0.7, 0.5) is None
    shares = gaps_closed(np.array([0.2, 0.5]), np.array([0.5, 0.7]), np.array([0.8, 0.5]))
    assert shares[0] == pytest.approx(0.5)
    assert np.isnan(shares[1])
