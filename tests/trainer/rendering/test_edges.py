"""Scenes and values at the edge of what there is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.grammars import write_sprites
from support.worlds import BLOBS, CUBES, gradient, sampled, smooth_weights

from trainer.grammar import Grammar, load_grammar
from trainer.pool import RenderPool
from trainer.rendering import Probing, Renderer

MODES, DIFFERENCES = ("jacobian", "vjp"), ("central", "forward")
EVERY = [Probing(mode=mode, difference=difference) for mode in MODES for difference in DIFFERENCES]  # type: ignore[arg-type]


def test_nothing_is_probed_where_no_gradient_is_needed(blobs: Grammar, fake: Renderer) -> None:
    scenes = sampled(blobs, 3)
    values = torch.tensor(np.concatenate([scene.values() for scene in scenes]), dtype=torch.float32)
    expected = fake.differentiable(values.clone().requires_grad_(), scenes, 0).detach()
    before = fake.pool.stats.renders

    without = fake.differentiable(values, scenes, 0)
    with torch.no_grad():
        disabled = fake.differentiable(values.clone().requires_grad_(), scenes, 0)

    assert fake.pool.stats.renders == before + 6
    assert torch.equal(without, expected)
    assert torch.equal(disabled, expected)


@pytest.mark.parametrize("probing", EVERY, ids=lambda probing: f"{probing.mode}-{probing.difference}")
def test_scenes_without_mutable_attributes_have_images_and_no_gradient(
    fake_pool: RenderPool, tmp_path: Path, probing: Probing
) -> None:
    text = BLOBS.replace("    class: thing\n", "    class: thing\n    mutable: false\n")
    grammar = load_grammar(write_sprites(tmp_path, text))
    values = torch.zeros(0, requires_grad=True)

    images = Renderer(fake_pool, grammar).differentiable(values, sampled(grammar, 2), 0, probing)
    images.sum().backward()

    assert images.shape == (2, 3, 24, 32)
    assert images.max() > 0.5
    assert values.grad.shape == (0,)


def test_no_scenes_at_all(fake: Renderer) -> None:
    for probing in EVERY:
        assert fake.differentiable(torch.zeros(0, requires_grad=True), [], 0, probing).shape == (0, 3, 24, 32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("difference", DIFFERENCES)
def test_steps_that_would_leave_the_range_go_the_other_way(
    blobs: Grammar, fake: Renderer, mode: str, difference: str
) -> None:
    """At both ends of each range; the estimate keeps its sign and, to the first order, its value."""
    scene = sampled(blobs, 1)[0]
    weights = smooth_weights(1, 24, 32)
    for end, near in ((0.5, 0.51), (2.0, 1.97)):
        inside, at_end = (scene.with_values(np.array([3.0, 2, 10, value, -3, 1, 20, 1])) for value in (near, end))
        expected = gradient(fake, [inside], Probing(), weights=weights)[3]

        found = gradient(fake, [at_end], Probing(mode=mode, difference=difference), weights=weights)[3]

        assert abs(found - expected) < 0.15 * expected.abs()


@pytest.mark.blender
@pytest.mark.parametrize("mode", MODES)
def test_objects_behind_the_camera_have_no_gradient(blender: Renderer, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "behind.yaml"
    path.write_text(CUBES.replace("y: {uniform: [-1, 2], mutable: true, range: [-3, 4]}", "y: -30"))
    grammar = load_grammar(path)

    for difference in DIFFERENCES:
        found = gradient(
            Renderer(blender.pool, grammar), sampled(grammar, 1), Probing(mode=mode, difference=difference)
        )

        assert torch.equal(found, torch.zeros(4))
