"""Trees, houses and grass, seen from above."""

import math
from itertools import pairwise

import numpy as np

from trainer.assets.procedural.painting import Canvas, Colour, mixed, noise, png
from trainer.assets.procedural.streams import AerialStream

_BLACK, _WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

_LEAVES: tuple[Colour, ...] = ((0.10, 0.34, 0.12), (0.16, 0.42, 0.10), (0.06, 0.28, 0.16), (0.28, 0.40, 0.08))
_AUTUMN: tuple[Colour, ...] = ((0.72, 0.36, 0.08), (0.62, 0.20, 0.10), (0.75, 0.58, 0.12))
_ROOFS: tuple[Colour, ...] = (
    (0.68, 0.25, 0.16),
    (0.78, 0.38, 0.22),
    (0.52, 0.20, 0.16),
    (0.42, 0.28, 0.20),
    (0.36, 0.40, 0.46),
    (0.60, 0.44, 0.30),
)


def tree(index: int) -> bytes:
    """Return a tree as PNG: 32 x 32 texels, lit from the top left. Every fourth tree is a conifer."""
    rng = np.random.default_rng([AerialStream.TREES, index])
    canvas = Canvas(32, 32)
    if index % 4 == 3:
        _conifer(canvas, rng)
    else:
        palette = _AUTUMN if index % 8 == 1 else _LEAVES
        _crown(canvas, rng, palette[int(rng.integers(len(palette)))])
    texels = canvas.texels()
    texels[..., :3] *= 0.85 + 0.3 * noise(rng, 32, 32, 2)[..., None]
    return png(texels)


def _crown(canvas: Canvas, rng: np.random.Generator, leaf: Colour) -> None:
    """Paint clumps of leaves on a disc, darker at the rim and lighter towards the sun."""
    radius = rng.uniform(12.0, 14.0)
    lobes = int(rng.integers(7, 12))
    turn = rng.uniform(0, 2 * math.pi)
    for lobe in range(lobes):
        angle = turn + 2 * math.pi * lobe / lobes
        size = radius * rng.uniform(0.32, 0.42)
        canvas.disc(16 + (radius - size) * math.cos(angle), 16 + (radius - size) * math.sin(angle), size,
                    mixed(leaf, _BLACK, 0.5))  # fmt: skip
    canvas.disc(16, 16, radius * 0.86, mixed(leaf, _BLACK, 0.35))
    for _ in range(38):
        distance, angle = radius * 0.78 * math.sqrt(rng.random()), rng.uniform(0, 2 * math.pi)
        x, y = distance * math.cos(angle), distance * math.sin(angle)
        lit = 0.5 - (x + y) / (2.4 * radius) + rng.normal(0, 0.08)
        colour = mixed(mixed(leaf, _BLACK, 0.35), mixed(leaf, (0.8, 0.95, 0.4), 0.35), min(max(lit, 0), 1))
        canvas.disc(16 + x, 16 + y, rng.uniform(1.6, 2.8), colour)


