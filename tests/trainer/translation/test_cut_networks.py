"""The loss and the networks of contrastive translation."""

from typing import Any

import numpy as np
import torch

from trainer.translation.cut_networks import Discriminator, Generator, PatchHeads, patch_nce
from trainer.translation.guidance import UNKNOWN, Buffers, channels_of


def test_patch_nce_is_its_formula() -> None:
    rng = np.random.default_rng(0)
    queries, keys = rng.normal(size=(2, 2, 5, 4))
    queries /= np.linalg.norm(queries, axis=-1, keepdims=True)
    keys /= np.linalg.norm(keys, axis=-1, keepdims=True)
    losses = []
    for image in range(2):
        for place in range(5):
            similar = [np.exp(queries[image, place] @ keys[image, other] / 0.07) for other in range(5)]
            losses.append(-np.log(similar[place] / sum(similar)))
    found = patch_nce(torch.from_numpy(queries), torch.from_numpy(keys))
    np.testing.assert_allclose(found.item(), np.mean(losses), rtol=1e-12)


def test_patch_nce_of_equal_features_is_the_logarithm_of_their_number() -> None:
    same = torch.ones(1, 7, 4) / 2
    np.testing.assert_allclose(patch_nce(same, same).item(), np.log(7), rtol=1e-6)


def test_patch_nce_has_a_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, keys = (torch.randn(1, 3, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    assert torch.autograd.gradcheck(patch_nce, (queries.requires_grad_(), keys.requires_grad_()))


def test_a_fresh_generator_returns_its_input() -> None:
    generator = Generator(6, 4, 1, torch.Generator().manual_seed(0))
    images = torch.rand(2, 3, 16, 20, generator=torch.Generator().manual_seed(1)) * 2 - 1
    guides = torch.rand(2, 6, 16, 20, generator=torch.Generator().manual_seed(2))
    assert torch.equal(generator(images, guides), images)


def test_features_come_from_pixels_alone() -> None:
    generator = Generator(6, 4, 1, torch.Generator().manual_seed(0))
    maps = generator.features(torch.rand(1, 3, 16, 20, generator=torch.Generator().manual_seed(1)))
    assert [each.shape[1] for each in maps] == generator.feature_channels
    assert [tuple(each.shape[2:]) for each in maps] == [(16, 20), (16, 20), (8, 10), (4, 5)]


def test_the_discriminator_sees_patches_of_34_pixels() -> None:
    judge = Discriminator(4, torch.Generator().manual_seed(0))
    layers: Any = judge.layers
    for layer in layers:
        torch.nn.init.constant_(layer.weight, 0.01)
    image = torch.zeros(1, 3, 96, 96, requires_grad=True)
    x = image
    for layer in layers:  # Without normalisation, which mixes all pixels.
        x = layer(x)
    x[0, 0, x.shape[2] // 2, x.shape[3] // 2].backward()
    assert image.grad is not None
    seen = image.grad[0, 0].nonzero()
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [34, 34]


def test_heads_return_unit_vectors_of_the_places_asked_for() -> None:
    heads = PatchHeads([2, 3], torch.Generator().manual_seed(0))
    maps = [torch.rand(1, 2, 4, 4), torch.rand(1, 3, 2, 2)]
    places = [torch.tensor([5, 0]), torch.tensor([3, 3])]
    found = heads(maps, places)
    assert [tuple(each.shape) for each in found] == [(1, 2, 128), (1, 2, 128)]
    torch.testing.assert_close(found[0].norm(dim=-1), torch.ones(1, 2))
    alone = heads([each[:, :, 1:2, 1:2] for each in maps], [torch.tensor([0]), torch.tensor([0])])
    torch.testing.assert_close(found[0][:, 0], alone[0][:, 0])
    torch.testing.assert_close(found[1][:, 0], alone[1][:, 0])


def test_guidance_channels() -> None:
    classes, depth = np.array([[0, 1], [2, 2]]), np.array([[np.inf, 2.0], [6.0, 0.0]])
    normals = np.zeros((2, 2, 3))
    normals[1, 0] = (0, 0, 1)
    found = channels_of(Buffers(classes, depth, normals), 2, 2, classes=2, depth_m=2.0)
    assert found.shape == (7, 2, 2)
    np.testing.assert_array_equal(found[0], [[1, 0], [0, 0]])
    np.testing.assert_array_equal(found[1], [[0, 1], [0, 0]])
    np.testing.assert_array_equal(found[2], [[0, 0], [1, 1]])
    np.testing.assert_allclose(found[3], [[0, 0.5], [0.25, 1]])
    np.testing.assert_array_equal(found[6], [[0, 0], [1, 0]])
    assert not channels_of(UNKNOWN, 2, 2, classes=2, depth_m=2.0).any()
