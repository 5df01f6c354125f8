"""Textures of cars seen from above: 32 x 16 texels, front to the right, for sprites of 16 x 8 pixels."""

from collections.abc import Callable

import numpy as np

from trainer.assets.procedural.painting import Canvas, Colour, mixed, png
from trainer.assets.procedural.streams import AerialStream

WIDTH, HEIGHT = 32, 16
_MIDDLE = HEIGHT / 2

_BLACK, _WHITE = (0.05, 0.05, 0.06), (0.95, 0.95, 0.93)
_GLASS = (0.10, 0.14, 0.19)
_LAMP, _TAIL = (1.0, 0.97, 0.72), (0.85, 0.06, 0.05)
#: Paints and how often they are seen: most cars are white, grey or black.
_PAINTS: tuple[tuple[Colour, float], ...] = (
    ((0.92, 0.92, 0.91), 0.19),
    ((0.66, 0.68, 0.70), 0.16),
    ((0.42, 0.44, 0.47), 0.18),
    ((0.13, 0.13, 0.15), 0.18),
    ((0.66, 0.12, 0.11), 0.09),
    ((0.13, 0.24, 0.52), 0.09),
    ((0.38, 0.56, 0.74), 0.03),
    ((0.88, 0.50, 0.12), 0.02),
    ((0.60, 0.48, 0.32), 0.03),
    ((0.36, 0.12, 0.20), 0.03),
)

_Roof = Callable[[Canvas, "_Body", np.random.Generator], None]


class _Body:
    """The body of a car: its rectangle on the canvas, and its paint."""

    def __init__(self, rng: np.random.Generator, length: float, width: float, paint: Colour) -> None:
        self.rear, self.front = (WIDTH - length) / 2, (WIDTH + length) / 2
        self.length, self.half = length, width / 2
        self.paint = tuple(np.clip(np.array(paint) + rng.normal(0, 0.03, 3), 0, 1))
        self.dark, self.light = mixed(self.paint, _BLACK, 0.45), mixed(self.paint, _WHITE, 0.25)

    def at(self, share: float) -> float:
        """x at a share of the length, from the rear (0) to the front (1)."""
        return self.rear + share * self.length


def car(index: int) -> bytes:
    """Return a car as PNG."""
    rng = np.random.default_rng([AerialStream.CARS, index])
    names = tuple(_KINDS)
    name = names[int(rng.choice(len(names), p=[_KINDS[name][0] for name in names]))]
    _, (shortest, longest), width, roof = _KINDS[name]
    paints = [paint for paint, _ in _PAINTS]
    paint = paints[int(rng.choice(len(paints), p=[often for _, often in _PAINTS]))]
    if name == "taxi":
        paint = (0.97, 0.78, 0.08)
    elif name == "police":
        paint = (0.94, 0.95, 0.97)
    canvas = Canvas(WIDTH, HEIGHT)
    body = _Body(rng, rng.uniform(shortest, longest), width + rng.uniform(-0.4, 0.4), paint)
    _hull(canvas, body, rng)
    roof(canvas, body, rng)
    _lamps(canvas, body)
    return png(canvas.texels())


def _hull(canvas: Canvas, body: _Body, rng: np.random.Generator) -> None:
    """Paint wheels, the body with a dark rim, and mirrors."""
    for share in (0.2, 0.78):
        for side in (-1, 1):
            edge = _MIDDLE + side * (body.half + 0.3)
            canvas.box(
                body.at(share) - 1.9, min(edge, edge - side), body.at(share) + 1.9, max(edge, edge - side), _BLACK
            )
    radius = rng.uniform(1.8, 3.2)
    canvas.box(body.rear, _MIDDLE - body.half, body.front, _MIDDLE + body.half, body.dark, radius)
    canvas.box(
        body.rear + 0.7,
        _MIDDLE - body.half + 0.7,
        body.front - 0.7,
        _MIDDLE + body.half - 0.7,
        body.paint,
        radius - 0.5,
    )
    for side in (-1, 1):
        canvas.disc(body.at(0.62), _MIDDLE + side * (body.half + 0.2), 0.8, body.dark)


