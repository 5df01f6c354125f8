"""Pixels at several scales, for the search of a start."""

import torch
import torch.nn.functional as F
from torch import Tensor

#: Longest side of each level, in pixels.
LEVELS_PX = (32, 16, 8)
#: Numbers that are left of each level: a random projection keeps distances within some percent (Johnson &
#: Lindenstrauss, 1984), and kernels cost as many times less.
PROJECTED = 256
_SEED = 0


class PixelPyramid:
    """The image, averaged down to several sizes, each with the same weight whatever its number of pixels."""

    name = "pyramid"
    layers = None

    def __init__(self) -> None:
        self._projections: dict[int, Tensor] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """Features [N, D] of images [N, 3, H, W]."""
        return torch.cat([self._projected(shrink(images, side).flatten(1)) for side in LEVELS_PX], 1)

    def _projected(self, level: Tensor) -> Tensor:
        size = level.shape[1]
        if size <= PROJECTED:
            return level / size**0.5
        if size not in self._projections:
            generator = torch.Generator().manual_seed(_SEED)
            self._projections[size] = torch.randn(size, PROJECTED, generator=generator) / (PROJECTED * size) ** 0.5
        return level @ self._projections[size]


def shrink(images: Tensor, longest_px: int) -> Tensor:
    """Images [N, C, H, W] averaged down until neither side is longer than `longest_px`."""
    height, width = images.shape[-2:]
    return resized(images, scaled(height, width, longest_px / max(height, width)))


def scaled(height: int, width: int, scale: float) -> tuple[int, int]:
    """Height and width of an image made smaller; a scale above 1 leaves it as it is."""
    if scale >= 1:
        return height, width
    return max(1, round(height * scale)), max(1, round(width * scale))


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images [N, C, H, W] averaged down to a height and a width."""
    return images if images.shape[-2:] == size else F.interpolate(images, size, mode="area")
