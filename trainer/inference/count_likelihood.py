"""The errors of readings of counts: p(d | n) of readings d [D] where the true counts are n [J].

    d | n ~ Normal(B n + b + c N², Σ(n)),    N = Σ_j n_j
    Σ(n) = diag(s(n)) R diag(s(n)),    s_k(n)² = f_k + g_k n_j(k) + h_k N

Several networks may read the same channel: reading k is of channel j(k). B holds misses and class confusion, b false
detections, and c the saturation in crowded images. All are estimated on renders with known counts. The model is of the
readings given the true counts, so a weak reading widens the likelihood without biasing it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

#: Ridge of the regressions, in renders.
RIDGE = 1.0
#: Smallest standard deviation of a reading, in nodes.
NARROWEST = 0.02


@dataclass(frozen=True)
class CountLikelihood:
    """The likelihood p(d | n).

    Attributes:
        means: [J + 2, D], the regression of the readings on `_terms` of the true counts.
        variances: [D, 3], f, g and h of each reading.
        correlation: [D, D], correlations of the errors.
        channels: int [D], the channel that each reading is of.
    """

    means: np.ndarray
    variances: np.ndarray
    correlation: np.ndarray
    channels: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray, readings: np.ndarray, channels: Sequence[int] | None = None) -> "CountLikelihood":
        """Return the likelihood that is estimated from renders.

        Args:
            counts: true counts, int [N, J].
            readings: [N, D].
            channels: the channel of each reading; None: each channel is read once, in order.
        """
        terms, number = _terms(counts), counts.shape[1]
        own = np.arange(number) if channels is None else np.asarray(channels, dtype=np.int64)
        nothing = np.zeros((1, len(own)))
        exact = np.vstack([nothing, np.eye(number)[:, own], nothing])  # Readings are right.
        ridge = RIDGE * np.diag([0.0, *np.ones(number), 10.0])
        means = np.linalg.solve(terms.T @ terms + ridge, terms.T @ readings + ridge @ exact)
        errors: np.ndarray = readings - terms @ means
        total = counts.sum(1)
        variances = np.stack(
            [
                nnls(np.column_stack([np.ones(len(total)), counts[:, j], total]), errors[:, k] ** 2)[0]
                for k, j in enumerate(own)
            ]
        )
        found = cls(means, variances, np.eye(len(own)), own)
        scaled = errors / found._stds(counts)
        moments = scaled.T @ scaled + RIDGE * np.eye(len(own))
        scale = np.sqrt(np.diag(moments))
        return cls(means, variances, moments / np.outer(scale, scale), own)

    def log_likelihood(self, readings: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return log p(d | n) [T, A] of readings [T, D] and true counts [A, J], up to a constant."""
        factor = np.linalg.inv(np.linalg.cholesky(self.correlation))
        stds = self._stds(counts)
        means = _terms(counts) @ self.means
        found = np.empty((len(readings), len(counts)))
        for a, (mean, std) in enumerate(zip(means, stds, strict=True)):
            found[:, a] = -0.5 * np.square(((readings - mean) / std) @ factor.T).sum(1) - np.log(std).sum()
        return found

    def _stds(self, counts: np.ndarray) -> np.ndarray:
        """Return the standard deviations [A, D] of the readings."""
        total = counts.sum(1, keepdims=True)
        f, g, h = self.variances.T
        return np.asarray(np.sqrt(np.maximum(f + g * counts[:, self.channels] + h * total, NARROWEST**2)))


def _terms(counts: np.ndarray) -> np.ndarray:
    """Return 1, n and N² / 10 [A, J + 2]."""
    total = counts.sum(1)
    return np.column_stack([np.ones(len(counts)), counts, total**2 / 10])
