"""Random variations of training images and of their boxes."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.features.appearance import RandomCamera

#: Left, top, right, bottom in px.
Box = tuple[float, float, float, float]
#: Boxes to learn, their classes, and boxes to ignore.
Shown = tuple[list[Box], list[int], list[Box]]

#: Boxes with a smaller remaining fraction inside the image are ignored.
_LEAST_LEFT = 0.4


def photographed(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return uint8 images [N, H, W, 3] as taken by random cameras (`RandomCamera`)."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.from_numpy(RandomCamera().apply(images.numpy(), np.random.default_rng(seed)))


def varied(images: Tensor, jitter: float, colour: float, generator: torch.Generator) -> Tensor:
    """Return images [N, 3, H, W] with changed brightness and contrast.

    Args:
        jitter: limit of both changes.
        colour: limit of the change of each channel's gain.
    """
    gain, offset = (torch.rand(2, len(images), 1, 1, 1, generator=generator) * 2 - 1) * jitter
    if colour:
        gain = gain + (torch.rand(len(images), 3, 1, 1, generator=generator) * 2 - 1) * colour
    return ((images - 0.5) * (1 + gain) + 0.5 + offset / 2).clamp(0, 1)


def zoomed(
    images: Tensor, shown: Sequence[Shown], zoom: float, generator: torch.Generator
) -> tuple[Tensor, list[Shown]]:
    """Return images [N, 3, H, W] scaled at random about a random point, and their boxes.

    Where a scaled image does not cover the frame, its edge pixels repeat.

    Args:
        zoom: limit of the factor, less 1; its logarithm is uniform.
    """
    count, (height, width) = len(images), images.shape[-2:]
    limit = torch.log1p(torch.tensor(zoom))
    scale = torch.exp((torch.rand(count, generator=generator) * 2 - 1) * limit)
    # The frame shows 1 / scale of the image. Its centre is chosen so that the smaller of the two lies inside the other.
    slack = (1 - 1 / scale).abs()
    across, down = ((torch.rand(2, count, generator=generator) * 2 - 1) * slack).unbind()
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / scale
    theta[:, 0, 2], theta[:, 1, 2] = across, down
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    left, top = (1 + across - 1 / scale) * width / 2, (1 + down - 1 / scale) * height / 2
    boxes = [
        _cut(each, *place, width, height)
        for each, place in zip(shown, zip(scale.tolist(), left.tolist(), top.tolist(), strict=True), strict=True)
    ]
    return moved, boxes


def _cut(shown: Shown, scale: float, x: float, y: float, width: int, height: int) -> Shown:
    """Return the boxes in a frame that begins at (x, y) in px of the image, cut off at its edges."""

    def inside(box: Box) -> tuple[Box, float]:
        left, right = ((edge - x) * scale for edge in (box[0], box[2]))
        top, bottom = ((edge - y) * scale for edge in (box[1], box[3]))
        cut = max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))
        area = max(cut[2] - cut[0], 0.0) * max(cut[3] - cut[1], 0.0)
        return cut, area / max((right - left) * (bottom - top), 1e-9)

    boxes, classes, ignored = [], [], []
    for box, index in zip(shown[0], shown[1], strict=True):
        cut, left_over = inside(box)
        if left_over >= _LEAST_LEFT:
            boxes.append(cut)
            classes.append(index)
        elif left_over > 0:
            ignored.append(cut)
    ignored += [cut for cut, left_over in map(inside, shown[2]) if left_over > 0]
    return boxes, classes, ignored
