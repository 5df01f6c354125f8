"""A small one-stage detector without anchors: a map of object centres per class, and the distances to the four edges.

The training targets and losses are those of TTFNet (Liu et al. 2020, "Training-Time-Friendly Network for Real-Time
Object Detection", arXiv 1909.00700). It converges quickly because every cell near a centre predicts the box, not only
the centre. The network is a feature pyramid from 1/32 of the image's size up to 1/4. Group normalisation makes it
independent of the batch size.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.features.natural import CHANNELS, pretrained

#: small: convolutions that are trained from scratch; natural: EfficientNet-Lite0, trained on ImageNet.
Trunk = Literal["small", "natural"]

#: Pixels of the image per cell of the maps.
STRIDE = 4
_COARSEST = 32
_GROUPS = 8
#: Part of the box that a centre's Gaussian covers (TTFNet: alpha), and ratio of its width to that part (CenterNet).
_COVERS, _SIGMA = 0.54, 1 / 6
#: Probability of a centre that the untrained network gives to every cell (Lin et al. 2017, arXiv 1708.02002).
_PRIOR = 0.01
#: Largest distance to an edge: exp(6) cells.
_MOST_LOG = 6.0
#: A box whose IoU with a more confident box of its class is larger than this is dropped.
_SUPPRESSED_IOU = 0.6


@dataclass(frozen=True)
class Targets:
    """Training maps of an image with C classes and h x w cells."""

    #: [C, h, w]: 1 at the centres of objects of the class, falling off around them.
    heat: Tensor
    #: [h, w]: 0 in ignored regions, which do not contribute to the loss.
    known: Tensor
    #: [4, h, w]: the target box of each cell, left, top, right, bottom in px.
    boxes: Tensor
    #: [h, w]: the weight of each cell's box; sums to 1 over the cells of an object.
    weights: Tensor


class Detector(nn.Module):
    """Maps of centres and boxes, at a quarter of the image's size.

    Args:
        width: channels of the finest level; the coarser levels of the small trunk have 2, 3 and 4 times as many.
        generator: of the initial weights.
        classes: number of classes.
        trunk: see `Trunk`.

    Raises:
        InputError: the natural trunk's weights are not installed.
    """

    def __init__(self, width: int, generator: torch.Generator, classes: int = 1, trunk: Trunk = "small") -> None:
        super().__init__()
        # Without storage, so that nothing is drawn from the global generator.
        with torch.device("meta"):
            self.stem = nn.Sequential(_convolution(3, width // 2, 5, 2), _convolution(width // 2, width, 3, 2))
            if trunk == "small":
                widths = [width, 2 * width, 3 * width, 4 * width]
                self.downwards = nn.ModuleList(
                    nn.Sequential(_convolution(above, below, 3, 2), _Residual(below))
                    for above, below in itertools.pairwise(widths)
                )
            else:
                widths = [width, *CHANNELS.values()]
            self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in widths)
            self.smooth = _convolution(width, width, 3, 1)
            self.heat = nn.Sequential(_convolution(width, width, 3, 1), nn.Conv2d(width, classes, 1))
            self.edges = nn.Sequential(_convolution(width, width, 3, 1), nn.Conv2d(width, 4, 1))
        self.to_empty(device="cpu")
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                # He et al. 2015 (arXiv 1502.01852): keeps the variance through rectified layers.
                bound = math.sqrt(6 / layer.weight[0].numel())
                nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.GroupNorm):
                nn.init.ones_(layer.weight)
                nn.init.zeros_(layer.bias)
        for head, value in ((self.heat, math.log(_PRIOR / (1 - _PRIOR))), (self.edges, math.log(4.0))):
            last = head[-1]
            nn.init.uniform_(last.weight, -0.01, 0.01, generator=generator)  # type: ignore[arg-type]
            nn.init.constant_(last.bias, value)  # type: ignore[arg-type]
        self.natural = pretrained() if trunk == "natural" else None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of centres [N, C, h, w], and boxes [N, 4, h, w] in px.

        Args:
            images: [N, 3, H, W] in [0, 1]. h and w are H / 4 and W / 4, rounded up.
        """
        return self.maps(self.features(images))

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs of `forward` from features [N, width, h, w]."""
        distances = self.edges(x).clamp(max=_MOST_LOG).exp() * STRIDE
        at_x, at_y = _centres(distances.shape[2], distances.shape[3], distances.device)
        left, top, right, bottom = distances.unbind(dim=1)
        return self.heat(x), torch.stack([at_x - left, at_y - top, at_x + right, at_y + bottom], dim=1)

    def features(self, images: Tensor) -> Tensor:
        """Return the shared input of both heads, [N, width, h, w]; see `forward`."""
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, -width % _COARSEST, 0, -height % _COARSEST))
        levels = [self.stem((padded - 0.5) * 4)]
        if self.natural is None:
            for downwards in self.downwards:
                levels.append(downwards(levels[-1]))
        else:
            levels += self.natural(padded, tuple(CHANNELS))
        x = self.lateral[-1](levels[-1])
        for level, lateral in zip(levels[-2::-1], self.lateral[-2::-1], strict=True):
            x = lateral(level) + F.interpolate(x, scale_factor=2.0)
        return self.smooth(x)[:, :, : -(-height // STRIDE), : -(-width // STRIDE)]


def make_targets(
    size: tuple[int, int], boxes: Tensor, ignored: Tensor, labels: Sequence[int] | None = None, classes: int = 1
) -> Targets:
    """Return the targets of an image.

    Args:
        size: height and width of the image in px.
        boxes: [K, 4] left, top, right, bottom in px, of the objects.
        ignored: [U, 4], regions without loss where no object lies.
        labels: the class of each object; None: 0.
        classes: number of classes.
    """
    height, width = (-(-side // STRIDE) for side in size)
    x, y = _centres(height, width, boxes.device)
    heat, weights = torch.zeros(classes, height, width), torch.zeros(height, width)
    known, edges = torch.ones(height, width), torch.zeros(4, height, width)
    for left, top, right, bottom in ignored.tolist():
        known[(x >= left) & (x <= right) & (y >= top) & (y <= bottom)] = 0
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    # Largest first: where objects overlap, the smaller object's box is learned.
    for index in torch.argsort(areas, descending=True, stable=True).tolist():
        left, top, right, bottom = boxes[index].tolist()
        # The centre is moved to a cell's centre, so that its heat is exactly 1.
        column = min(max(int((left + right) / 2 / STRIDE), 0), width - 1)
        row = min(max(int((top + bottom) / 2 / STRIDE), 0), height - 1)
        sigma_x = max((right - left) * _COVERS * _SIGMA, STRIDE / 3)
        sigma_y = max((bottom - top) * _COVERS * _SIGMA, STRIDE / 3)
        gaussian = torch.exp(
            -((x - x[row, column]) ** 2) / (2 * sigma_x**2) - (y - y[row, column]) ** 2 / (2 * sigma_y**2)
        )
        near = ((x - x[row, column]).abs() <= 3 * sigma_x) & ((y - y[row, column]).abs() <= 3 * sigma_y)
        gaussian = gaussian * near
        own = heat[0 if labels is None else labels[index]]
        torch.maximum(own, gaussian, out=own)
        known[gaussian > 0.1] = 1
        weights = torch.where(near, gaussian / gaussian.sum(), weights)
        edges[:, near] = boxes[index][:, None]
    return Targets(heat, known, edges, weights)


def detection_loss(heat: Tensor, boxes: Tensor, targets: Sequence[Targets]) -> Tensor:
    """Return TTFNet's loss of a batch, per object: focal loss of the centres plus five times 1 - GIoU of the boxes.

    Args:
        heat: logits [N, C, h, w].
        boxes: [N, 4, h, w] in px.
    """
    wanted, known = (torch.stack([getattr(t, name) for t in targets]).to(heat) for name in ("heat", "known"))
    edges, weights = (torch.stack([getattr(t, name) for t in targets]).to(heat) for name in ("boxes", "weights"))
    centres = wanted == 1
    objects = centres.sum().clamp(min=1)
    # Law and Deng 2018 (arXiv 1808.01244), equation 1, with alpha 2 and beta 4.
    sure = torch.sigmoid(heat)
    here = -F.logsigmoid(heat) * (1 - sure) ** 2
    nothing = -F.logsigmoid(-heat) * sure**2 * (1 - wanted) ** 4
    focal = torch.where(centres, here, nothing * known[:, None]).sum()
    at = weights > 0
    overlap = generalized_iou(boxes.movedim(1, -1)[at], edges.movedim(1, -1)[at])
    return (focal + 5 * ((1 - overlap) * weights[at]).sum()) / objects


def generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the GIoU [N] of boxes [N, 4] and [N, 4] (Rezatofighi et al. 2019, arXiv 1902.09630)."""
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(dim=1)
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(dim=1)
    union = (a[:, 2:] - a[:, :2]).prod(dim=1) + (b[:, 2:] - b[:, :2]).prod(dim=1) - shared
    return shared / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


