"""A network that reads the number of nodes of each channel off an image.

Each cell of a coarse grid gives a density, and a count is the sum of the cells' densities (Lempitsky & Zisserman,
Learning to Count Objects in Images, NeurIPS 2010). The network gets each cell's position, so that the same object at
two places can belong to two channels. A second head reads the whole image, for nodes without pixels of their own, such
as a scenario.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.device import device_of, upload
from trainer.features import to_tensor
from trainer.features.appearance import Appearance
from trainer.features.descent import Course, descend
from trainer.features.resizing import grid_of, input_size, resized
from trainer.grammar import SceneGraph
from trainer.inference.count_channels import Channel, channel_of_nodes, true_counts
from trainer.progress import Advance, ignore

#: Channels of the convolutions and their strides; the product of the strides is the side of a cell in pixels.
WIDTHS, STRIDES = (5, 16, 24, 32, 32), (2, 2, 1, 1)
#: Features of the whole image.
WHOLE = 48
#: Weight of the counts' errors beside the densities' likelihood.
COUNTS = 2.0
#: Appearances of each render in training.
VIEWS = 2
#: A channel whose nodes are visible in a smaller fraction of the renders is read off the whole image.
SHOWN = 0.02


@dataclass(frozen=True)
class CountRenders:
    """Rendered scenes with known counts.

    Attributes:
        images: uint8 [N, H, W, 3].
        counts: int [N, J], number of nodes in each channel, hidden nodes included.
        density: float16 [N, J, h, w], visible nodes of each channel in each cell. A node is spread over its pixels.
        kept_back: bool [N], renders that are held out to estimate the errors of readings.
    """

    images: np.ndarray
    counts: np.ndarray
    density: np.ndarray
    kept_back: np.ndarray

    @classmethod
    def of(
        cls,
        scenes: Sequence[SceneGraph],
        images: np.ndarray,
        masks: Sequence[np.ndarray],
        channels: Sequence[Channel],
        kept_back: np.ndarray,
    ) -> "CountRenders":
        """Return renders with their labels.

        Args:
            masks: instance masks [H, W] of the scenes: 1 + the node's number in its scene, or 0.
        """
        return cls(images, true_counts(scenes, channels), density_of(scenes, masks, channels), kept_back)

    @staticmethod
    def joined(parts: Sequence["CountRenders"]) -> "CountRenders":
        """Return the concatenation of all parts."""
        names = [item.name for item in fields(CountRenders)]
        return CountRenders(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def of_index(self, index: np.ndarray) -> "CountRenders":
        """Return the renders at an index."""
        return CountRenders(*(getattr(self, item.name)[index] for item in fields(CountRenders)))


def density_of(scenes: Sequence[SceneGraph], masks: Sequence[np.ndarray], channels: Sequence[Channel]) -> np.ndarray:
    """Return the number of visible nodes of each channel in each cell, float16 [N, J, h, w]."""
    height, width = masks[0].shape
    rows, columns = grid_of(height, width)
    down, right = (
        np.arange(side) * cells // side for side, cells in zip((height, width), (rows, columns), strict=True)
    )
    cell = (down[:, None] * columns + right).ravel()
    found = np.zeros((len(scenes), len(channels), rows * columns), dtype=np.float16)
    for i, (scene, mask) in enumerate(zip(scenes, masks, strict=True)):
        values = len(scene.nodes) + 1
        flat = mask.ravel()
        pixels = np.bincount(flat, minlength=values)[:values]
        shares = np.bincount(cell * values + flat, minlength=rows * columns * values).reshape(-1, values)
        for number, channel in enumerate(channel_of_nodes(scene, channels), 1):
            if channel >= 0 and pixels[number]:
                found[i, channel] += (shares[:, number] / pixels[number]).astype(np.float16)
    return found.reshape(len(scenes), len(channels), rows, columns)


class CountReader(nn.Module):
    """Reads the number of nodes of each channel off an image."""

    place: Tensor
    shown: Tensor

    def __init__(self, channels: Sequence[Channel], size: tuple[int, int], generator: torch.Generator) -> None:
        """
        Args:
            size: height and width of the images, in pixels.
        """
        super().__init__()
        self.channels = tuple(channels)
        self._size = input_size(*size)
        count = len(self.channels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            blocks: list[nn.Module] = []
            for (inputs, outputs), stride in zip(pairwise(WIDTHS), STRIDES, strict=True):
                blocks += [nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.GroupNorm(4, outputs), nn.ReLU()]
            self.trunk = nn.Sequential(*blocks)
            self.density = nn.Conv2d(WIDTHS[-1], count, 1)
            blocks = []
            for inputs, outputs in pairwise((WIDTHS[-1], 32, 32)):
                blocks += [nn.Conv2d(inputs, outputs, 3, 2, padding=1), nn.GroupNorm(4, outputs), nn.ReLU()]
            together = nn.Sequential(*blocks, nn.Flatten())
            flat = together(self.trunk(torch.zeros(1, WIDTHS[0], *self._size))).numel()
            self.whole = nn.Sequential(together, nn.Linear(flat, WHOLE), nn.ReLU(), nn.Linear(WHOLE, count))
        with torch.no_grad():
            self.density.bias.fill_(-4.0)  # type: ignore[union-attr]
            self.density.weight.mul_(0.1)
        height, width = self._size
        across, down = torch.linspace(-1, 1, width), torch.linspace(-1, 1, height)
        self.register_buffer("place", torch.stack([across.expand(height, -1), down[:, None].expand(-1, width)]), False)
        self.register_buffer("shown", torch.ones(count, dtype=torch.bool))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return densities [N, J, h, w] and counts [N, J] of images [N, 3, H, W]."""
        small = resized(images, self._size)
        seen = self.trunk(torch.cat([(small - 0.3) * 2, self.place.expand(len(small), -1, -1, -1)], 1))
        density = F.softplus(self.density(seen))
        return density, torch.where(self.shown, density.sum((2, 3)), 0.0) + self.whole(seen)

    def fit(
        self,
        renders: CountRenders,
        course: Course,
        generator: torch.Generator,
        appearance: Appearance,
        progress: Advance = ignore,
    ) -> float:
        """Train on the renders that are not held out; return the last epoch's mean loss."""
        part = renders.of_index(np.flatnonzero(~renders.kept_back))
        device = device_of(self)
        shown = (part.density > 0).any((2, 3)).mean(0) >= SHOWN
        self.shown = upload(shown, device)
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        views = [appearance(part.images, rng) for _ in range(VIEWS)]
        density = torch.from_numpy(part.density)
        visible = np.where(shown, part.density.astype(np.float32).sum((2, 3)), part.counts)
        wanted = upload(torch.from_numpy(visible).float(), device)

        def loss_of(index: Tensor) -> Tensor:
            chosen = views[int(torch.randint(VIEWS, (), generator=generator))]
            cells, counts = self(to_tensor(chosen[index.numpy()], device))
            squares = (counts - wanted[index]).square() / (1 + wanted[index])
            loss = COUNTS * squares.mean()
            if self.shown.any():
                there = upload(density[index], device).float()[:, self.shown]
                likelihood = F.poisson_nll_loss(cells[:, self.shown], there, log_input=False, reduction="none")
                loss = loss + likelihood.sum((2, 3)).mean()
            return loss

        return descend(self.parameters(), len(part.images), loss_of, course, generator, progress)

    def read(self, images: np.ndarray, batch: int = 256) -> np.ndarray:
        """Return the readings [N, J] of 8-bit images [N, H, W, 3]."""
        with torch.no_grad():
            parts = [self(to_tensor(images[i : i + batch], device_of(self)))[1] for i in range(0, len(images), batch)]
        return torch.cat(parts).cpu().double().numpy()
