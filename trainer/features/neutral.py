"""Features independent of any run: of natural images, or of a random network if the former are not installed."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from trainer.features.natural import NaturalFeatures, available
from trainer.features.resizing import resized, scaled

#: Longest side of the random network's input, in pixels, its channels, and its features.
INPUT_PX, CHANNELS, FEATURES = 64, (3, 16, 32, 64, 64), 64
_SEED = 0


class RandomFeatures(nn.Module):
    """A small convolutional network with fixed random weights.

    Args:
        size: height and width of the images, in pixels.
    """

    name = "random"
    layers: tuple[int, ...] = (FEATURES,)

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self._input_size = scaled(*size, INPUT_PX / max(size))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            blocks: list[nn.Module] = []
            for inputs, outputs in pairwise(CHANNELS):
                blocks += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.GroupNorm(4, outputs), nn.ReLU()]
            self.convolutions = nn.Sequential(*blocks)
            flat = self.convolutions(torch.zeros(1, 3, *self._input_size)).numel()
            self.head = nn.Sequential(nn.Flatten(), nn.Linear(flat, 64), nn.ReLU(), nn.Linear(64, FEATURES))
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return features [N, FEATURES] of images [N, 3, H, W], which are at least as large as the network's input."""
        features: Tensor = self.head(self.convolutions(resized(images, self._input_size)))
        return features


def neutral_space(size: tuple[int, int], strides: Sequence[int], pixels: int) -> NaturalFeatures | RandomFeatures:
    """Return natural-image features if they are installed, otherwise random ones.

    Args:
        size: height and width of the images, in pixels.
        strides: maps of the network of natural images.
        pixels: approximate number of pixels that images are resized to.
    """
    return NaturalFeatures(strides, pixels=pixels) if available() else RandomFeatures(size)
