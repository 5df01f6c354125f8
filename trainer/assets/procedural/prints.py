"""Prints on the household objects: bold shapes in few colours, recognisable at 20 pixels."""

import math
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFont

from trainer.assets.procedural.solids import Cell

#: Factor by which prints are drawn larger, to smooth their edges.
_OVERSAMPLED = 8

Draw = Callable[["Print"], None]


class Print:
    """An opaque canvas in units of its size: (0, 0) is the top left corner, (1, 1) the bottom right one."""

    def __init__(self, width_px: int, height_px: int, color: str) -> None:
        self._size = width_px, height_px
        self._image = Image.new("RGB", (width_px * _OVERSAMPLED, height_px * _OVERSAMPLED), color)
        self._draw = ImageDraw.Draw(self._image)

    def image(self) -> Image.Image:
        """Return the image, RGB."""
        return self._image.resize(self._size, Image.Resampling.BOX)

    def rectangle(self, left: float, top: float, right: float, bottom: float, color: str) -> None:
        self._draw.rectangle([self._at(left, top), self._at(right, bottom)], fill=color)

    def ellipse(self, x: float, y: float, width: float, height: float, color: str) -> None:
        corners = [self._at(x - width / 2, y - height / 2), self._at(x + width / 2, y + height / 2)]
        self._draw.ellipse(corners, fill=color)

    def polygon(self, points: list[tuple[float, float]], color: str) -> None:
        self._draw.polygon([self._at(x, y) for x, y in points], fill=color)

    def star(self, x: float, y: float, width: float, height: float, color: str, tips: int = 5) -> None:
        ring = [(math.pi * k / tips, 0.5 if k % 2 == 0 else 0.22) for k in range(2 * tips)]
        self.polygon([(x + width * r * math.sin(a), y - height * r * math.cos(a)) for a, r in ring], color)

    def heart(self, x: float, y: float, width: float, height: float, color: str) -> None:
        turns = [2 * math.pi * k / 60 for k in range(60)]
        outline = [
            (16 * math.sin(t) ** 3, 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t))
            for t in turns
        ]
        self.polygon([(x + width * a / 32, y - height * (b + 2.5) / 29) for a, b in outline], color)

    def text(self, x: float, y: float, text: str, height: float, color: str) -> None:
        """Draw a word around (x, y) with letters about `height` tall."""
        size = round(height * self._image.height * 1.35)
        font = ImageFont.load_default(size)
        bold = max(1, size // 22)
        self._draw.text(self._at(x, y), text, fill=color, font=font, anchor="mm", stroke_width=bold, stroke_fill=color)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return x * self._image.width, y * self._image.height


def sheet(pictures: list[Image.Image], columns: int) -> tuple[Image.Image, list[Cell]]:
    """Return pictures of one size side by side, and the uv rectangle of each."""
    width, height = pictures[0].size
    rows = math.ceil(len(pictures) / columns)
    whole = Image.new("RGB", (columns * width, rows * height))
    cells = []
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        whole.paste(picture, (column * width, row * height))
        cells.append((column / columns, 1 - (row + 1) / rows, (column + 1) / columns, 1 - row / rows))
    return whole, cells
