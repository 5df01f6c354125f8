"""The objects that renders show, for networks that learn to find and to read them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.features.dense import CellLabels
from trainer.features.detector import generalized_iou
from trainer.features.readout import Readout
from trainer.grammar import SceneGraph

#: Objects that show fewer pixels, or are lower, are not read.
LEAST_PIXELS, LEAST_HEIGHT_PX = 60, 8
#: A box shows an object that it overlaps by so much.
OVERLAP = 0.5


@dataclass(frozen=True)
class Objects:
    """The objects of an image that can be read: n of them.

    Attributes:
        boxes: float32 [n, 4], left, top, right, bottom in pixels, of what is visible.
        kinds: int64 [n], by their places in `Readout.kinds`.
        codes: float32 [n, D], as `Readout.codes`.
        nodes: int64 [n], their numbers in the scene.
    """

    boxes: np.ndarray
    kinds: np.ndarray
    codes: np.ndarray
    nodes: np.ndarray


@dataclass(frozen=True)
class RegionLabels:
    """What rendered images show."""

    cells: CellLabels
    objects: tuple[Objects, ...]

    @property
    def means(self) -> np.ndarray:
        """float32 [N, D], over the nodes of a scene."""
        return self.cells.means

    def chosen(self, index: np.ndarray) -> "RegionLabels":
        """Those of some images."""
        return RegionLabels(self.cells.chosen(index), tuple(self.objects[i] for i in index))


def label_objects(readout: Readout, kinds: Sequence[str], scene: SceneGraph, mask: np.ndarray) -> Objects:
    """The objects of some kinds in a rendered image, with an instance mask [H, W]."""
    counts = np.bincount(mask.ravel(), minlength=len(scene.nodes) + 1)
    boxes, numbers = [], []
    for number, node in enumerate(scene.nodes):
        if node.kind not in kinds or counts[number + 1] < LEAST_PIXELS:
            continue
        rows, columns = ((mask == number + 1).any(axis).nonzero()[0] for axis in (1, 0))
        if rows[-1] + 1 - rows[0] >= LEAST_HEIGHT_PX:
            boxes.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
            numbers.append(number)
    codes = [readout.codes(scene.nodes[number].kind, [scene.nodes[number]])[0] for number in numbers]
    return Objects(
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array([readout.kinds.index(scene.nodes[number].kind) for number in numbers], dtype=np.int64),
        np.array(codes, dtype=np.float32).reshape(-1, len(readout.column_kinds)),
        np.array(numbers, dtype=np.int64),
    )


def matched(found: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Of each of the boxes [n, 4] the nearest of others [m, 4], and how much they overlap (GIoU)."""
    if not len(boxes):
        return torch.zeros(len(found), dtype=torch.int64), torch.full((len(found),), -1.0)
    pairs = generalized_iou(found.repeat_interleave(len(boxes), 0), boxes.repeat(len(found), 1))
    overlap, best = pairs.reshape(len(found), len(boxes)).max(1)
    return best, overlap
