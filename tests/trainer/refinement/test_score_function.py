"""The estimator against closed forms, and against the density of a multivariate normal by automatic differentiation."""

import math

import pytest
import torch

from trainer.refinement.score_function import CORRELATION, Baseline, shared_noise, shared_score

#: Five values of one attribute and three of another.
PLACES = torch.tensor([0, 0, 1, 0, 1, 0, 1, 0])
SIGMA = torch.tensor([0.5, 2.0])
MEAN = torch.linspace(-1, 2, 8)


@pytest.mark.parametrize("correlation", [0.0, 0.5, CORRELATION])
def test_noise_is_standard_normal_and_correlated_within_an_attribute(correlation: float) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.stack([shared_noise(PLACES, 2, generator, correlation) for _ in range(20_000)])
    wanted = torch.where(PLACES[:, None] == PLACES[None], correlation, 0.0).fill_diagonal_(1.0)
    assert (torch.cov(noise.T) - wanted).abs().max() < 0.05


@pytest.mark.parametrize("correlation", [0.0, 0.5, CORRELATION])
def test_the_score_is_the_derivative_of_the_log_density(correlation: float) -> None:
    """Of a multivariate normal, with respect to a common shift of each attribute's means."""
    noise = shared_noise(PLACES, 2, torch.Generator().manual_seed(1), correlation).double()
    scale = SIGMA.double()[PLACES]
    covariance = torch.where(PLACES[:, None] == PLACES[None], correlation, 0.0).double().fill_diagonal_(1.0)
    shift = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    density = torch.distributions.MultivariateNormal(
        MEAN.double() + shift[PLACES], covariance * scale[:, None] * scale[None]
    )
    density.log_prob(MEAN.double() + scale * noise).backward()

    found = shared_score(noise.float(), PLACES, 2, correlation) / SIGMA
    assert torch.allclose(found.double(), shift.grad, atol=1e-4)


def gradients(count: int, baseline: float, correlation: float = CORRELATION) -> torch.Tensor:
    """Estimates [count, 2] of ∂/∂δ E[R] with R = -mean((v - 1)²) over all values."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(count):
        noise = shared_noise(PLACES, 2, generator, correlation)
        score = -(MEAN + SIGMA[PLACES] * noise - 1).square().mean()
        found.append((score - baseline) * shared_score(noise, PLACES, 2, correlation) / SIGMA)
    return torch.stack(found)


@pytest.mark.parametrize("baseline", [0.0, -3.0])
@pytest.mark.parametrize("correlation", [0.0, CORRELATION])
def test_the_estimate_is_unbiased(baseline: float, correlation: float) -> None:
    found = gradients(20_000, baseline, correlation)
    # d/dδ of -mean((μ + δ - 1)² + σ²) at δ = 0, for the values of each attribute
    wanted = torch.zeros(2).index_add_(0, PLACES, -2 * (MEAN - 1)) / len(PLACES)
    error = found.std(0) / math.sqrt(len(found))
    assert ((found.mean(0) - wanted).abs() < 4 * error).all()


def test_shared_noise_lowers_the_variance_of_many_values() -> None:
    """With independent noise the variance of the common direction's score grows with the number of values."""
    places = torch.zeros(500, dtype=torch.int64)
    variances = {}
    for correlation in (0.0, CORRELATION):
        generator = torch.Generator().manual_seed(0)
        scores = [
            shared_score(shared_noise(places, 1, generator, correlation), places, 1, correlation) for _ in range(2000)
        ]
        variances[correlation] = torch.stack(scores).var().item()
    assert variances[0.0] == pytest.approx(500, rel=0.1)
    assert variances[CORRELATION] == pytest.approx(1 / (CORRELATION + (1 - CORRELATION) / 500), rel=0.1)


def test_the_baseline_is_subtracted_before_it_is_updated() -> None:
    baseline = Baseline(decay=0.9)
    assert baseline.advantages([0.5, 0.7]) == pytest.approx([-0.1, 0.1])
    assert baseline.value == pytest.approx(0.6)
    assert baseline.advantages([0.9, 0.7]) == pytest.approx([0.3, 0.1])
    assert baseline.value == pytest.approx(0.9 * 0.6 + 0.1 * 0.8)


def test_a_baseline_lowers_the_variance() -> None:
    score = float(-(MEAN - 1).square().mean() - SIGMA[PLACES].square().mean())
    assert gradients(3000, score).var(0).sum() < gradients(3000, 0.0).var(0).sum()


def test_an_attribute_without_values_has_no_score() -> None:
    noise = shared_noise(PLACES, 3, torch.Generator().manual_seed(0))
    assert shared_score(noise, PLACES, 3)[2] == 0
