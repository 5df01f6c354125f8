"""Cheaper estimates against the whole gradient, on images in closed form."""

import numpy as np
import pytest
import torch
from support.worlds import gradient, sampled, smooth_weights

from trainer.grammar import Grammar
from trainer.rendering import Probing, Renderer

COPIES = 400


@pytest.fixture(scope="module")
def central(blobs: Grammar, fake: Renderer) -> torch.Tensor:
    """The whole gradient of one scene, [8]."""
    return gradient(fake, sampled(blobs, 1), Probing(), weights=one_weight(1))


def one_weight(count: int) -> torch.Tensor:
    return smooth_weights(1, 24, 32).expand(count, 3, 24, 32)


@pytest.mark.parametrize(
    "probing", [Probing(columns=0.3), Probing(difference="spsa"), Probing(difference="spsa", columns=0.5)]
)
def test_random_estimates_are_right_on_average(
    blobs: Grammar, fake: Renderer, central: torch.Tensor, probing: Probing
) -> None:
    """The mean of independent estimates lies within four of its standard errors."""
    scenes = sampled(blobs, 1) * COPIES

    estimates = gradient(fake, scenes, probing, weights=one_weight(COPIES)).reshape(COPIES, 8).double()

    error = estimates.std(dim=0) / np.sqrt(COPIES)
    assert (error > 0).all()
    # The difference's own error: all attributes step at once.
    slack = 0.01 * central.abs().max()
    assert ((estimates.mean(dim=0) - central).abs() < 4 * error + slack).all()


def test_estimates_are_functions_of_the_seed(blobs: Grammar, fake: Renderer) -> None:
    for probing in (Probing(columns=0.5), Probing(difference="spsa")):
        found = [gradient(fake, sampled(blobs, 2), probing, seed=seed) for seed in (5, 5, 6)]

        assert torch.equal(found[0], found[1])
        assert not torch.equal(found[0], found[2])


def test_columns_that_are_not_probed_have_no_derivative_and_cost_nothing(blobs: Grammar, fake: Renderer) -> None:
    before = fake.pool.stats.renders

    found = gradient(fake, sampled(blobs, 4), Probing(columns=0.25))

    assert fake.pool.stats.renders == before + 4 + 2 * 8
    assert (found != 0).sum() == 8


def test_forward_differences_cost_half_and_err_by_the_step(
    blobs: Grammar, fake: Renderer, central: torch.Tensor
) -> None:
    before = fake.pool.stats.renders

    found = gradient(fake, sampled(blobs, 1), Probing(difference="forward"), weights=one_weight(1))

    assert fake.pool.stats.renders == before + 1 + 8
    assert torch.cosine_similarity(found, central, dim=0) > 0.97
    assert not torch.allclose(found, central, rtol=1e-3)


def test_spsa_costs_two_renders_a_scene(blobs: Grammar, fake: Renderer) -> None:
    before = fake.pool.stats.renders

    gradient(fake, sampled(blobs, 3), Probing(difference="spsa"))

    assert fake.pool.stats.renders == before + 9


@pytest.mark.blender
def test_probes_take_their_own_number_of_samples(cubes: Grammar, blender: Renderer) -> None:
    scenes = sampled(cubes, 1)

    few = gradient(blender, scenes, Probing(samples=32))
    many = gradient(blender, scenes, Probing(samples=256))
    same = gradient(blender, scenes, Probing(samples=4))

    assert torch.equal(same, gradient(blender, scenes, Probing()))
    assert not torch.equal(few, many)
    assert torch.cosine_similarity(few, many, dim=0) > 0.95
