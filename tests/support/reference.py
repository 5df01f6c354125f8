"""An independent renderer of flat sprite scenes for tests: SciPy's interpolation and matrices written out by hand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class Placed:
    """A sprite under a camera that looks straight down, with its place in pixels from the image's centre, y up."""

    texture: np.ndarray  # [h, w, 4] uint8, straight colours
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0
    yaw_deg: float = 0.0
    tint: Sequence[float] = (1.0, 1.0, 1.0)


def layer(sprite: Placed, width: int, height: int, dx: float = 0.0, dy: float = 0.0) -> np.ndarray:
    """[h, w, 4] float64: premultiplied display values and opacity, sampled at (dx, dy) pixels from pixel centres."""
    texture = sprite.texture / 255.0
    texture = np.concatenate((texture[..., :3] * texture[..., 3:], texture[..., 3:]), axis=2)
    rows, columns = np.mgrid[0:height, 0:width]
    x = columns + 0.5 + dx - width / 2 - sprite.x
    y = height / 2 - (rows + 0.5 + dy) - sprite.y
    cos, sin = math.cos(math.radians(sprite.yaw_deg)), math.sin(math.radians(sprite.yaw_deg))
    u, v = cos * x + sin * y, -sin * x + cos * y
    column = (u / sprite.width + 0.5) * texture.shape[1] - 0.5
    row = (0.5 - v / sprite.height) * texture.shape[0] - 0.5
    channels = [
        ndimage.map_coordinates(texture[..., c], (row, column), order=1, mode="grid-constant", cval=0.0)
        for c in range(4)
    ]
    return np.stack(channels, axis=2)


def to_linear(value: np.ndarray) -> np.ndarray:
    """sRGB display values to linear light, by the standard's formula."""
    return np.where(value <= 0.04045, value / 12.92, np.power((value + 0.055) / 1.055, 2.4))


def to_display(value: np.ndarray) -> np.ndarray:
    """Linear light to sRGB display values, by the standard's formula."""
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * np.power(np.maximum(value, 1e-12), 1 / 2.4) - 0.055)


def blend(
    sprites: Sequence[Placed],
    width: int,
    height: int,
    *,
    background: Sequence[float] = (0.0, 0.0, 0.0),
    standard: bool = False,
    offsets: Sequence[tuple[float, float]] = ((0.0, 0.0),),
) -> np.ndarray:
    """[h, w, 3] float64 display values of sprites given from the farthest to the nearest."""
    total = np.zeros((height, width, 3))
    for dx, dy in offsets:
        image = np.tile(np.asarray(background, float), (height, width, 1))
        for sprite in sprites:
            sampled = layer(sprite, width, height, dx, dy)
            colour, alpha = sampled[..., :3], sampled[..., 3:]
            if standard:
                colour = to_linear(colour / np.maximum(alpha, 1e-20)) * alpha
            image = image * (1 - alpha) + colour * np.asarray(sprite.tint)
        total += image
    total /= len(offsets)
    return np.minimum(to_display(total) if standard else total, 1.0)
