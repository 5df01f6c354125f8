"""Prediction-powered inference: means over many photographs from few labels and imperfect predictions.

A predictor f gives a number for each photograph. With n labelled photographs (x_j, y_j) and N unlabelled ones x_i, the
estimate of the mean of y is

    λ / N Σ_i f(x_i) + 1 / n Σ_j (y_j - λ f(x_j))

It is unbiased for any f and any fixed λ; λ = 0 gives the mean of the labels alone, λ = 1 the estimator of Angelopoulos
et al., Prediction-Powered Inference, Science 2023. The smallest variance has λ = cov(y, f) / ((1 + n / N) var f)
(Angelopoulos, Duchi and Zrnic, PPI++, 2023). Here λ for each fold of the labels comes from the other folds
(cross-fitting), so that the estimate stays unbiased.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

#: Minimum number of labelled photographs for an interval, and number of folds.
FEWEST, FOLDS = 10, 5


@dataclass(frozen=True)
class PredictionPoweredMean:
    """An estimate of a mean with its interval."""

    mean: float
    standard_error: float
    low: float
    high: float
    #: The mean λ over the folds; 0: labels alone.
    weight: float


def prediction_powered_mean(
    labels: np.ndarray, predictions: np.ndarray, unlabelled: np.ndarray, level: float = 0.95
) -> PredictionPoweredMean:
    """Return the mean of the labels' population and an interval that covers it with probability `level`.

    The interval uses the normal approximation; with few labels it is slightly too narrow.

    Args:
        labels: [n], true values of labelled photographs.
        predictions: [n], predictions for the same photographs.
        unlabelled: [N], predictions for the other photographs.
        level: probability of the interval.

    Raises:
        ValueError: there are fewer than `FEWEST` labels or fewer than 2 other predictions, or the sizes differ.
    """
    y, f, g = (np.asarray(values, dtype=np.float64) for values in (labels, predictions, unlabelled))
    if len(y) < FEWEST or len(y) != len(f) or len(g) < 2:
        raise ValueError(
            f"{len(y)} labels, {len(f)} predictions for them and {len(g)} others; at least {FEWEST} labels with as "
            "many predictions, and 2 others, are needed"
        )
    n, others = len(y), len(g)
    fold = np.arange(n) % FOLDS
    weights = np.array([_slope(y[fold != k], f[fold != k]) for k in range(FOLDS)])[fold] / (1 + n / others)
    terms = y - weights * (f - g.mean())
    mean, weight = terms.mean(), float(weights.mean())
    error = float(np.sqrt(weight**2 * g.var(ddof=1) / others + terms.var(ddof=1) / n))
    half = NormalDist().inv_cdf((1 + level) / 2) * error
    return PredictionPoweredMean(float(mean), error, float(mean - half), float(mean + half), weight)


def _slope(y: np.ndarray, f: np.ndarray) -> float:
    """Return cov(y, f) / var f; 0 where f does not vary."""
    variance = f.var()
    return float(np.mean((y - y.mean()) * (f - f.mean())) / variance) if variance > 0 else 0.0