def _conifer(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint whorls of branches as stars of decreasing size, up to a light tip."""
    leaf = mixed((0.04, 0.22, 0.16), (0.08, 0.30, 0.24), float(rng.random()))
    points = int(rng.integers(8, 12))
    for level, radius in enumerate((14.5, 11.0, 7.5, 4.0)):
        turn = rng.uniform(0, 2 * math.pi)
        corners = []
        for corner in range(2 * points):
            reach = radius * (1.0 if corner % 2 == 0 else 0.72)
            angle = turn + math.pi * corner / points
            corners.append((16 + reach * math.cos(angle), 16 + reach * math.sin(angle)))
        canvas.polygon(corners, mixed(leaf, (0.55, 0.85, 0.60), 0.13 * level))


def house(index: int) -> bytes:
    """Return a house as PNG: 40 x 32 texels, lit from the top left, with gabled, hipped and flat roofs in turn."""
    rng = np.random.default_rng([AerialStream.HOUSES, index])
    canvas = Canvas(40, 32)
    roof = tuple(np.clip(np.array(_ROOFS[index % len(_ROOFS)]) + rng.normal(0, 0.03, 3), 0, 1))
    left, right = 20 - rng.uniform(15.5, 18.5), 20 + rng.uniform(15.5, 18.5)
    top, bottom = 16 - rng.uniform(11.5, 14.5), 16 + rng.uniform(11.5, 14.5)
    kind = index % 5
    if kind == 4:
        _flat_roof(canvas, rng, left, top, right, bottom)
    else:
        _pitched_roof(canvas, roof, left, top, right, bottom, hip=0.0 if kind in (0, 2) else rng.uniform(6, 9))
        x, y = left + (right - left) * rng.uniform(0.2, 0.8), (top + bottom) / 2 - rng.uniform(2, 5)
        canvas.box(x - 1.8, y - 1.8, x + 1.8, y + 1.8, (0.85, 0.82, 0.78))
        canvas.box(x - 1.0, y - 1.0, x + 1.0, y + 1.0, (0.12, 0.10, 0.10))
        if kind in (1, 2):
            for share in (0.3, 0.6):
                x = left + (right - left) * share
                canvas.box(x, bottom - 9, x + 4, bottom - 4, (0.55, 0.72, 0.88))
    return png(canvas.texels())


def _pitched_roof(
    canvas: Canvas, roof: Colour, left: float, top: float, right: float, bottom: float, *, hip: float
) -> None:
    """Paint two or four slopes with rows of tiles, which meet in a ridge."""
    middle = (top + bottom) / 2
    lit, shaded = mixed(roof, _WHITE, 0.22), mixed(roof, _BLACK, 0.30)
    begin, end = (left + hip, middle), (right - hip, middle)
    canvas.polygon([(left, top), (right, top), end, begin], lit)
    canvas.polygon([(left, bottom), (right, bottom), end, begin], shaded)
    for row in range(1, 5):
        for edge, colour in ((top, lit), (bottom, shaded)):
            y, inset = edge + (middle - edge) * row / 5, hip * row / 5
            canvas.line((left + inset, y), (right - inset, y), 0.5, mixed(colour, _BLACK, 0.25))
    if hip:
        canvas.polygon([(left, top), (left, bottom), begin], mixed(roof, _WHITE, 0.06))
        canvas.polygon([(right, top), (right, bottom), end], mixed(roof, _BLACK, 0.16))
    ridge = mixed(roof, _WHITE, 0.6)
    canvas.line(begin, end, 1.2, ridge)
    if hip:
        for corner, apex in (
            ((left, top), begin),
            ((left, bottom), begin),
            ((right, top), end),
            ((right, bottom), end),
        ):
            canvas.line(corner, apex, 0.8, ridge)
    rim = mixed(roof, _BLACK, 0.6)
    outline = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    for one, other in pairwise(outline):
        canvas.line(one, other, 1.0, rim)


def _flat_roof(canvas: Canvas, rng: np.random.Generator, left: float, top: float, right: float, bottom: float) -> None:
    """Paint gravel behind a parapet, with an air conditioner and roof lights."""
    gravel = mixed((0.55, 0.53, 0.50), (0.72, 0.68, 0.60), float(rng.random()))
    canvas.box(left, top, right, bottom, mixed(gravel, _WHITE, 0.6))
    canvas.box(left + 1.6, top + 1.6, right - 1.6, bottom - 1.6, mixed(gravel, _BLACK, 0.45))
    canvas.box(left + 2.6, top + 2.6, right - 1.6, bottom - 1.6, gravel)
    x, y = rng.uniform(left + 4, right - 12), rng.uniform(top + 4, bottom - 11)
    canvas.box(x, y, x + 7, y + 6, (0.88, 0.88, 0.88))
    canvas.disc(x + 3.5, y + 3, 2.2, (0.35, 0.36, 0.38))
    for share in (0.25, 0.5, 0.75):
        x = left + (right - left) * share
        canvas.box(x, bottom - 7, x + 3, bottom - 4, (0.45, 0.70, 0.90))


#: Green, light green and how strong the bare or flowering patches are.
_GRASSES: tuple[tuple[Colour, Colour, Colour, float], ...] = (
    ((0.24, 0.46, 0.14), (0.36, 0.58, 0.20), (0.50, 0.46, 0.26), 0.2),
    ((0.30, 0.50, 0.18), (0.44, 0.62, 0.26), (0.62, 0.60, 0.30), 0.4),
    ((0.36, 0.52, 0.20), (0.52, 0.64, 0.30), (0.66, 0.56, 0.34), 0.5),
    ((0.20, 0.42, 0.18), (0.30, 0.54, 0.26), (0.36, 0.34, 0.20), 0.2),
    ((0.44, 0.52, 0.24), (0.58, 0.62, 0.32), (0.70, 0.62, 0.40), 0.7),
    ((0.26, 0.48, 0.22), (0.40, 0.62, 0.30), (0.85, 0.85, 0.60), 0.15),
    ((0.34, 0.56, 0.16), (0.48, 0.68, 0.24), (0.42, 0.50, 0.20), 0.3),
)


def grass(index: int) -> bytes:
    """Return a meadow as PNG: 96 x 96 texels, blades, tufts and bare patches. Every third one is mown in stripes."""
    rng = np.random.default_rng([AerialStream.GRASSES, index])
    size = 96
    dark, light, patch, bare = (np.array(part) if not isinstance(part, float) else part for part in _GRASSES[index])
    tufts = 0.55 * noise(rng, size, size, 12) + 0.45 * noise(rng, size, size, 4)
    texels = dark + (light - dark) * tufts[..., None]
    patches = np.clip((noise(rng, size, size, 16) - 0.62) * 5, 0, 1) * bare
    texels = texels + (patch - texels) * patches[..., None]
    if index % 3 == 2:
        texels = texels * np.where(np.arange(size) % 16 < 8, 0.93, 1.06)[None, :, None]
    texels = texels * (0.88 + 0.24 * rng.random((size, size, 1)))
    return png(texels)
