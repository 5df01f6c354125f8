"""The two-sample test: its level, its power, and the verdict."""

import numpy as np
import pytest
import torch

from trainer.errors import InputError
from trainer.metrics.mmd import MMD
from trainer.metrics.two_sample import LEVEL, two_sample_test, verdict


def normal(seed: int, count: int, mean: float = 0.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(mean, 1, (count, 5)))


def test_the_statistic_is_the_unbiased_mmd() -> None:
    x, y = normal(0, 30), normal(1, 20, 0.5)
    pooled = torch.cat([x, y])
    bandwidths = MMD(pooled).bandwidths[0]
    expected = MMD(y, bandwidths=bandwidths)(x).item()
    assert two_sample_test(x, y, np.random.default_rng(0), permutations=9).mmd == pytest.approx(expected, abs=1e-12)


def test_samples_of_one_distribution_are_rejected_at_the_stated_level() -> None:
    trials = 200
    rejected = sum(
        two_sample_test(normal(2 * i, 25), normal(2 * i + 1, 25), np.random.default_rng(i), permutations=99).rejected
        for i in range(trials)
    )
    # Binomial(200, 0.05): mean 10, standard deviation 3.1; a permutation test's level is exact.
    assert abs(rejected - LEVEL * trials) < 4 * (trials * LEVEL * (1 - LEVEL)) ** 0.5


def test_samples_of_two_distributions_are_told_apart() -> None:
    for seed in range(5):
        test = two_sample_test(normal(seed, 60), normal(seed + 100, 60, 1.0), np.random.default_rng(seed))
        assert test.rejected


def test_a_dependence_with_equal_marginals_is_found() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(200, 1))
    joint = torch.from_numpy(np.hstack([a, a + 0.3 * rng.normal(size=(200, 1))]))
    b = rng.normal(size=(200, 1))
    apart = torch.from_numpy(np.hstack([b, rng.normal(size=(200, 1)) * 1.044]))
    assert two_sample_test(joint, apart, rng).rejected


def test_features_that_are_all_alike_are_refused() -> None:
    with pytest.raises(InputError, match="all alike"):
        two_sample_test(torch.zeros(4, 2), torch.zeros(4, 2), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("prior", "learned", "outcome"),
    [(3.0, 0.0, "matches"), (3.0, 1.0, "closer"), (1.0, 1.0, "apart"), (0.5, 3.0, "apart")],
)
def test_verdict(prior: float, learned: float, outcome: str) -> None:
    found = verdict(
        normal(1, 150, prior), normal(2, 150, learned), normal(3, 150), np.random.default_rng(0), features="numbers"
    )
    assert found.outcome == outcome
    assert found.text.startswith(outcome)
    assert found.to_json()["target_images"] == 150


def test_equal_distances_are_seldom_called_closer() -> None:
    closer = 0
    for seed in range(60):
        samples = [normal(3 * seed + i, 40, mean) for i, mean in enumerate((0.8, 0.8, 0.0))]
        closer += verdict(*samples, np.random.default_rng(seed), features="numbers").outcome == "closer"
    # One-sided at 5 %: 3 expected, and the bootstrap is approximate.
    assert closer <= 9
