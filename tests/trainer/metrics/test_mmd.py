import itertools
import math

import numpy as np
import pytest
import torch

from trainer.errors import InputError
from trainer.metrics.mmd import BANDWIDTHS, MMD, gaussian_kernel, median_distance, mmd_floor, squared_distances


def direct_mmd(x: torch.Tensor, y: torch.Tensor, bandwidths: tuple[float, ...], biased: bool) -> float:
    """The sums of Gretton et al. (2012), equations 3 and 5, pair by pair."""

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        squared = float(((a - b) ** 2).sum())
        return sum(math.exp(-squared / (2 * s * s)) for s in bandwidths) / len(bandwidths)

    def within(points: torch.Tensor) -> float:
        n = len(points)
        pairs = [(i, j) for i, j in itertools.product(range(n), range(n)) if biased or i != j]
        return sum(kernel(points[i], points[j]) for i, j in pairs) / len(pairs)

    across = sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))
    return within(x) + within(y) - 2 * across


def points(n: int, seed: int, offset: float = 0.0) -> torch.Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + offset


@pytest.mark.parametrize("biased", [False, True])
def test_it_equals_the_direct_sum(biased: bool) -> None:
    x, y = points(7, 0), points(9, 1, 0.5)

    mmd = MMD(y, bandwidths=(0.5, 2.0), biased=biased)

    assert mmd(x).item() == pytest.approx(direct_mmd(x, y, (0.5, 2.0), biased), abs=1e-12)


def test_each_layer_has_its_own_distances_and_bandwidths() -> None:
    x, y = points(7, 0), points(9, 1, 0.5)
    scales = torch.tensor([1.0, 1.0, 100.0], dtype=torch.float64)

    both = MMD(y * scales, layers=[2, 1])(x * scales)

    first, second = MMD(y[:, :2])(x[:, :2]), MMD(y[:, 2:])(x[:, 2:])
    assert both.item() == pytest.approx((first + second).item() / 2, abs=1e-12)


def test_a_contribution_is_what_a_row_changes() -> None:
    """Two candidates for a row differ in their contributions as the MMDs with the one and the other in it do."""
    mmd, x, candidates = MMD(points(9, 1, 0.5)), points(7, 0), points(2, 5)

    found = mmd.contributions(candidates, x, torch.tensor([3, 3]))

    with_row = [mmd(torch.cat([x[:3], candidate[None], x[4:]])) for candidate in candidates]
    assert (found[1] - found[0]).item() == pytest.approx((with_row[1] - with_row[0]).item(), abs=1e-12)


def test_its_gradient_is_that_of_its_finite_differences() -> None:
    mmd = MMD(points(6, 1, 0.5))

    assert torch.autograd.gradcheck(mmd, points(5, 0).requires_grad_())


def test_the_unbiased_estimate_is_zero_on_average_for_equal_distributions() -> None:
    estimates = torch.stack([MMD(points(40, 2 * i), bandwidths=(1.0, 2.0))(points(30, 2 * i + 1)) for i in range(300)])

    standard_error = estimates.std() / math.sqrt(len(estimates))
    assert abs(estimates.mean()) < 3 * standard_error
    biased = torch.stack(
        [MMD(points(40, 2 * i), bandwidths=(1.0, 2.0), biased=True)(points(30, 2 * i + 1)) for i in range(300)]
    )
    assert biased.min() > 0


def test_bandwidths_follow_the_median_distance_of_the_target() -> None:
    square = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0], [3.0, 3.0]])

    assert median_distance(square) == pytest.approx(3.0)
    assert MMD(square).bandwidths[0] == pytest.approx([factor * 3.0 for factor in BANDWIDTHS])


@pytest.mark.parametrize("target", [torch.ones(4, 2), torch.ones(1, 2)])
def test_a_target_without_spread_has_no_bandwidth(target: torch.Tensor) -> None:
    with pytest.raises(InputError, match="all alike"):
        MMD(target)


def test_distances_need_no_three_dimensional_tensor() -> None:
    wide = torch.ones(1500, 20_000)  # As an N x N x D tensor: 180 GB

    assert squared_distances(wide, wide[:1]).shape == (1500, 1)
    assert gaussian_kernel(squared_distances(wide, wide), (1.0,)).shape == (1500, 1500)


def test_the_floor_is_what_two_samples_of_one_distribution_have() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(120, 3, generator=generator)
    mmd = MMD(target, bandwidths=(1.0,))
    floor = mmd_floor(mmd, np.random.default_rng(0), splits=400)
    fresh = []
    for _ in range(400):
        x, y = torch.randn(2, 60, 3, generator=generator)
        fresh.append(MMD(y, bandwidths=(1.0,))(x).item())
    assert floor.mean == pytest.approx(0, abs=4 * np.std(fresh) / 20)
    assert floor.upper == pytest.approx(np.quantile(fresh, 0.95), rel=0.35)
