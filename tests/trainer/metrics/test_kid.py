import itertools
import math

import pytest
import torch

from trainer.metrics.kid import kid, polynomial_mmd


def points(n: int, seed: int, offset: float = 0.0) -> torch.Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + offset


def direct(x: torch.Tensor, y: torch.Tensor) -> float:
    """Bińkowski et al. (2018), equation 4, pair by pair."""

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        return (float(a @ b) / len(a) + 1) ** 3

    def within(p: torch.Tensor) -> float:
        pairs = [(i, j) for i, j in itertools.product(range(len(p)), repeat=2) if i != j]
        return sum(kernel(p[i], p[j]) for i, j in pairs) / len(pairs)

    return within(x) + within(y) - 2 * sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))


def test_it_equals_the_direct_sum() -> None:
    x, y = points(6, 0), points(8, 1, 0.3)
    assert polynomial_mmd(x, y).item() == pytest.approx(direct(x, y), abs=1e-12)


def test_equal_distributions_lie_within_the_standard_error() -> None:
    found = [kid(points(320, 2 * i), points(320, 2 * i + 1), block=32) for i in range(200)]
    z = torch.tensor([item.value / item.standard_error for item in found])
    # Of ten blocks: Student's t with nine degrees of freedom.
    assert abs(z.mean()) < 3 * 1.13 / math.sqrt(len(z))
    assert (z.abs() < 2.26).double().mean() == pytest.approx(0.95, abs=0.05)


def test_it_grows_with_the_distance() -> None:
    near, far = (kid(points(640, 0), points(640, 1, offset)) for offset in (0.1, 0.8))
    assert near.value < far.value
    assert far.value > 5 * far.standard_error


def test_one_block_has_no_standard_error() -> None:
    with pytest.raises(ValueError, match="100 and 200 features are too few for two blocks of 64"):
        kid(points(100, 0), points(200, 1))