def peaks(heat: Tensor, boxes: Tensor, most: int = 100) -> tuple[Tensor, Tensor, Tensor]:
    """Return boxes [K, 4] in px, scores [K] and classes int64 [K] of an image, in descending order of score.

    Args:
        heat: logits [C, h, w]; a cell is a peak of a class if none of its eight neighbours is higher.
        boxes: [4, h, w].
        most: number of peaks that are examined.
    """
    scores = torch.sigmoid(heat)
    highest = F.max_pool2d(scores[None], 3, stride=1, padding=1)[0]
    found, at = torch.where(scores == highest, scores, 0.0).flatten().topk(min(most, scores.numel()))
    cells = heat.shape[1] * heat.shape[2]
    labels, candidates = at // cells, boxes.flatten(1)[:, at % cells].T
    kept: list[int] = []
    for index in range(len(at)):
        if found[index] < _PRIOR / 2:
            break
        others = candidates[[other for other in kept if labels[other] == labels[index]]]
        if not len(others) or float(_iou(candidates[index].expand_as(others), others).max()) < _SUPPRESSED_IOU:
            kept.append(index)
    return candidates[kept], found[kept], labels[kept]


def _iou(a: Tensor, b: Tensor) -> Tensor:
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(dim=1)
    union = (a[:, 2:] - a[:, :2]).prod(dim=1) + (b[:, 2:] - b[:, :2]).prod(dim=1) - shared
    return shared / union.clamp(min=1e-6)


def _centres(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return x and y in px of the centres of the cells of a map, [height, width] each."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return (x + 0.5) * STRIDE, (y + 0.5) * STRIDE


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(min(_GROUPS, outputs // 2), outputs), nn.ReLU(inplace=True))


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            _convolution(channels, channels, 3, 1),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(_GROUPS, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.inner(x))
