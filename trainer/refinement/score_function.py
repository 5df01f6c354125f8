"""The score-function gradient of a black-box score (REINFORCE, Williams 1992; paper, equations 2 to 4).

    ∇_μ E[R(v)] = E[(R(v) - b) ∇_μ log p(v)],   v ~ Normal(μ, σ)

The paper draws every attribute of every scene by itself. The mean over a dataset of N scenes then moves by σ / √N only,
which a score hardly notices, while the noise of N separate gradients adds up. Here attributes of one name share a part
of their noise: n = √ρ z + √(1-ρ) ε, with z the same for all and ε for each. Every attribute still is Normal(μ, σ), but
the dataset as a whole moves by σ √ρ. The gradient is followed in the direction that this explores, the common shift:

    Σ_i ∂/∂μ_i log p(v) = Σ_i n_i / (σ (1 - ρ + N ρ))

from the inverse of the equicorrelated covariance. Its variance 1 / (σ² (ρ + (1-ρ)/N)) does not grow with N. Angles are
wrapped after they are drawn, which changes nothing here: the density is that of the draw. Samples come in pairs ±n
(antithetic sampling), so whatever is even in n cancels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

#: ρ: the part of the variance that is shared.
CORRELATION = 0.9


def shared_noise(places: Tensor, count: int, generator: torch.Generator, correlation: float = CORRELATION) -> Tensor:
    """n [M]: standard normal, with `correlation` between those of the same place and none between others.

    Args:
        places: int64 [M], below `count`.
    """
    common = torch.randn(count, generator=generator).to(places.device)
    own = torch.randn(len(places), generator=generator).to(places.device)
    return correlation**0.5 * common[places] + (1 - correlation) ** 0.5 * own


def shared_score(noise: Tensor, places: Tensor, count: int, correlation: float = CORRELATION) -> Tensor:
    """σ ∂/∂δ log p [count]: of a common shift δ of all values of a place, at the values μ + σ n.

    0 for places without a value.
    """
    sums = noise.new_zeros(count).index_add_(0, places, noise)
    sizes = torch.bincount(places, minlength=count)
    return sums / (1 - correlation + sizes * correlation)


@dataclass
class Baseline:
    """Moving average of the scores: the b that is subtracted to lower the variance."""

    decay: float = 0.9
    value: float | None = None

    def advantages(self, scores: list[float]) -> list[float]:
        """score - b of each, with the b of the scores before them; their mean then joins the average.

        With no scores before them, b is their own mean.
        """
        mean = sum(scores) / len(scores)
        before = mean if self.value is None else self.value
        self.value = before * self.decay + mean * (1 - self.decay)
        return [score - before for score in scores]
