"""The score-function gradient of a black-box score (REINFORCE, Williams 1992; paper, equations 3 and 4).

    ∇_θ E[R(v)] = E[(R(v) - b) ∇_θ log p_θ(v)],   v ~ Normal(μ_θ, σ), wrapped for angles

The sample v must not carry a gradient: with one, that of log p cancels to zero. And the score R must come from data
made of that very sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: Turns on each side over which the density of a wrapped normal is summed.
_TURNS = 2


def sample_around(mean: Tensor, sigma: Tensor, is_angle: Tensor, generator: torch.Generator) -> Tensor:
    """Draws v ~ Normal(mean, sigma), [M], without gradient; angles, in degrees, are wrapped to [-180, 180)."""
    with torch.no_grad():
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        values = mean + sigma * noise
        return torch.where(is_angle, (values + 180) % 360 - 180, values)


def log_probability(values: Tensor, mean: Tensor, sigma: Tensor, is_angle: Tensor) -> Tensor:
    """log p(v) [M] under Normal(mean, sigma); under the wrapped normal for angles. Differentiable in `mean`.

    Raises:
        ValueError: `values` carries a gradient.
    """
    if values.requires_grad:
        raise ValueError("values carry a gradient, which would cancel that of the density: sample them with no_grad")
    turns = 360.0 * torch.arange(-_TURNS, _TURNS + 1, dtype=mean.dtype)
    z = (values[:, None] + torch.where(is_angle[:, None], turns, torch.zeros_like(turns)) - mean[:, None]) / sigma[
        :, None
    ]
    log_densities = -0.5 * z * z - torch.log(sigma[:, None] * (2 * torch.pi) ** 0.5)
    return torch.where(is_angle, torch.logsumexp(log_densities, 1), log_densities[:, 0])


@dataclass
class Baseline:
    """Moving average of the scores: the b that is subtracted to lower the variance."""

    decay: float = 0.9
    value: float | None = None

    def advantage(self, score: float) -> float:
        """score - b with the b of the scores before this one, which then joins the average. 0 for the first score."""
        before = score if self.value is None else self.value
        self.value = before * self.decay + score * (1 - self.decay)
        return score - before


def surrogate(log_probabilities: Sequence[Tensor], advantages: Sequence[float]) -> Tensor:
    """A loss whose gradient is minus the score-function estimate: -(1/K) Σ_k advantage_k Σ log p(v_k).

    Args:
        log_probabilities: of K samples, [M] each.
        advantages: score minus baseline of each, of data made from that sample.
    """
    terms = [advantage * log_p.sum() for log_p, advantage in zip(log_probabilities, advantages, strict=True)]
    return -torch.stack(terms).mean()
