"""EfficientNet-Lite0: its weights, its geometry, and what it sees."""

import numpy as np
import pytest
import torch
from PIL import Image
from support.data import shared_data

from trainer.errors import InputError
from trainer.features import natural

pytestmark = pytest.mark.skipif(not natural.available(), reason="needs the extra `natural`")


def test_maps_have_the_stated_channels_and_sizes() -> None:
    maps = natural.pretrained()(torch.rand(2, 3, 50, 70), (8, 16, 32))
    assert [tuple(x.shape) for x in maps] == [(2, 40, 7, 9), (2, 112, 4, 5), (2, 320, 2, 3)]


def test_padding_is_that_of_tensorflow() -> None:
    # tf.nn.conv2d(padding="SAME"): of an odd total, the extra pixel comes after.
    assert [natural._same_padding(size, 3, 2) for size in (4, 5)] == [(0, 1), (1, 1)]
    assert natural._same_padding(7, 5, 1) == (2, 2)


def test_features_are_those_of_any_batch_and_differentiable() -> None:
    space = natural.NaturalFeatures(pixels=32 * 32)
    images = torch.rand(3, 3, 32, 32, requires_grad=True)
    features = space(images)
    assert features.shape == (3, sum(space.layers))
    torch.testing.assert_close(space(images[1:2]), features[1:2], rtol=1e-4, atol=1e-4)
    features.sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_building_a_network_draws_nothing_from_the_global_generator() -> None:
    before = torch.get_rng_state()
    natural.pretrained()
    assert torch.equal(before, torch.get_rng_state())


def test_training_mode_keeps_batch_normalisation_frozen() -> None:
    network = natural.pretrained().train()
    before = {name: value.clone() for name, value in network.named_buffers()}
    network(torch.rand(2, 3, 32, 32))
    assert all(torch.equal(before[name], value) for name, value in network.named_buffers())


def test_a_minivan_is_a_minivan() -> None:
    stored = torch.load(natural._weights_file(), weights_only=True)
    image = Image.open(shared_data("kitti_60") / "image_2/000008.png").convert("RGB").resize((672, 224))
    with torch.no_grad():
        (x,) = natural.pretrained()(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255, (32,))
        x = torch.einsum("nchw,oc->nohw", x, stored["_conv_head.weight"][:, :, 0, 0])
        norm = [stored[f"_bn1.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        x = torch.nn.functional.batch_norm(x, *norm, eps=1e-3).clamp(0, 6).mean((2, 3))
        best = (x @ stored["_fc.weight"].T + stored["_fc.bias"]).argmax().item()
    assert best == 656  # ImageNet: minivan


def test_a_damaged_file_of_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(natural, "WEIGHTS_SHA256", "0" * 64)
    natural._weights.cache_clear()
    with pytest.raises(InputError, match="reinstall"):
        natural.pretrained()
    natural._weights.cache_clear()
