"""Textures of straight roads seen from above: 224 x 40 texels, two lanes along x, for sprites of 112 x 20 pixels.

Patches and markings in the lanes are as large as cars and lie as cars drive, as on real roads.
"""

from dataclasses import dataclass

import numpy as np

from trainer.assets.procedural.painting import Canvas, Colour, mixed, noise, png
from trainer.assets.procedural.streams import AerialStream

WIDTH, HEIGHT = 224, 40
_LANES = (HEIGHT * 0.27, HEIGHT * 0.73)
_BLACK, _WHITE, _YELLOW = (0.0, 0.0, 0.0), (0.93, 0.93, 0.90), (0.95, 0.76, 0.20)
_SHOULDER = (0.62, 0.58, 0.50)
_RED_PAINT, _BLUE_PAINT = (0.60, 0.20, 0.17), (0.20, 0.30, 0.52)


@dataclass(frozen=True)
class _Style:
    asphalt: Colour
    middle: Colour
    dashed: bool
    edged: bool
    #: Joints between slabs, in texels; 0: none.
    joints: int
    #: What lies in the lanes.
    in_lanes: tuple[str, ...]


_STYLES = (
    _Style((0.30, 0.30, 0.32), _WHITE, True, True, 0, ("patch", "arrow", "patch", "bay")),
    _Style((0.39, 0.39, 0.40), _YELLOW, False, True, 0, ("bus", "patch", "hatch", "patch")),
    _Style((0.54, 0.53, 0.50), _WHITE, True, False, 20, ("patch", "patch", "bay", "arrow")),
    _Style((0.22, 0.22, 0.25), _YELLOW, True, True, 0, ("bay", "patch", "bus", "hatch")),
)


def road(index: int) -> bytes:
    """Return a road as PNG."""
    rng = np.random.default_rng([AerialStream.ROADS, index])
    style = _STYLES[index]
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.box(0, 0, WIDTH, HEIGHT, mixed(style.asphalt, _SHOULDER, 0.6))
    canvas.box(0, 1.6, WIDTH, HEIGHT - 1.6, style.asphalt)
    for lane in _LANES:
        for track in (-4, 4):
            canvas.box(0, lane + track - 1.2, WIDTH, lane + track + 1.2, mixed(style.asphalt, _BLACK, 0.12))
    if style.joints:
        for x in range(7, WIDTH, style.joints):
            canvas.box(x, 1.6, x + 0.9, HEIGHT - 1.6, mixed(style.asphalt, _BLACK, 0.4))
    for lane in _LANES:
        _fill_lane(canvas, rng, style, lane)
    _lines(canvas, style)
    texels = canvas.texels()[..., :3]
    grain = 0.90 + 0.12 * noise(rng, HEIGHT, WIDTH, 8) + 0.08 * rng.random((HEIGHT, WIDTH))
    return png(texels * grain[..., None])


def _lines(canvas: Canvas, style: _Style) -> None:
    if style.edged:
        for y in (2.6, HEIGHT - 2.6):
            canvas.box(0, y - 0.7, WIDTH, y + 0.7, _WHITE)
    middle = HEIGHT / 2
    if style.dashed:
        for x in range(0, WIDTH, 16):
            canvas.box(x + 3, middle - 0.9, x + 12, middle + 0.9, style.middle)
    else:
        canvas.box(0, middle - 1.8, WIDTH, middle - 0.6, style.middle)
        canvas.box(0, middle + 0.6, WIDTH, middle + 1.8, style.middle)


def _fill_lane(canvas: Canvas, rng: np.random.Generator, style: _Style, lane: float) -> None:
    """Paint patches and markings along a lane, in random order and with gaps between them."""
    x = rng.uniform(2, 14)
    while x < WIDTH - 34:
        what = style.in_lanes[int(rng.integers(len(style.in_lanes)))]
        length, half = rng.uniform(21, 31), rng.uniform(5.4, 6.8)
        _THINGS[what](canvas, rng, style, x, lane, length, half)
        x += length + rng.uniform(10, 34)


def _patch(
    canvas: Canvas, rng: np.random.Generator, style: _Style, x: float, y: float, length: float, half: float
) -> None:
    """Paint fresh or worn asphalt with a seam of tar."""
    tone = mixed(style.asphalt, _BLACK if rng.random() < 0.5 else (0.7, 0.7, 0.68), float(rng.uniform(0.3, 0.6)))
    canvas.box(x, y - half, x + length, y + half, mixed(tone, _BLACK, 0.5), 0.8)
    canvas.box(x + 0.8, y - half + 0.8, x + length - 0.8, y + half - 0.8, tone)
    for share in rng.uniform(0.15, 0.85, int(rng.integers(0, 3))):
        seam = x + length * share
        canvas.box(seam, y - half + 0.8, seam + rng.uniform(0.8, 3.5), y + half - 0.8, mixed(tone, _BLACK, 0.45))


def _bay(
    canvas: Canvas, rng: np.random.Generator, style: _Style, x: float, y: float, length: float, half: float
) -> None:
    """Paint an outlined parking bay, sometimes filled."""
    canvas.box(x, y - half, x + length, y + half, _WHITE)
    inside = _BLUE_PAINT if rng.random() < 0.4 else style.asphalt
    canvas.box(x + 1.2, y - half + 1.2, x + length - 1.2, y + half - 1.2, inside)
    canvas.box(x + length * 0.42, y - 2.4, x + length * 0.58, y + 2.4, _WHITE)


def _bus(
    canvas: Canvas, rng: np.random.Generator, style: _Style, x: float, y: float, length: float, half: float
) -> None:
    """Paint a bus stop: red, with letters of bars across it."""
    del style
    canvas.box(x, y - half, x + length, y + half, mixed(_RED_PAINT, _BLACK, float(rng.uniform(0, 0.4))))
    for share in (0.22, 0.44, 0.66):
        canvas.box(x + length * share, y - half + 2, x + length * share + 2.2, y + half - 2, _WHITE)


def _arrow(
    canvas: Canvas, rng: np.random.Generator, style: _Style, x: float, y: float, length: float, half: float
) -> None:
    """Paint an arrow in the direction of travel: to the right below the centre line, to the left above it."""
    del rng, style
    tip, tail = (x + length, x + 6) if y > HEIGHT / 2 else (x, x + length - 6)
    neck = tip + (9 if tip < tail else -9)
    canvas.box(min(neck, tail), y - 0.9, max(neck, tail), y + 0.9, _WHITE)
    canvas.polygon([(neck, y - half * 0.6), (tip, y), (neck, y + half * 0.6)], _WHITE)


def _hatch(
    canvas: Canvas, rng: np.random.Generator, style: _Style, x: float, y: float, length: float, half: float
) -> None:
    """Paint bars across the lane."""
    del style
    for bar in np.arange(x, x + length - 3, rng.uniform(5, 7)):
        canvas.box(float(bar), y - half, float(bar) + 2.6, y + half, _WHITE)


_THINGS = {"patch": _patch, "bay": _bay, "bus": _bus, "arrow": _arrow, "hatch": _hatch}
