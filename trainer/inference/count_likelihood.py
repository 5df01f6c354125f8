"""How readings of counts err: p(d | n) of readings d [J] where the true counts are n [J].

    d | n ~ Normal(B n + b + c N², Σ(n)),    N = Σ_j n_j
    Σ(n) = diag(s(n)) R diag(s(n)),    s_j(n)² = f_j + g_j n_j + h_j N

B says which kind is read as which (misses and class confusion), b what is imagined, c how crowded images saturate. All
are estimated on renders whose truth is known. The mean is that of the readings given the truth, so a weak reading leads
to a wide likelihood, not to a wrong one.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

#: Ridge of the regressions, in renders.
RIDGE = 1.0
#: Smallest standard deviation of a reading, in nodes.
NARROWEST = 0.02


@dataclass(frozen=True)
class CountLikelihood:
    """p(d | n).

    Attributes:
        means: [J + 2, J], the regression of the readings on `_terms` of the true counts.
        variances: [J, 3], f, g and h of each reading.
        correlation: [J, J], of the errors.
    """

    means: np.ndarray
    variances: np.ndarray
    correlation: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray, readings: np.ndarray) -> "CountLikelihood":
        """Estimate it from renders.

        Args:
            counts: true ones, int [N, J].
            readings: [N, J].
        """
        terms, channels = _terms(counts), counts.shape[1]
        exact = np.vstack([np.zeros(channels), np.eye(channels), np.zeros(channels)])  # Readings are right.
        ridge = RIDGE * np.diag([0.0, *np.ones(channels), 10.0])
        means = np.linalg.solve(terms.T @ terms + ridge, terms.T @ readings + ridge @ exact)
        errors: np.ndarray = readings - terms @ means
        total = counts.sum(1)
        variances = np.stack(
            [
                nnls(np.column_stack([np.ones(len(total)), counts[:, j], total]), errors[:, j] ** 2)[0]
                for j in range(channels)
            ]
        )
        found = cls(means, variances, np.eye(channels))
        scaled = errors / found._stds(counts)
        moments = scaled.T @ scaled + RIDGE * np.eye(channels)
        scale = np.sqrt(np.diag(moments))
        return cls(means, variances, moments / np.outer(scale, scale))

    def log_likelihood(self, readings: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return log p(d | n) [T, A] of readings [T, J] and true counts [A, J], up to a constant."""
        factor = np.linalg.inv(np.linalg.cholesky(self.correlation))
        stds = self._stds(counts)
        means = _terms(counts) @ self.means
        found = np.empty((len(readings), len(counts)))
        for a, (mean, std) in enumerate(zip(means, stds, strict=True)):
            found[:, a] = -0.5 * np.square(((readings - mean) / std) @ factor.T).sum(1) - np.log(std).sum()
        return found

    def _stds(self, counts: np.ndarray) -> np.ndarray:
        """Return the standard deviations [A, J] of the readings."""
        total = counts.sum(1, keepdims=True)
        f, g, h = self.variances.T
        return np.asarray(np.sqrt(np.maximum(f + g * counts + h * total, NARROWEST**2)))


def _terms(counts: np.ndarray) -> np.ndarray:
    """Return 1, n and N² / 10 [A, J + 2]."""
    total = counts.sum(1)
    return np.column_stack([np.ones(len(counts)), counts, total**2 / 10])
