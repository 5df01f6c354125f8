"""A block of wood with screw holes: boards, heads of screws with a square drive, drilled holes, patches of light."""

import numpy as np
from scipy import ndimage

from trainer.assets.procedural import Family
from trainer.assets.procedural.painting import png
from trainer.assets.procedural.relief import Disc, blobs, over, shadow

#: Texels of a place (a screw or a hole), and of a board and of a patch of light.
_PLACE_PX, _BOARD_PX, _PATCH_PX = 72, (200, 264), 48
_SCREWS, _HOLES = 24, 24
#: Radius of a head; the rest of the image has its shadow.
_HEAD = 0.8


def _screw(index: int) -> np.ndarray:
    rng = np.random.default_rng([1, index])
    disc = Disc.of(_PLACE_PX)
    texels = shadow(disc, _HEAD, rng, (0.2, 0.7))
    steel = rng.uniform(0.22, 0.72) * (1 + rng.normal(0, 0.04, 3))
    side = rng.uniform(-np.pi, np.pi)
    across = disc.x * np.cos(side) + disc.y * np.sin(side)
    shade = 1 + rng.uniform(0, 0.35) * across + 0.08 * blobs(rng, _PLACE_PX, 1.2)
    texels = over(texels, steel * shade[..., None], disc.inside(_HEAD))
    rim = disc.inside(_HEAD) - disc.inside(_HEAD - rng.uniform(0.05, 0.1))
    lit = np.clip(0.5 + 0.9 * across, 0, 1) * rng.uniform(0.3, 0.9)
    texels = over(texels, np.minimum(steel * 2.2, 1), rim * lit)
    half = rng.uniform(0.34, 0.44)
    square = np.maximum(abs(disc.x), abs(disc.y))
    lip = np.clip((half + 0.06 - square) / disc.texel + 0.5, 0, 1)
    texels = over(texels, np.minimum(steel * rng.uniform(1.3, 2.4), 1), lip * rng.uniform(0.3, 1))
    facet = ((disc.angle + 5 * np.pi / 4) // (np.pi / 2)).astype(int) % 4
    depth = np.clip(1.15 - square / half, 0, 1)
    bright = rng.uniform(0.15, 2.2, 4)[facet] * (1 - rng.uniform(0.2, 0.7) * depth)
    recess = np.clip((half - square) / disc.texel + 0.5, 0, 1)
    return over(texels, np.clip(steel * bright[..., None], 0, 1), recess)


def _hole(index: int) -> np.ndarray:
    rng = np.random.default_rng([2, index])
    disc = Disc.of(_PLACE_PX)
    radius, edge = rng.uniform(0.22, 0.34), rng.uniform(0.45, 0.65)
    texels = np.zeros((_PLACE_PX, _PLACE_PX, 4))
    wood = np.array([0.72, 0.55, 0.34]) * rng.uniform(0.65, 1.3)
    fibres = edge * disc.outline(rng, 0.08, 6) * disc.outline(rng, 0.06, 24)
    grain = wood * (1 + 0.2 * blobs(rng, _PLACE_PX, 1.2))[..., None]
    texels = over(texels, np.zeros(3), disc.inside(fibres * 1.1) * rng.uniform(0.1, 0.4))
    texels = over(texels, np.clip(grain, 0, 1), disc.inside(fibres) * rng.uniform(0.3, 0.9))
    wall = wood * np.array([0.7, 0.5, 0.35]) * rng.uniform(0.5, 1.1)
    shift = rng.uniform(-0.08, 0.08, 2)
    around = np.hypot(disc.x - shift[0], disc.y - shift[1])
    funnel = np.clip((edge * rng.uniform(0.75, 0.95) - disc.radius) / 0.25 + 0.5, 0, 1)
    texels = over(texels, wall, funnel * rng.uniform(0.4, 1))
    bore = np.clip((radius * disc.outline(rng, 0.04, 6) - around) / (2 * disc.texel) + 0.5, 0, 1)
    return over(texels, np.full(3, rng.uniform(0, 0.08)), bore)


def _board(index: int) -> np.ndarray:
    rng = np.random.default_rng([3, index])
    width, height = _BOARD_PX
    wide = ndimage.gaussian_filter(rng.standard_normal((height, width)), (40, 3), mode="wrap")
    fine = ndimage.gaussian_filter(rng.standard_normal((height, width)), (6, 0.6), mode="wrap")
    stain = ndimage.gaussian_filter(rng.standard_normal((height, width)), 30, mode="wrap")
    shade = 1.0 + sum(
        part / part.std() * spread
        for part, spread in ((wide, 0.05), (fine, rng.uniform(0.02, 0.07)), (stain, rng.uniform(0.02, 0.1)))
    )
    scratches = np.zeros((height, width))
    for _ in range(rng.integers(0, 25)):
        row, column, lean = rng.integers(height), rng.integers(width), rng.normal(0, 0.5)
        steps = np.arange(rng.integers(8, 40))
        scratches[(row + steps) % height, (column + np.rint(lean * steps).astype(int)) % width] = rng.uniform(
            -0.15, 0.25
        )
    shade = shade + ndimage.gaussian_filter(scratches, 0.7)
    return np.clip(np.array([0.92, 0.74, 0.5]) * shade[..., None], 0, 1)


def _patch(index: int) -> np.ndarray:
    rng = np.random.default_rng([4, index])
    disc = Disc.of(_PATCH_PX)
    edge = rng.uniform(0.05, 0.6)
    shape = disc.radius / disc.outline(rng, 0.2, 5) if index % 2 else np.maximum(abs(disc.x), abs(disc.y))
    cover = np.clip((0.9 - edge / 2 - shape) / edge + 0.5, 0, 1) * np.clip((1 - disc.radius) * 6, 0, 1)
    light = np.full((*disc.x.shape, 3), float(index // 2 % 2)) * np.array([1.0, 0.9, 0.7])
    return np.concatenate([light, cover[..., None] * rng.uniform(0.1, 0.45)], -1)


def _place(index: int) -> bytes:
    return png(_screw(index) if index < _SCREWS else _hole(index - _SCREWS))


#: Heads of screws and empty holes, labels `screw` and `hole`; the head's diameter is 0.8 of the image's width.
PLACES = Family(_SCREWS + _HOLES, _place, label=lambda index: "screw" if index < _SCREWS else "hole")
#: Boards, their grain along y; width : height is 25 : 33.
BOARDS = Family(8, lambda index: png(_board(index)))
#: Soft patches of light and shadow.
PATCHES = Family(16, lambda index: png(_patch(index)))
