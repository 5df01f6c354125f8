"""A small one-stage detector without anchors: a map of object centres, and at each centre the distances to four edges.

The training targets and losses are those of TTFNet (Liu et al. 2020, "Training-Time-Friendly Network for Real-Time
Object Detection", arXiv 1909.00700), which learns in few steps because every place near a centre learns the box, not
the centre alone. The network is our own: a few convolutions down to 1/32 of the size and back up to 1/4, with group
normalisation, so that small batches are as good as large ones.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Pixels of the image to a place of the maps.
STRIDE = 4
_COARSEST = 32
_GROUPS = 8
#: Part of the box that a centre's Gaussian covers (TTFNet: alpha), and its width over that part's (as CenterNet's).
_COVERS, _SIGMA = 0.54, 1 / 6
#: Probability of a centre that the untrained network gives to every place (Lin et al. 2017, arXiv 1708.02002).
_PRIOR = 0.01
#: Boxes are at most this large, in places: exp(6) * 4 px.
_MOST_LOG = 6.0


@dataclass(frozen=True)
class Targets:
    """What an image's maps should be; h and w are the maps' size."""

    #: [h, w]: 1 at the centres of objects, falling off around them.
    heat: Tensor
    #: [h, w]: 0 where nothing is learned, neither that there is an object nor that there is none.
    known: Tensor
    #: [4, h, w]: the box that each place learns, left, top, right, bottom in px.
    boxes: Tensor
    #: [h, w]: how much each place learns of its box; sums to 1 over the places of an object.
    weights: Tensor


class Detector(nn.Module):
    """Maps of centres and boxes of one class, at a quarter of the image's size.

    Args:
        width: channels of the finest level; the others have 2, 3 and 4 times as many.
        generator: of the first weights.
    """

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        # Without storage, so that nothing is drawn from the global generator.
        with torch.device("meta"):
            self.stem = nn.Sequential(_convolution(3, width // 2, 5, 2), _convolution(width // 2, width, 3, 2))
            widths = [width, 2 * width, 3 * width, 4 * width]
            self.downwards = nn.ModuleList(
                nn.Sequential(_convolution(above, below, 3, 2), _Residual(below))
                for above, below in itertools.pairwise(widths)
            )
            self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in widths)
            self.smooth = _convolution(width, width, 3, 1)
            self.heat = nn.Sequential(_convolution(width, width, 3, 1), nn.Conv2d(width, 1, 1))
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

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of centres [N, h, w], and boxes [N, 4, h, w] in px, of images [N, 3, H, W] in [0, 1].

        h and w are H / 4 and W / 4, rounded up.
        """
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, -width % _COARSEST, 0, -height % _COARSEST))
        levels = [self.stem((padded - 0.5) * 4)]
        for downwards in self.downwards:
            levels.append(downwards(levels[-1]))
        x = self.lateral[-1](levels[-1])
        for level, lateral in zip(levels[-2::-1], self.lateral[-2::-1], strict=True):
            x = lateral(level) + F.interpolate(x, scale_factor=2.0)
        x = self.smooth(x)[:, :, : -(-height // STRIDE), : -(-width // STRIDE)]
        distances = self.edges(x).clamp(max=_MOST_LOG).exp() * STRIDE
        at_x, at_y = _centres(distances.shape[2], distances.shape[3], distances.device)
        left, top, right, bottom = distances.unbind(dim=1)
        return self.heat(x).squeeze(1), torch.stack([at_x - left, at_y - top, at_x + right, at_y + bottom], dim=1)


def make_targets(size: tuple[int, int], boxes: Tensor, unsure: Tensor) -> Targets:
    """The targets of an image.

    Args:
        size: height and width of the image in px.
        boxes: [K, 4] left, top, right, bottom in px, of the objects.
        unsure: [U, 4], regions in which nothing is learned where no object is.
    """
    height, width = (-(-side // STRIDE) for side in size)
    x, y = _centres(height, width, boxes.device)
    heat, weights = torch.zeros(height, width), torch.zeros(height, width)
    known, edges = torch.ones(height, width), torch.zeros(4, height, width)
    for left, top, right, bottom in unsure.tolist():
        known[(x >= left) & (x <= right) & (y >= top) & (y <= bottom)] = 0
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    # The largest first: where objects overlap, the smaller one's box is learned.
    for place in torch.argsort(areas, descending=True, stable=True).tolist():
        left, top, right, bottom = boxes[place].tolist()
        # The centre is a place of the map, so that its heat is exactly 1.
        column = min(max(int((left + right) / 2 / STRIDE), 0), width - 1)
        row = min(max(int((top + bottom) / 2 / STRIDE), 0), height - 1)
        sigma_x = max((right - left) * _COVERS * _SIGMA, STRIDE / 3)
        sigma_y = max((bottom - top) * _COVERS * _SIGMA, STRIDE / 3)
        gaussian = torch.exp(
            -((x - x[row, column]) ** 2) / (2 * sigma_x**2) - (y - y[row, column]) ** 2 / (2 * sigma_y**2)
        )
        near = ((x - x[row, column]).abs() <= 3 * sigma_x) & ((y - y[row, column]).abs() <= 3 * sigma_y)
        gaussian = gaussian * near
        heat = torch.maximum(heat, gaussian)
        known[gaussian > 0.1] = 1
        weights = torch.where(near, gaussian / gaussian.sum(), weights)
        edges[:, near] = boxes[place][:, None]
    return Targets(heat, known, edges, weights)


def detection_loss(heat: Tensor, boxes: Tensor, targets: Sequence[Targets]) -> Tensor:
    """TTFNet's loss of a batch, per object: focal loss of the centres plus five times 1 - GIoU of the boxes.

    Args:
        heat: logits [N, h, w].
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
    focal = torch.where(centres, here, nothing * known).sum()
    at = weights > 0
    overlap = generalized_iou(boxes.movedim(1, -1)[at], edges.movedim(1, -1)[at])
    return (focal + 5 * ((1 - overlap) * weights[at]).sum()) / objects


def generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    """GIoU [N] of boxes [N, 4] and [N, 4] (Rezatofighi et al. 2019, arXiv 1902.09630)."""
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(dim=1)
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(dim=1)
    union = (a[:, 2:] - a[:, :2]).prod(dim=1) + (b[:, 2:] - b[:, :2]).prod(dim=1) - shared
    return shared / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


def peaks(heat: Tensor, boxes: Tensor, most: int = 100) -> tuple[Tensor, Tensor]:
    """Boxes [K, 4] in px and their scores [K] of an image, the surest first.

    Args:
        heat: logits [h, w]; a place is a peak where none of its eight neighbours is higher.
        boxes: [4, h, w].
        most: peaks that are looked at.
    """
    scores = torch.sigmoid(heat)
    highest = F.max_pool2d(scores[None, None], 3, stride=1, padding=1)[0, 0]
    found, places = torch.where(scores == highest, scores, 0.0).flatten().topk(min(most, scores.numel()))
    candidates = boxes.flatten(1)[:, places].T
    kept: list[int] = []
    for place in range(len(places)):
        if found[place] < _PRIOR / 2:
            break
        others = candidates[kept]
        if not kept or float(_iou(candidates[place].expand_as(others), others).max()) < 0.6:
            kept.append(place)
    return candidates[kept], found[kept]


def _iou(a: Tensor, b: Tensor) -> Tensor:
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(dim=1)
    union = (a[:, 2:] - a[:, :2]).prod(dim=1) + (b[:, 2:] - b[:, :2]).prod(dim=1) - shared
    return shared / union.clamp(min=1e-6)


def _centres(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """x and y in px of the places of a map, [height, width] each."""
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
