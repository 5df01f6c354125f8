"""Kernel inception distance (Bińkowski et al., Demystifying MMD GANs, ICLR 2018), in any feature space.

KID is the unbiased MMD² with the kernel (x·y / D + 1)³. It has no bandwidth, so runs and epochs are comparable.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

#: Images of each set in a block.
BLOCK = 64


@dataclass(frozen=True)
class KID:
    """A distance with its standard error."""

    value: float
    standard_error: float


def polynomial_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Return the unbiased MMD² with the cubic kernel of features x [N, D] and y [M, D]; N and M are at least 2."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Tensor) -> Tensor:
        own = kernel(a, a)
        return (own.sum() - own.diagonal().sum()) / (len(a) * (len(a) - 1))

    return within(x) + within(y) - 2 * kernel(x, y).mean()


def kid(x: Tensor, y: Tensor, block: int = BLOCK) -> KID:
    """Return the mean over disjoint blocks, and its standard error from the variance between blocks.

    Args:
        x, y: features [N, D] and [M, D] in random order. Rows beyond the last whole block are left out.
        block: rows of each set in a block.

    Raises:
        ValueError: there are fewer than two blocks of at least two rows.
    """
    blocks = min(len(x), len(y)) // block
    if blocks < 2 or block < 2:
        raise ValueError(f"{len(x)} and {len(y)} features are too few for two blocks of {max(block, 2)}")
    parts = zip(x.cpu().double().split(block), y.cpu().double().split(block), strict=False)
    values = torch.stack([polynomial_mmd(a, b) for (a, b), _ in zip(parts, range(blocks), strict=False)])
    return KID(values.mean().item(), (values.std() / blocks**0.5).item())
