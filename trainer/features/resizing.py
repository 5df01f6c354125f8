"""Images downsampled to the input sizes of networks."""

import math

import torch.nn.functional as F
from torch import Tensor

#: Most pixels of a network that reads cells, and the side of a cell in these.
INPUT_PIXELS = 12_000
CELL_PX = 4


def scaled(height: int, width: int, scale: float) -> tuple[int, int]:
    """Return the height and width of a downsampled image; a scale above 1 leaves the size unchanged."""
    if scale >= 1:
        return height, width
    return max(1, round(height * scale)), max(1, round(width * scale))


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return images [N, C, H, W] downsampled by averaging to a height and a width."""
    return images if images.shape[-2:] == size else F.interpolate(images, size, mode="area")


def input_size(height: int, width: int) -> tuple[int, int]:
    """Return the height and width at which a network that reads cells sees an image."""
    return scaled(height, width, math.sqrt(INPUT_PIXELS / (height * width)))


def grid_of(height: int, width: int) -> tuple[int, int]:
    """Return the rows and columns of cells of an image."""
    rows, columns = (math.ceil(side / CELL_PX) for side in input_size(height, width))
    return rows, columns
