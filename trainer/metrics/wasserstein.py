"""The Wasserstein-1 distance between two samples, in the unit of the values."""

import numpy as np


def wasserstein(one: np.ndarray, other: np.ndarray, period: float | None = None) -> float:
    """Return the mean amount by which values must move to turn one sample into the other.

    It is the area between the two cumulative distributions. On a circle the starting point is arbitrary, so the median
    of their difference is subtracted (Rabin, Delon and Gousseau, 2011, "Transportation distances on the circle").

    Args:
        one, other: samples [n] and [m], not empty.
        period: of values on a circle, such as 360; None: values on the line.
    """
    values = np.concatenate([one, other]).astype(np.float64)
    steps = np.concatenate([np.full(len(one), 1 / len(one)), np.full(len(other), -1 / len(other))])
    if period is not None:
        values = values % period
    order = np.argsort(values)
    values, difference = values[order], np.cumsum(steps[order])
    if period is None:
        return float(np.sum(np.abs(difference[:-1]) * np.diff(values)))
    gaps = np.diff(values, append=values[0] + period)
    return float(np.sum(np.abs(difference - _median(difference, gaps)) * gaps))


def _median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, below[-1] / 2)])
