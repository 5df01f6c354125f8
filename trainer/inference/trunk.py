"""The estimator's convolutional trunk: features around each kind of node and of the whole image."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.features.resizing import input_size, resized
from trainer.grammar import SceneGraph

#: Side of a cell of the input, in pixels.
CELL_PX = 8
#: Side of the crop around a node, in pixels; half its extent, in standard deviations of the cells' positions.
CLOSE_PX, REACH, LEAST_REACH_PX = 32, 2.5, 8.0
#: Least frequency at which a cell is expected to show a kind.
RAREST = 2e-3
#: Channels of the cells, and features of the whole.
CHANNELS, WHOLE = 64, 64


class Trunk(nn.Module):
    """Maps images to features.

    The cells of the image learn from instance masks which fraction of them shows each kind. Mean and spread of the
    cells' positions estimate the position and size of a node. A second network reads a crop around it at a fixed size
    (compare spatial transformers: Jaderberg et al., NeurIPS 2015, and RoIAlign: He et al., ICCV 2017). A third part
    reads all cells, for nodes without pixels.
    """

    place: Tensor

    def __init__(self, size: tuple[int, int], kinds: int, generator: torch.Generator) -> None:
        """
        Args:
            size: height and width of the images, in pixels.
            kinds: number of kinds of nodes.
        """
        super().__init__()
        self._size = input_size(*size)
        rows, columns = grid_of(*size)
        channels = (3, 16, 32, 48, CHANNELS, CHANNELS)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            blocks: list[nn.Module] = []
            for (inputs, outputs), stride in zip(pairwise(channels), (2, 2, 2, 1, 1), strict=True):
                blocks += [nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.GroupNorm(4, outputs), nn.ReLU()]
            self.blocks = nn.Sequential(*blocks)
            self.presence = nn.Conv2d(CHANNELS, kinds, 1)
            # Kinds may differ by position alone: the logit of how often each cell shows each kind.
            self.usual = nn.Parameter(torch.zeros(kinds, rows, columns)) if kinds > 1 else None
            blocks = []
            for inputs, outputs in pairwise((3, 16, 32, 64, 64)):
                blocks += [nn.Conv2d(inputs, outputs, 3, 2, padding=1), nn.GroupNorm(4, outputs), nn.ReLU()]
            self.closer = nn.Sequential(*blocks, nn.Flatten())
            narrow = nn.Conv2d(CHANNELS, 16, 1)
            self.whole = nn.Sequential(
                narrow, nn.ReLU(), nn.Flatten(), nn.Linear(16 * rows * columns, WHOLE), nn.ReLU()
            )
        down, across = ((2 * torch.arange(count) + 1) / count - 1 for count in (rows, columns))
        grid = torch.stack([across.expand(rows, -1), down[:, None].expand(-1, columns)])
        self.register_buffer("place", grid.flatten(1), False)
        close = self.closer(torch.zeros(1, 3, CLOSE_PX, CLOSE_PX)).shape[1]
        self.features = kinds * (close + 4) + WHOLE

    def expect(self, presence: Tensor) -> None:
        """Initialise the logits by how often each cell shows each kind.

        Args:
            presence: uint8 [N, K, h, w], see `presence_of`.
        """
        if self.usual is None:
            return
        mean = (presence.float() / 255).mean(0).clamp(RAREST, 1 - RAREST)
        seen = (presence > 0).any(0).flatten(1).any(1)
        with torch.no_grad():
            self.usual.copy_(torch.where(seen[:, None, None], mean.logit(), 0.0))

    def forward(self, images: Tensor, told: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return features [N, `features`] of images [N, 3, H, W], and logits of the kinds' presence [N, K, h, w].

        Args:
            told: the true presence [N, K, h, w], from 0 to 1, which positions the crops; None: the predicted one.
        """
        cells = self.blocks((resized(images, self._size) - 0.3) * 2)
        logits = self.presence(cells) if self.usual is None else self.presence(cells) + self.usual
        seen = logits.sigmoid() if told is None else torch.where(told.amax((2, 3), True) > 0, told, logits.sigmoid())
        shares = seen.flatten(2).square()
        weights = shares / shares.sum(2, keepdim=True).clamp_min(1e-6)
        place = weights @ self.place.T
        spread = (weights @ self.place.square().T - place.square()).clamp_min(1e-4).sqrt()
        close = self.closer((self._cut(images, place.detach(), spread.detach()) - 0.3) * 2)
        parts = (close.reshape(len(images), -1), place.flatten(1), spread.flatten(1), self.whole(cells))
        return torch.cat(parts, 1), logits

    def _cut(self, images: Tensor, place: Tensor, spread: Tensor) -> Tensor:
        """Return the image around each kind [N · K, 3, CLOSE_PX, CLOSE_PX]; places and spreads are [N, K, 2]."""
        n, kinds, _ = place.shape
        height, width = images.shape[-2:]
        sides = torch.tensor([width, height]).to(images.device)
        reach = (REACH * spread * sides).amax(2, keepdim=True).clamp_min(LEAST_REACH_PX) / sides
        theta = images.new_zeros(n * kinds, 2, 3)
        theta[:, 0, 0], theta[:, 1, 1] = reach.reshape(-1, 2).T
        theta[:, :, 2] = place.reshape(-1, 2)
        grid = F.affine_grid(theta, [n * kinds, 3, CLOSE_PX, CLOSE_PX], align_corners=False)
        shown = images.repeat_interleave(kinds, 0) if kinds > 1 else images
        return F.grid_sample(shown, grid, align_corners=False)


def grid_of(height: int, width: int) -> tuple[int, int]:
    """Return rows and columns of cells of an image."""
    rows, columns = (math.ceil(side / CELL_PX) for side in input_size(height, width))
    return rows, columns


def presence_of(scenes: Sequence[SceneGraph], masks: Sequence[np.ndarray], kinds: Sequence[str]) -> np.ndarray:
    """Return the fraction of each cell that shows nodes of a kind, times 255, uint8 [N, K, h, w].

    Args:
        masks: instance masks [H, W] of the scenes: 1 + the node's number in its scene, or 0.
    """
    rows, columns = grid_of(*masks[0].shape)
    down, right = (np.arange(side) * cells // side for side, cells in zip(masks[0].shape, (rows, columns), strict=True))
    cell = (down[:, None] * columns + right).ravel()
    size = np.bincount(cell, minlength=rows * columns)
    found = np.zeros((len(scenes), len(kinds), rows * columns), dtype=np.uint8)
    for i, (scene, mask) in enumerate(zip(scenes, masks, strict=True)):
        numbers = np.array([-1, *(kinds.index(node.kind) if node.kind in kinds else -1 for node in scene.nodes)])
        shown = numbers[mask.ravel()]
        for k in range(len(kinds)):
            found[i, k] = 255 * np.bincount(cell[shown == k], minlength=rows * columns) // size
    return found.reshape(len(scenes), len(kinds), rows, columns)
