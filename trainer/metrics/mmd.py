"""Squared maximum mean discrepancy (Gretton et al., A Kernel Two-Sample Test, JMLR 2012; paper, section 3.2.2).

    MMD²(X, Y) = E k(x, x') + E k(y, y') - 2 E k(x, y)

The kernel is a mean of Gaussian ones: over the layers of a feature space, and over several bandwidths in each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.errors import InputError

#: Bandwidths of the Gaussian kernels, as multiples of a layer's median distance between target features.
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Return |x_i - y_j|² [N, M] of x [N, D] and y [M, D], by a matrix product instead of an N x M x D tensor."""
    x_norms, y_norms = (x * x).sum(1), (y * y).sum(1)
    return (x_norms[:, None] + y_norms[None, :] - 2 * (x @ y.T)).clamp_min(0)


def gaussian_kernel(squared: Tensor, bandwidths: Sequence[float]) -> Tensor:
    """Return the mean over the bandwidths σ of exp(-d² / 2σ²); same shape as `squared`."""
    return torch.stack([torch.exp(squared / (-2 * sigma * sigma)) for sigma in bandwidths]).mean(0)


def median_distance(features: Tensor) -> float:
    """Return the median distance between two different rows of features [N, D] (the median heuristic).

    Raises:
        InputError: there are fewer than two rows, or most are equal.
    """
    squared = squared_distances(features, features)
    off_diagonal = ~torch.eye(len(features), dtype=torch.bool, device=features.device)
    median = squared[off_diagonal].median().sqrt().item() if len(features) > 1 else 0.0
    if not median > 0:
        raise InputError(
            "target: its images are all alike in the feature space, or there is only one; MMD needs images that differ"
        )
    return median


@dataclass(frozen=True)
class Floor:
    """MMD² between two halves of the target: the floor explained by chance alone."""

    mean: float
    #: The 95 % quantile over the splits.
    upper: float


def mmd_floor(mmd: "MMD", rng: np.random.Generator, splits: int = 100) -> Floor:
    """Return the unbiased MMD² between random halves of the target's features; at least 4 rows are needed."""
    kernel = mmd.kernel(mmd.target, mmd.target)
    half = len(mmd.target) // 2
    values = []
    for _ in range(splits):
        order = torch.from_numpy(rng.permutation(len(mmd.target)))
        first, second = order[:half], order[half : 2 * half]
        within = [kernel[rows][:, rows] for rows in (first, second)]
        means = [(part.sum() - part.diagonal().sum()) / (half * (half - 1)) for part in within]
        values.append((means[0] + means[1] - 2 * kernel[first][:, second].mean()).item())
    return Floor(float(np.mean(values)), float(np.quantile(values, 0.95)))


class MMD:
    """MMD² between a set of features and a fixed target, whose terms are computed once.

    Args:
        target: features of the target, [M, D] with M >= 2.
        layers: columns of each layer, D in total; default: one layer.
        bandwidths: bandwidths of the Gaussian kernels in every layer; default: `BANDWIDTHS` times the layer's median
            distance in the target.
        biased: use the V-statistic, which is never negative, instead of the unbiased U-statistic.

    Raises:
        InputError: the target has fewer than two different rows in a layer.
        RuntimeError: the layers do not match its columns.
    """

    def __init__(
        self,
        target: Tensor,
        layers: Sequence[int] | None = None,
        bandwidths: Sequence[float] | None = None,
        *,
        biased: bool = False,
    ) -> None:
        self.layers = list(layers) if layers is not None else [target.shape[1]]
        self.target = target
        self.bandwidths = [
            list(bandwidths) if bandwidths is not None else [factor * median_distance(part) for factor in BANDWIDTHS]
            for part in target.split(self.layers, 1)
        ]
        self.biased = biased
        self._within_target = self._within(target)

    def __call__(self, features: Tensor) -> Tensor:
        """Return MMD², a scalar, of features [N, D] with N >= 2; differentiable with respect to them."""
        return self._within(features) + self._within_target - 2 * self.kernel(features, self.target).mean()

    def kernel(self, x: Tensor, y: Tensor) -> Tensor:
        """Return k(x_i, y_j) [N, M] of x [N, D] and y [M, D]."""
        parts = zip(x.split(self.layers, 1), y.split(self.layers, 1), self.bandwidths, strict=True)
        kernels = [gaussian_kernel(squared_distances(a, b), bandwidths) for a, b, bandwidths in parts]
        return torch.stack(kernels).mean(0)

    def contributions(self, candidates: Tensor, features: Tensor, places: Tensor) -> Tensor:
        """Return the part of MMD² of N features that depends on one row, for candidates of that row.

        h_i(x) = 2/N (1/(N-1) Σ_{j≠i} k(x, x_j) - 1/M Σ_m k(x, y_m)) with i = places: up to a constant in x the
        U-statistic with row i replaced by x, and 2/N times the witness function of Gretton et al. (2012, section 2.3).

        Args:
            candidates: [K, D].
            features: [N, D].
            places: int64 [K], the row that each candidate replaces.

        Returns:
            [K]
        """
        n = len(features)
        kernel = self.kernel(candidates, features)
        own = kernel.gather(1, places.to(kernel.device)[:, None]).squeeze(1)
        others = (kernel.sum(1) - own) / (n - 1)
        return 2 / n * (others - self.kernel(candidates, self.target).mean(1))

    def baselines(self, features: Tensor) -> Tensor:
        """Return, for each of N >= 3 rows, the mean contribution of the other rows to their own MMD².

        b_i = 2/N mean_{j≠i} (1/(N-2) Σ_{l≠i,j} k(x_j, x_l) - 1/M Σ_m k(x_j, y_m)): close to `contributions`, and
        independent of row i.
        """
        n = len(features)
        kernel = self.kernel(features, features)
        sums = kernel.sum(1) - kernel.diagonal()
        across = self.kernel(features, self.target).mean(1)
        within = (sums.sum() - 2 * sums) / ((n - 1) * (n - 2))
        return 2 / n * (within - (across.sum() - across) / (n - 1))

    def _within(self, features: Tensor) -> Tensor:
        kernel = self.kernel(features, features)
        n = len(features)
        if self.biased:
            return kernel.mean()
        return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))
