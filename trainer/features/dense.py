"""Features read where the objects are: a network that predicts attributes in every cell of the image.

A network that reads an image as a whole must find each object before it can read it, and learns neither where objects
are small and many. The renderer's instance masks say where each object is. So every cell of a coarse grid learns how
much of each kind of node it shows, and the attributes of the node that it shows most of (dense prediction; compare
the voting of Hough forests: Gall & Lempitsky, 2009). An image's features are the cells' predictions, averaged with
their own certainty that the kind is there, plus what a small head sees in all cells together: which end of a thing is
its front, or what stands before what. Masks are needed for learning alone: the target has none. What has no pixels
(the camera, the light, a group) is read off the whole image, by an attention that is learned with it.

Of an angle the network learns cosine and sine of itself and of its double: a car's axis is seen long before it is seen
which end is the front.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.features import to_tensor
from trainer.features.descent import Course, descend
from trainer.features.pyramid import resized, scaled
from trainer.features.readout import Readout
from trainer.grammar import SceneGraph
from trainer.progress import Advance, ignore

#: Most pixels of the network's input, and the side of a cell in these.
INPUT_PIXELS = 12_000
CELL_PX = 4
BATCH = 64
LEARNING_RATE = 3e-3
#: Weight of the kinds' presence in the loss, beside the squared errors of the attributes.
PRESENCE = 5.0
#: Kinds that show in a smaller part of the scenes are read off the whole image.
SHOWN = 0.1


@dataclass(frozen=True)
class CellLabels:
    """What the cells of rendered images show; K kinds, D features.

    Attributes:
        presence: uint8 [N, K, h, w], the part of the cell that shows nodes of the kind, times 255.
        owner: int64 [N, K, h, w], the row in `codes` of the node that the cell shows most of.
        codes: float32 [nodes, D], in the columns of the node's own kind.
        means: float32 [N, D], over the nodes of a scene: what `Readout.read` says.
    """

    presence: np.ndarray
    owner: np.ndarray
    codes: np.ndarray
    means: np.ndarray

    def chosen(self, index: np.ndarray) -> "CellLabels":
        """Those of some images."""
        return CellLabels(self.presence[index], self.owner[index], self.codes, self.means[index])


def input_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of the network's input."""
    return scaled(height, width, math.sqrt(INPUT_PIXELS / (height * width)))


