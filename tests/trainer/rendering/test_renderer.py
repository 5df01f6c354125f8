"""The renderer as a differentiable operation, against the closed form of the fake engine's images."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from support.grammars import FLAT, write_sprites

from trainer.grammar import Grammar, load_grammar
from trainer.model.encoding import with_values
from trainer.pool import PoolOptions, open_pool
from trainer.rendering import Renderer

#: An elongated blob on a canvas of 32 x 32, with white colour: turning and moving it changes the image.
WORLD = (
    FLAT
    + """\
  thing:
    class: thing
    sprite: shapes
    width: 16
    height: 8
    x: {uniform: [-4, 4], mutable: true, range: [-10, 10], step: 0.05}
    yaw: {uniform: [-40, 40], mutable: true, step: 0.25}
scene: [camera, thing]
"""
)


@pytest.fixture(scope="module")
def grammar(tmp_path_factory: pytest.TempPathFactory) -> Grammar:
    return load_grammar(write_sprites(tmp_path_factory.mktemp("world"), WORLD))


@pytest.fixture(scope="module")
def renderer(grammar: Grammar) -> Iterator[Renderer]:
    with open_pool(PoolOptions(engine="fake", workers=1), assets=grammar.assets) as pool:
        yield Renderer(pool, grammar)


def blob(x: torch.Tensor, yaw: torch.Tensor) -> torch.Tensor:
    """The fake engine's image of one thing, [32, 32], written down independently."""
    centres = torch.arange(32, dtype=torch.float64) + 0.5
    right, up = centres[None, :] - 16 - x, 16 - centres[:, None]
    angle = torch.deg2rad(yaw)
    along = torch.cos(angle) * right + torch.sin(angle) * up
    across = -torch.sin(angle) * right + torch.cos(angle) * up
    return torch.exp(-((along / 4) ** 2 + (across / 2) ** 2) / 2)


def values_of(scenes: list) -> torch.Tensor:
    return torch.tensor(np.concatenate([scene.values() for scene in scenes]))


def scenes_of(grammar: Grammar, count: int) -> list:
    rng = np.random.default_rng(0)
    return [grammar.sample(rng) for _ in range(count)]


def test_images_and_gradients_equal_the_closed_form(grammar: Grammar, renderer: Renderer) -> None:
    """Catches a finite difference that is multiplied by its step, or divided by 255 once too often, and the gradient
    of a batch that is multiplied by the differences of one of its scenes."""
    scenes = scenes_of(grammar, 5)
    ramp = torch.linspace(-1, 1, 32, dtype=torch.float64)
    # Another weight for every pixel, channel and scene, smooth so that nothing cancels.
    weights = (ramp[:, None] * ramp + ramp) * torch.arange(1, 16, dtype=torch.float64).reshape(5, 3, 1, 1)
    values = values_of(scenes).float().requires_grad_()

    images = renderer.differentiable(values, scenes, seed=0)
    (images * weights).sum().backward()

    exact = values_of(scenes).requires_grad_()
    expected = torch.stack([blob(*pair) for pair in exact.reshape(5, 2)])[:, None].expand(5, 3, 32, 32)
    (expected * weights).sum().backward()
    assert torch.allclose(images.double(), expected, atol=1e-5)
    assert torch.allclose(values.grad.double(), exact.grad, rtol=0.01)
    assert exact.grad.abs().min() > 0.05


def test_each_scene_has_a_gradient_of_its_own(grammar: Grammar, renderer: Renderer) -> None:
    scenes = scenes_of(grammar, 3)
    values = values_of(scenes).float().requires_grad_()

    renderer.differentiable(values, scenes, seed=0)[1].square().sum().backward()

    gradients = values.grad.reshape(3, 2)
    assert torch.equal(gradients[0], torch.zeros(2))
    assert torch.equal(gradients[2], torch.zeros(2))
    assert gradients[1].abs().min() > 0


def test_a_small_move_changes_the_image_a_little(grammar: Grammar, renderer: Renderer) -> None:
    """A renderer that places things at whole pixels has a staircase here: no change, or a sudden one."""
    scene = scenes_of(grammar, 1)[0]
    moved = [scene.with_values(np.array([x, 10.0])) for x in np.arange(0, 1, 0.1)]

    images, _ = renderer.probe(moved, seed=0)

    changes = np.abs(np.diff(images, axis=0)).sum((1, 2, 3))
    assert changes.min() > 0.8 * changes.max()


def test_a_scene_without_mutable_attributes_has_no_columns(tmp_path: Path) -> None:
    text = WORLD.replace("mutable: true, ", "").replace(", step: 0.05", "").replace("step: 0.25", "range: [-180, 180]")
    grammar = load_grammar(write_sprites(tmp_path, text.replace(", mutable: true", "")))
    scenes = scenes_of(grammar, 2)

    with open_pool(PoolOptions(engine="fake", workers=1), assets=grammar.assets) as pool:
        images = Renderer(pool, grammar).differentiable(torch.zeros(0), scenes, seed=0)

    assert images.shape == (2, 3, 32, 32)


def test_many_scenes_are_rendered_in_chunks_and_come_back_in_order(grammar: Grammar, renderer: Renderer) -> None:
    scenes = scenes_of(grammar, 7)
    chunked = Renderer(renderer.pool, grammar, chunk=3)

    assert np.array_equal(chunked.images(scenes, 0), renderer.images(scenes, 0))
    assert chunked.images([], 0).shape == (0, 32, 32, 3)


def test_no_empty_batch_is_rendered_when_the_count_divides(grammar: Grammar, renderer: Renderer) -> None:
    before = renderer.pool.stats.tasks_done

    Renderer(renderer.pool, grammar, chunk=3).images(scenes_of(grammar, 6), 0)

    assert renderer.pool.stats.tasks_done == before + 6


def test_values_that_float32_rounds_out_of_their_range_are_kept_inside(grammar: Grammar) -> None:
    scene = scenes_of(grammar, 1)[0]

    changed = with_values([scene], torch.tensor([10.000001, 0.0]))

    assert changed[0].values()[0] == 10


def test_scenes_that_share_a_number_share_their_noise(grammar: Grammar, renderer: Renderer) -> None:
    """They were refused, because tasks of equal numbers had equal ids."""
    [scene] = scenes_of(grammar, 1)
    frames = renderer.render([scene] * 3, seed=5, numbers=[1, 1, 2])
    assert np.array_equal(frames[0].image, frames[1].image)
    assert len(frames) == 3