def _lamps(canvas: Canvas, body: _Body) -> None:
    """Paint white lamps at the front and red ones at the rear, which show the heading."""
    for side in (-1, 1):
        y = _MIDDLE + side * (body.half - 2.1)
        canvas.box(body.front - 2.0, y - 1.3, body.front - 0.2, y + 1.3, _LAMP, 0.5)
        canvas.box(body.rear + 0.2, y - 1.5, body.rear + 2.0, y + 1.5, _TAIL, 0.4)


def _cabin(canvas: Canvas, body: _Body, rear: float, front: float, *, hatch: float, screen: float) -> None:
    """Paint glass from `rear` to `front`, and the roof on it. The depths of panes are fractions of the car's length."""
    half = body.half - 1.0
    corners = [(rear, 0.8), (rear + hatch, 1.0), (front - screen, 1.0), (front, 0.78)]
    upper = [(body.at(x), _MIDDLE - half * y) for x, y in corners]
    lower = [(body.at(x), _MIDDLE + half * y) for x, y in reversed(corners)]
    canvas.polygon([*upper, *lower], _GLASS)
    inner = half - 1.1
    canvas.box(body.at(rear + hatch), _MIDDLE - inner, body.at(front - screen), _MIDDLE + inner, body.light, 0.8)
    pillar = body.at((rear + hatch + front - screen) / 2)
    for side in (-1, 1):
        canvas.line((pillar, _MIDDLE + side * inner), (pillar, _MIDDLE + side * half), 0.7, body.dark)


def _sedan(canvas: Canvas, body: _Body, rng: np.random.Generator) -> None:
    _cabin(canvas, body, 0.16 + rng.uniform(-0.02, 0.03), 0.70, hatch=0.10, screen=0.14)
    canvas.line((body.at(0.74), _MIDDLE - 2), (body.at(0.92), _MIDDLE - 1.6), 0.4, body.dark)
    canvas.line((body.at(0.74), _MIDDLE + 2), (body.at(0.92), _MIDDLE + 1.6), 0.4, body.dark)


def _hatchback(canvas: Canvas, body: _Body, rng: np.random.Generator) -> None:
    _cabin(canvas, body, 0.06, 0.70 + rng.uniform(-0.02, 0.03), hatch=0.10, screen=0.16)


def _estate(canvas: Canvas, body: _Body, rng: np.random.Generator) -> None:
    _cabin(canvas, body, 0.05, 0.70 + rng.uniform(-0.02, 0.03), hatch=0.07, screen=0.14)
    for side in (-1, 1):
        y = _MIDDLE + side * (body.half - 2.6)
        canvas.line((body.at(0.14), y), (body.at(0.55), y), 0.7, body.dark)


def _van(canvas: Canvas, body: _Body, rng: np.random.Generator) -> None:
    _cabin(canvas, body, 0.03, 0.90, hatch=0.02, screen=0.12)
    for share in np.arange(0.14, 0.68, rng.uniform(0.1, 0.16)):
        canvas.line((body.at(share), _MIDDLE - body.half + 2.4), (body.at(share), _MIDDLE + body.half - 2.4), 0.4,
                    body.dark)  # fmt: skip


def _pickup(canvas: Canvas, body: _Body, rng: np.random.Generator) -> None:
    load = mixed(_BLACK, (0.5, 0.4, 0.3), float(rng.uniform(0.1, 0.9)))
    canvas.box(body.at(0.07), _MIDDLE - body.half + 1.6, body.at(0.42), _MIDDLE + body.half - 1.6, load, 0.4)
    _cabin(canvas, body, 0.44, 0.76, hatch=0.05, screen=0.13)


