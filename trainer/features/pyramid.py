"""Pixels at several scales."""

import torch
import torch.nn.functional as F
from torch import Tensor

#: Longest side of each level, in pixels.
LEVELS_PX = (32, 16, 8)


class PixelPyramid:
    """The image, averaged down to several sizes, each with the same weight whatever its number of pixels."""

    name = "pyramid"
    layers = None

    def __call__(self, images: Tensor) -> Tensor:
        """Features [N, D] of images [N, 3, H, W]."""
        return torch.cat(
            [level.flatten(1) / level[0].numel() ** 0.5 for level in (shrink(images, side) for side in LEVELS_PX)], 1
        )


def shrink(images: Tensor, longest_px: int) -> Tensor:
    """Images [N, C, H, W] averaged down until neither side is longer than `longest_px`."""
    height, width = images.shape[-2:]
    scale = longest_px / max(height, width)
    if scale >= 1:
        return images
    return F.interpolate(images, (max(1, round(height * scale)), max(1, round(width * scale))), mode="area")
