"""A supersampled canvas for textures with crisp outlines."""

import io
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

#: Red, green, blue, 0 to 1.
Colour = Sequence[float]
Point = tuple[float, float]

#: Points of the canvas per texel, in each direction.
_FINE = 8


class Canvas:
    """A canvas in texels: x to the right, y down, origin at the top left corner. Unpainted texels are transparent."""

    def __init__(self, width: int, height: int) -> None:
        self._image = Image.new("RGBA", (width * _FINE, height * _FINE))
        self._draw = ImageDraw.Draw(self._image)

    def polygon(self, corners: Iterable[Point], colour: Colour) -> None:
        """Paint a filled polygon."""
        self._draw.polygon([(x * _FINE, y * _FINE) for x, y in corners], _eight_bit(colour))

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour, radius: float = 0.0) -> None:
        """Paint a filled rectangle, optionally with round corners; nothing if its area is 0."""
        if right > left and bottom > top:
            self._draw.rounded_rectangle(
                [left * _FINE, top * _FINE, right * _FINE - 1, bottom * _FINE - 1], radius * _FINE, _eight_bit(colour)
            )

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Paint a filled circle."""
        self._draw.ellipse([(x - radius) * _FINE, (y - radius) * _FINE, (x + radius) * _FINE, (y + radius) * _FINE],
                           _eight_bit(colour))  # fmt: skip

    def line(self, begin: Point, end: Point, width: float, colour: Colour) -> None:
        """Paint a straight line."""
        points = [(x * _FINE, y * _FINE) for x, y in (begin, end)]
        self._draw.line(points, _eight_bit(colour), max(1, round(width * _FINE)))

    def texels(self) -> np.ndarray:
        """Return the texels, float64 [height, width, 4] in [0, 1]: straight colours, and opacity that is 0 or 1.

        A texel is opaque where at least half of it is painted. Its colour is the mean of the painted part.
        """
        fine = np.asarray(self._image, dtype=np.float64) / 255
        height, width = fine.shape[0] // _FINE, fine.shape[1] // _FINE
        fine[..., :3] *= fine[..., 3:]
        mean = fine.reshape(height, _FINE, width, _FINE, 4).mean(axis=(1, 3))
        mean[..., :3] /= np.maximum(mean[..., 3:], 1e-9)
        mean[..., 3] = mean[..., 3] >= 0.5
        mean[..., :3] *= mean[..., 3:]
        return mean


def png(texels: np.ndarray) -> bytes:
    """Return float texels [height, width, 3 or 4] in [0, 1] as PNG."""
    file = io.BytesIO()
    Image.fromarray(np.rint(np.clip(texels, 0, 1) * 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def mixed(one: Colour, other: Colour, share: float) -> tuple[float, float, float]:
    """Return the mixture of two colours, with the fraction `share` of the second."""
    red, green, blue = (a + share * (b - a) for a, b in zip(one, other, strict=True))
    return red, green, blue


def noise(rng: np.random.Generator, height: int, width: int, cell: int) -> np.ndarray:
    """Return smooth, periodic noise [height, width] in [0, 1] with features of about `cell` texels.

    Random values on a grid, bilinearly interpolated (value noise).
    """
    rows, columns = max(1, round(height / cell)), max(1, round(width / cell))
    grid = rng.random((rows, columns))
    y, x = np.arange(height) * rows / height, np.arange(width) * columns / width
    top, left = y.astype(int), x.astype(int)
    v, u = (y - top)[:, None], (x - left)[None, :]
    below, right = (top + 1) % rows, (left + 1) % columns
    upper = grid[top][:, left] * (1 - u) + grid[top][:, right] * u
    lower = grid[below][:, left] * (1 - u) + grid[below][:, right] * u
    blend: np.ndarray = upper * (1 - v) + lower * v
    return blend


def _eight_bit(colour: Colour) -> tuple[int, ...]:
    return tuple(round(255 * min(max(channel, 0.0), 1.0)) for channel in colour)
