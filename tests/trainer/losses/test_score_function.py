import math

import pytest
import torch

from trainer.losses.score_function import Baseline, log_probability, sample_around, surrogate

PLAIN, ANGLE = torch.tensor([False]), torch.tensor([True])


def estimates(count: int, baseline: float) -> torch.Tensor:
    """Score-function gradients of E[v²] with respect to the mean of v ~ Normal(1.5, 0.5), one per sample."""
    generator = torch.Generator().manual_seed(0)
    sigma = torch.tensor([0.5])
    gradients = []
    for _ in range(count):
        mean = torch.tensor([1.5], requires_grad=True)
        values = sample_around(mean, sigma, PLAIN, generator)
        score = values.square().item()
        surrogate([log_probability(values, mean, sigma, PLAIN)], [score - baseline]).backward()
        gradients.append(-mean.grad)  # The surrogate is a loss: it points down.
    return torch.cat(gradients)


@pytest.mark.parametrize("baseline", [0.0, 2.5])
def test_the_estimate_is_unbiased(baseline: float) -> None:
    found = estimates(4000, baseline)

    expected = 2 * 1.5  # d/dμ E[v²] = d/dμ (μ² + σ²)
    assert abs(found.mean() - expected) < 3 * found.std() / math.sqrt(len(found))


def test_a_baseline_lowers_the_variance() -> None:
    assert estimates(1000, 2.5).std() < 0.8 * estimates(1000, 0.0).std()


def test_a_sample_with_a_gradient_is_refused() -> None:
    """An undetached sample makes the gradient of its log-density exactly zero."""
    mean = torch.tensor([1.5], requires_grad=True)

    with pytest.raises(ValueError, match="sample them with no_grad"):
        log_probability(mean + 0.5, mean, torch.tensor([0.5]), PLAIN)


def test_a_sample_is_not_changed_by_later_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.zeros(3)
    first = sample_around(mean, torch.ones(3), PLAIN.expand(3), generator)
    kept = first.clone()
    sample_around(mean, torch.ones(3), PLAIN.expand(3), generator)

    assert torch.equal(first, kept)
    assert torch.equal(mean, torch.zeros(3))


def test_angles_are_wrapped_and_so_is_their_density() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, sigma = torch.full((2000,), 179.0), torch.full((2000,), 10.0)
    values = sample_around(mean, sigma, ANGLE.expand(2000), generator)

    assert values.min() >= -180
    assert values.max() < 180
    assert (values < 0).float().mean() == pytest.approx(0.46, abs=0.04)  # P(z > 0.1)
    across = log_probability(torch.tensor([-179.0]), torch.tensor([179.0]), torch.tensor([10.0]), ANGLE)
    within = log_probability(torch.tensor([177.0]), torch.tensor([179.0]), torch.tensor([10.0]), ANGLE)
    assert across.item() == pytest.approx(within.item(), abs=1e-6)


def test_the_density_is_that_of_torch() -> None:
    values, mean, sigma = torch.tensor([0.3]), torch.tensor([1.0]), torch.tensor([2.0])

    expected = torch.distributions.Normal(mean, sigma).log_prob(values)
    assert torch.allclose(log_probability(values, mean, sigma, PLAIN), expected)


def test_the_baseline_is_subtracted_before_it_moves() -> None:
    baseline = Baseline(decay=0.7)

    assert baseline.advantage(0.5) == 0.0  # Nothing to compare with yet
    assert baseline.advantage(0.9) == pytest.approx(0.4)  # Not 0.3 * 0.4
    assert baseline.value == pytest.approx(0.7 * 0.5 + 0.3 * 0.9)
