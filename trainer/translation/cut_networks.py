"""The networks of contrastive unpaired translation, and its loss (CUT; Park et al., ECCV 2020, arXiv 2007.15651)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Temperature of PatchNCE (section 3.2).
TEMPERATURE = 0.07
#: Channels of the features that PatchNCE compares.
NCE_CHANNELS = 128
#: Standard deviation of initial weights, as in the authors' networks.
_INITIAL_STD = 0.02
_SLOPE = 0.2


class Generator(nn.Module):
    """A residual network that adds a correction to an image.

    The encoder halves the image twice, residual blocks follow, and the decoder doubles it twice with skip connections.
    The last layer starts at zero, so an untrained generator returns its input.

    Args:
        guides: channels of guidance; see `trainer.translation.guidance`.
        width: channels at full resolution; the deeper levels have two and four times as many.
        blocks: residual blocks at a quarter of the resolution.
    """

    def __init__(self, guides: int, width: int, blocks: int, generator: torch.Generator) -> None:
        super().__init__()
        self.guides = guides
        a, b, c = width, 2 * width, 4 * width
        #: Channels of each of the maps of `features`.
        self.feature_channels = [3, a, b, c]
        with torch.device("meta"):  # Draws nothing from the global generator.
            self.first = nn.Conv2d(3 + guides, a, 5, padding=2, padding_mode="reflect")
            self.down = nn.ModuleList([nn.Conv2d(a, b, 3, 2, 1), nn.Conv2d(b, c, 3, 2, 1)])
            self.blocks = nn.ModuleList([_Block(c) for _ in range(blocks)])
            self.up = nn.ModuleList([_reflected(c, b), _reflected(b, a)])
            self.last = nn.Conv2d(a, 3, 5, padding=2, padding_mode="reflect")
        self.to_empty(device="cpu")
        initialised(self, generator)
        nn.init.zeros_(self.last.weight)

    def forward(self, images: Tensor, guides: Tensor) -> Tensor:
        """Return translated images float [N, 3, H, W] in [-1, 1]; sides of the images are multiples of 4.

        Args:
            images: float [N, 3, H, W] in [-1, 1].
            guides: float [N, G, H, W].
        """
        full, half, quarter = self._encoded(images, guides)
        x = quarter
        for block in self.blocks:
            x = block(x)
        x = F.relu(_normed(self.up[0](_doubled(x)))) + half
        x = F.relu(_normed(self.up[1](_doubled(x)))) + full
        return (images + self.last(x)).clamp(-1, 1)

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the maps that PatchNCE compares: pixels, and each level of the encoder, without guidance."""
        guides = images.new_zeros(len(images), self.guides, *images.shape[-2:])
        return [images, *self._encoded(images, guides)]

    def _encoded(self, images: Tensor, guides: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        full = F.relu(_normed(self.first(torch.cat([images, guides], 1))))
        half = F.relu(_normed(self.down[0](full)))
        return full, half, F.relu(_normed(self.down[1](half)))


class _Block(nn.Module):
    """A residual block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = _reflected(channels, channels), _reflected(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = x + _normed(self.second(F.relu(_normed(self.first(x)))))
        return changed


class Discriminator(nn.Module):
    """A PatchGAN that judges overlapping patches of 34 pixels (Isola et al., CVPR 2017), for least-squares losses.

    It sees texture but no layout, so it cannot demand other objects.
    """

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        channels = ((3, width, 2), (width, 2 * width, 2), (2 * width, 4 * width, 1), (4 * width, 1, 1))
        with torch.device("meta"):
            self.layers = nn.ModuleList([nn.Conv2d(i, o, 4, stride, 1) for i, o, stride in channels])
        self.to_empty(device="cpu")
        initialised(self, generator)

    def forward(self, images: Tensor) -> Tensor:
        """Return a score per patch, [N, 1, h, w]; 1: photograph, 0: translated render."""
        x = F.leaky_relu(self.layers[0](images), _SLOPE)
        for layer in list(self.layers)[1:-1]:
            x = F.leaky_relu(_normed(layer(x)), _SLOPE)
        judged: Tensor = self.layers[-1](x)
        return judged


class PatchHeads(nn.Module):
    """Two-layer perceptrons that project each level's features to `NCE_CHANNELS` dimensions and unit length."""

    def __init__(self, channels: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        with torch.device("meta"):
            self.heads = nn.ModuleList(
                [
                    nn.Sequential(nn.Linear(each, NCE_CHANNELS), nn.ReLU(), nn.Linear(NCE_CHANNELS, NCE_CHANNELS))
                    for each in channels
                ]
            )
        self.to_empty(device="cpu")
        initialised(self, generator)

    def forward(self, maps: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        """Return features [N, P, NCE_CHANNELS] of each level.

        Args:
            maps: [N, C, h, w] of each level.
            places: int64 [P] of each level: pixels in the order of rows.
        """
        return [
            F.normalize(head(each.flatten(2)[:, :, where].transpose(1, 2)), dim=-1)
            for head, each, where in zip(self.heads, maps, places, strict=True)
        ]


def patch_nce(queries: Tensor, keys: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return the PatchNCE loss of features of unit length (equation 3), averaged over images and patches.

        ℓ = −log( exp(v·v⁺/τ) / (exp(v·v⁺/τ) + Σ exp(v·v⁻/τ)) )

    Args:
        queries: v, [N, P, C], of the translated image.
        keys: [N, P, C], of the original image: v⁺ at the same place, v⁻ at the P − 1 other places.
    """
    similarity = queries @ keys.transpose(1, 2) / temperature
    right = torch.arange(queries.shape[1], device=queries.device).expand(len(queries), -1)
    return F.cross_entropy(similarity.flatten(0, 1), right.flatten())


def initialised(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of all convolutions and linear layers from N(0, 0.02²); biases are 0.

    Linear layers use He's standard deviation, so that features of different places differ initially.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            std = math.sqrt(2 / layer.in_features) if isinstance(layer, nn.Linear) else _INITIAL_STD
            nn.init.normal_(layer.weight, std=std, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _reflected(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")


def _normed(x: Tensor) -> Tensor:
    return F.instance_norm(x)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")
