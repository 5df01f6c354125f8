"""Squared maximum mean discrepancy (Gretton et al., A Kernel Two-Sample Test, JMLR 2012; paper, section 3.2.2)."""

from collections.abc import Sequence

import torch
from torch import Tensor

#: Bandwidths of the Gaussian kernels, as multiples of the median distance between target features.
BANDWIDTHS = (0.5, 1.0, 2.0)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|² [N, M] of x [N, D] and y [M, D], by a matrix product: no N x M x D tensor."""
    x_norms, y_norms = (x * x).sum(1), (y * y).sum(1)
    return (x_norms[:, None] + y_norms[None, :] - 2 * (x @ y.T)).clamp_min(0)


def gaussian_kernel(squared: Tensor, bandwidths: Sequence[float]) -> Tensor:
    """Mean over the bandwidths σ of exp(-d² / 2σ²); same shape as `squared`."""
    return torch.stack([torch.exp(squared / (-2 * sigma * sigma)) for sigma in bandwidths]).mean(0)


def median_distance(features: Tensor) -> float:
    """Median distance between two different rows of features [N, D] (the median heuristic).

    Raises:
        ValueError: there are fewer than two rows, or they are all equal.
    """
    squared = squared_distances(features, features)
    off_diagonal = ~torch.eye(len(features), dtype=torch.bool, device=features.device)
    median = squared[off_diagonal].median().sqrt().item() if len(features) > 1 else 0.0
    if not median > 0:
        raise ValueError("the median distance needs two different rows of features at least")
    return median


class MMD:
    """MMD² between a set of features and a fixed target, whose part is computed once.

    Args:
        target: features of the target, [M, D] with M >= 2.
        bandwidths: of the Gaussian kernels; default: `BANDWIDTHS` times the target's median distance.
        biased: the V-statistic, never negative, instead of the U-statistic, whose mean is the true MMD².

    Raises:
        ValueError: the target has fewer than two different rows.
    """

    def __init__(self, target: Tensor, bandwidths: Sequence[float] | None = None, *, biased: bool = False) -> None:
        if bandwidths is None:
            median = median_distance(target)
            bandwidths = [factor * median for factor in BANDWIDTHS]
        self.target = target
        self.bandwidths = tuple(bandwidths)
        self.biased = biased
        self._within_target = self._within(target)

    def __call__(self, features: Tensor) -> Tensor:
        """MMD², a scalar, of features [N, D] with N >= 2; differentiable with respect to them."""
        across = gaussian_kernel(squared_distances(features, self.target), self.bandwidths).mean()
        return self._within(features) + self._within_target - 2 * across

    def _within(self, features: Tensor) -> Tensor:
        kernel = gaussian_kernel(squared_distances(features, features), self.bandwidths)
        n = len(features)
        if self.biased:
            return kernel.mean()
        return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))