def _convertible(canvas: Canvas, body: _Body, rng: np.random.Generator) -> None:
    leather = mixed((0.55, 0.32, 0.16), (0.85, 0.78, 0.66), float(rng.uniform(0, 1)))
    canvas.box(body.at(0.2), _MIDDLE - body.half + 1.5, body.at(0.62), _MIDDLE + body.half - 1.5, _BLACK, 1.0)
    for share in (0.25, 0.43):
        for side in (-1, 1):
            y = _MIDDLE + side * 2.3
            canvas.box(body.at(share), y - 1.7, body.at(share) + 3.4, y + 1.7, leather, 1.0)
    canvas.box(body.at(0.62), _MIDDLE - body.half + 1.3, body.at(0.7), _MIDDLE + body.half - 1.3, _GLASS)


def _sports(canvas: Canvas, body: _Body, rng: np.random.Generator) -> None:
    stripe = _WHITE if sum(body.paint) < 1.6 else _BLACK
    for side in (-1, 1):
        canvas.box(body.rear + 0.7, _MIDDLE + side * 1.2 - 0.6, body.front - 0.7, _MIDDLE + side * 1.2 + 0.6, stripe)
    _cabin(canvas, body, 0.14, 0.60 + rng.uniform(-0.02, 0.02), hatch=0.16, screen=0.16)
    canvas.box(body.rear + 0.1, _MIDDLE - body.half + 0.8, body.rear + 1.4, _MIDDLE + body.half - 0.8, _BLACK)


def _taxi(canvas: Canvas, body: _Body, rng: np.random.Generator) -> None:
    _sedan(canvas, body, rng)
    canvas.box(body.at(0.40), _MIDDLE - 1.8, body.at(0.47), _MIDDLE + 1.8, _BLACK)


def _police(canvas: Canvas, body: _Body, rng: np.random.Generator) -> None:
    canvas.box(body.at(0.74), _MIDDLE - body.half + 0.8, body.at(0.9), _MIDDLE + body.half - 0.8, (0.1, 0.2, 0.55))
    _sedan(canvas, body, rng)
    canvas.box(body.at(0.40), _MIDDLE - 3.2, body.at(0.47), _MIDDLE, (0.1, 0.3, 1.0))
    canvas.box(body.at(0.40), _MIDDLE, body.at(0.47), _MIDDLE + 3.2, (1.0, 0.1, 0.1))


def _lorry(canvas: Canvas, body: _Body, rng: np.random.Generator) -> None:
    box = mixed(body.paint, _WHITE, float(rng.uniform(0.5, 0.9)))
    canvas.box(body.at(0.02), _MIDDLE - body.half, body.at(0.70), _MIDDLE + body.half, mixed(box, _BLACK, 0.4), 0.5)
    canvas.box(body.at(0.02) + 0.8, _MIDDLE - body.half + 0.8, body.at(0.70) - 0.8, _MIDDLE + body.half - 0.8, box)
    canvas.box(body.at(0.86), _MIDDLE - body.half + 1.2, body.at(0.94), _MIDDLE + body.half - 1.2, _GLASS, 0.5)


#: How often a body is seen, its shortest and longest length, its width (texels), and what is on top of it.
_KINDS: dict[str, tuple[float, tuple[float, float], float, _Roof]] = {
    "sedan": (0.22, (26, 28.5), 12.0, _sedan),
    "hatchback": (0.18, (22, 25), 11.6, _hatchback),
    "estate": (0.14, (26, 29), 12.0, _estate),
    "van": (0.11, (27, 30), 12.8, _van),
    "pickup": (0.10, (28, 30), 12.6, _pickup),
    "convertible": (0.06, (24, 26.5), 11.6, _convertible),
    "sports": (0.07, (25, 27), 12.0, _sports),
    "taxi": (0.05, (26, 28), 12.0, _taxi),
    "police": (0.03, (26, 28), 12.0, _police),
    "lorry": (0.04, (29.5, 31), 13.0, _lorry),
}
