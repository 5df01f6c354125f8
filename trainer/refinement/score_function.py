"""The score-function gradient of a black-box score (REINFORCE, Williams 1992; paper, equations 2 to 4).

    ∇_μ E[R(v)] = E[(R(v) - b) ∇_μ log p(v)],   v ~ Normal(μ, σ)

The paper perturbs every attribute of every scene independently. The mean over a dataset of N scenes then moves by only
σ / √N, which barely changes the score, while the noise of N separate gradients adds up. Here attributes of the same
name share part of their noise: n = √ρ z + √(1-ρ) ε, with one z for all and one ε each. Every attribute remains
Normal(μ, σ), but the dataset mean moves by σ √ρ. The gradient is projected onto this shared direction, the common
shift:

    Σ_i ∂/∂μ_i log p(v) = Σ_i n_i / (σ (1 - ρ + N ρ))

from the inverse of the equicorrelated covariance. Its variance 1 / (σ² (ρ + (1-ρ)/N)) does not grow with N. Angles are
wrapped after sampling; the density of the unwrapped draw applies. Samples come in pairs ±n (antithetic sampling), so
terms even in n cancel.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

#: ρ: the part of the variance that is shared.
CORRELATION = 0.9


def shared_noise(places: Tensor, count: int, generator: torch.Generator, correlation: float = CORRELATION) -> Tensor:
    """Return n [M], standard normal: values of the same place have correlation `correlation`, others none.

    Args:
        places: int64 [M], below `count`.
    """
    common = torch.randn(count, generator=generator).to(places.device)
    own = torch.randn(len(places), generator=generator).to(places.device)
    return correlation**0.5 * common[places] + (1 - correlation) ** 0.5 * own


def shared_score(noise: Tensor, places: Tensor, count: int, correlation: float = CORRELATION) -> Tensor:
    """Return σ ∂/∂δ log p [count] for a common shift δ of all values of a place, at the values μ + σ n.

    0 for places without a value.
    """
    sums = noise.new_zeros(count).index_add_(0, places, noise)
    sizes = torch.bincount(places, minlength=count)
    return sums / (1 - correlation + sizes * correlation)


@dataclass
class Baseline:
    """Moving average of the scores: the baseline b, which lowers the variance."""

    decay: float = 0.9
    value: float | None = None

    def advantages(self, scores: list[float]) -> list[float]:
        """Return score - b for each score, with b from earlier scores; then add their mean to the average.

        Without earlier scores, b is their own mean.
        """
        mean = sum(scores) / len(scores)
        before = mean if self.value is None else self.value
        self.value = before * self.decay + mean * (1 - self.decay)
        return [score - before for score in scores]