def grid_of(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of cells of an image."""
    rows, columns = (math.ceil(side / CELL_PX) for side in input_size(height, width))
    return rows, columns


def label_cells(readout: Readout, scenes: Sequence[SceneGraph], masks: Sequence[np.ndarray]) -> CellLabels:
    """The labels of rendered scenes.

    Args:
        masks: instance masks [H, W] of the scenes: 1 + the node's number in its scene, or 0.
    """
    kinds = readout.kinds
    rows, columns = grid_of(*masks[0].shape)
    down, right = (np.arange(side) * cells // side for side, cells in zip(masks[0].shape, (rows, columns), strict=True))
    cell = down[:, None] * columns + right
    size = np.bincount(cell.ravel(), minlength=rows * columns)
    presence = np.zeros((len(scenes), len(kinds), rows * columns), dtype=np.uint8)
    owner = np.zeros((len(scenes), len(kinds), rows * columns), dtype=np.int64)
    codes: list[np.ndarray] = []
    for i, (scene, mask) in enumerate(zip(scenes, masks, strict=True)):
        values = len(scene.nodes) + 1
        counts = np.bincount((cell * values + mask).ravel(), minlength=rows * columns * values).reshape(-1, values)
        for k, kind in enumerate(kinds):
            own = [number for number, node in enumerate(scene.nodes) if node.kind == kind]
            if not own:
                continue
            shown = counts[:, [number + 1 for number in own]]
            presence[i, k] = 255 * shown.sum(1) // size
            owner[i, k] = len(codes) + shown.argmax(1)
            codes += list(readout.codes(kind, [scene.nodes[number] for number in own]))
    shape = len(scenes), len(kinds), rows, columns
    return CellLabels(
        presence.reshape(shape),
        owner.reshape(shape),
        np.array(codes, dtype=np.float32) if codes else np.zeros((1, len(readout.column_kinds)), dtype=np.float32),
        np.stack([readout.read(scene) for scene in scenes]),
    )


class DenseFeatures(nn.Module):
    """Maps images to what a `Readout` says of their scenes."""

    name = "dense"
    layers = None
    place: Tensor
    shown: Tensor

    def __init__(self, column_kinds: Sequence[int], size: tuple[int, int], generator: torch.Generator) -> None:
        """
        Args:
            column_kinds: of each feature the number of the kind that it tells of.
            size: height and width of the images, in pixels.
        """
        super().__init__()
        self.column_kinds, self.size = list(column_kinds), size
        self._input_size = input_size(*size)
        self._kinds = max(self.column_kinds, default=-1) + 1
        channels = (5, 16, 32, 48, 48, 48)
        strides = (2, CELL_PX // 2, 1, 1, 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            blocks: list[nn.Module] = []
            for (inputs, outputs), stride in zip(pairwise(channels), strides, strict=True):
                blocks += [nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.GroupNorm(4, outputs), nn.ReLU()]
            self.trunk = nn.Sequential(*blocks)
            self.cells = nn.Conv2d(channels[-1], self._kinds + len(self.column_kinds), 1)
            blocks = []
            for inputs, outputs in pairwise((channels[-1], 64, 64)):
                blocks += [nn.Conv2d(inputs, outputs, 3, 2, padding=1), nn.GroupNorm(4, outputs), nn.ReLU()]
            together = nn.Sequential(*blocks, nn.Flatten())
            flat = together(self.trunk(torch.zeros(1, channels[0], *self._input_size))).numel()
            self.together = nn.Sequential(together, nn.Linear(flat, 64), nn.ReLU())
            self.whole = nn.Linear(64, len(self.column_kinds))
        height, width = self._input_size
        across, down = torch.linspace(-1, 1, width), torch.linspace(-1, 1, height)
        self.register_buffer("place", torch.stack([across.expand(height, -1), down[:, None].expand(-1, width)]), False)
        #: Which kinds have pixels; known after the first `fit`.
        self.register_buffer("shown", torch.ones(self._kinds, dtype=torch.bool))

    def plan(self) -> dict[str, object]:
        """What it is made from, as JSON."""
        return {"name": self.name, "columns": self.column_kinds, "size": list(self.size)}

    def label(self, readout: Readout, scenes: Sequence[SceneGraph], masks: Sequence[np.ndarray]) -> CellLabels:
        """See `label_cells`."""
        return label_cells(readout, scenes, masks)

    def forward(self, images: Tensor) -> Tensor:
        """Features [N, D] of images [N, 3, H, W], of the network's size or in higher resolution."""
        return self._predict(images)[2]

    def rescale(self, before: Readout, after: Readout) -> None:
        """What said features as one readout gives them then says them as another does."""
        factor = torch.from_numpy(before.scales / after.scales).float()
        offset = torch.from_numpy((before.offsets - after.offsets) / after.scales).float()
        with torch.no_grad():
            self.cells.weight[self._kinds :] *= factor[:, None, None, None]
            self.cells.bias[self._kinds :] = self.cells.bias[self._kinds :] * factor + offset  # type: ignore[index]
            self.whole.weight.mul_(factor[:, None])
            self.whole.bias.mul_(factor)

    def fit(
        self,
        images: np.ndarray,
        labels: CellLabels,
        epochs: int,
        generator: torch.Generator,
        progress: Advance = ignore,
        batch: int = BATCH,
    ) -> float:
        """Learns from 8-bit images [N, H, W, 3]; returns the last epoch's mean loss.

        The parameters then stay as they are: they take no gradients. What was learned before is not forgotten.
        """
        self.requires_grad_(True)
        self.shown = torch.from_numpy((labels.presence > 0).any((2, 3)).mean(0) >= SHOWN)

        def loss_of(index: Tensor) -> Tensor:
            chosen = index.numpy()
            return self._loss(to_tensor(images[chosen]), labels.chosen(chosen))

        course = Course(epochs, batch, LEARNING_RATE)
        error = descend(self.parameters(), len(images), loss_of, course, generator, progress)
        self.requires_grad_(False)
        return error

    def _predict(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each cell logits of the kinds [N, K, h, w] and the features [N, D, h, w]; of the image those [N, D]."""
        small = resized(images, self._input_size)
        seen_there = self.trunk(torch.cat([small, self.place.expand(len(small), -1, -1, -1)], 1))
        cells = self.cells(seen_there)
        presence, values = cells[:, : self._kinds], cells[:, self._kinds :]
        return presence, values, self._averaged(presence, values) + self.whole(self.together(seen_there))

    def _averaged(self, presence: Tensor, values: Tensor) -> Tensor:
        seen = presence.sigmoid().square().flatten(2)
        weights = torch.where(self.shown[:, None], seen / seen.sum(2, keepdim=True), presence.flatten(2).softmax(2))
        return (weights[:, self.column_kinds] * values.flatten(2)).sum(2)

    def _loss(self, images: Tensor, labels: CellLabels) -> Tensor:
        logits, values, read = self._predict(images)
        present = torch.from_numpy(labels.presence).float() / 255
        shown = self.shown[self.column_kinds]
        loss = F.mse_loss(read, torch.from_numpy(labels.means))
        if shown.any():
            logits_shown, there = logits[:, self.shown], present[:, self.shown]
            loss = loss + PRESENCE * F.binary_cross_entropy_with_logits(logits_shown, there)
            columns = np.flatnonzero(shown.numpy())
            kinds = np.array(self.column_kinds)[columns]
            wanted = torch.from_numpy(labels.codes[labels.owner[:, kinds], columns[:, None, None]])
            weights = present[:, kinds]
            squares = weights * (values[:, columns] - wanted).square()
            loss = loss + (squares.sum((0, 2, 3)) / weights.sum((0, 2, 3)).clamp(min=1.0)).mean()
        return loss
