"""Cheaper estimates against central differences, on images in closed form."""

import pytest
import torch
from support.worlds import gradient, sampled

from trainer.grammar import Grammar
from trainer.rendering import Probing, Renderer


def test_forward_differences_cost_half_and_err_by_the_step(blobs: Grammar, fake: Renderer) -> None:
    central = gradient(fake, sampled(blobs, 1), Probing())
    before = fake.pool.stats.renders

    found = gradient(fake, sampled(blobs, 1), Probing(difference="forward"))

    assert fake.pool.stats.renders == before + 1 + 8
    assert torch.cosine_similarity(found, central, dim=0) > 0.97
    assert not torch.allclose(found, central, rtol=1e-3)


@pytest.mark.blender
def test_probes_take_their_own_number_of_samples(cubes: Grammar, blender: Renderer) -> None:
    scenes = sampled(cubes, 1)

    few = gradient(blender, scenes, Probing(samples=32))
    many = gradient(blender, scenes, Probing(samples=256))
    same = gradient(blender, scenes, Probing(samples=4))

    assert torch.equal(same, gradient(blender, scenes, Probing()))
    assert not torch.equal(few, many)
    assert torch.cosine_similarity(few, many, dim=0) > 0.95
