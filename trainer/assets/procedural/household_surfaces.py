"""Textures around household things: table tops and walls. Their patterns are soft and coarse: they shall not outshine
what stands before them."""

import io
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from PIL import Image

from trainer.assets.procedural import Family

#: Coarse on purpose: between texels colours run into each other, and edges that do are sampled with little noise.
_SIZE_PX = 128


def _wood(seed: int, light: str, dark: str, planks: int) -> np.ndarray:
    """Return planks along u, each with its own shade and grain."""
    rng = np.random.default_rng(seed)
    shade = np.repeat(rng.uniform(0.25, 0.75, planks), -(-_SIZE_PX // planks))[:_SIZE_PX, None]
    grain = _noise(rng, rows=64, columns=6) * 0.5 + _noise(rng, rows=20, columns=3) * 0.5
    mixed = np.clip(shade + 0.45 * (grain - 0.5), 0, 1)
    joints = np.arange(_SIZE_PX) % -(-_SIZE_PX // planks) < 1
    mixed[joints] = 1.0
    return _between(light, dark, mixed)


def _stripes(light: str, dark: str, count: int) -> np.ndarray:
    across = np.sin(2 * np.pi * count * (np.arange(_SIZE_PX) + 0.5) / _SIZE_PX)
    return _between(light, dark, np.tile(np.clip(0.5 + 2 * across, 0, 1), (_SIZE_PX, 1)))


def _bricks(seed: int, light: str, dark: str, mortar: str, rows: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:_SIZE_PX, 0:_SIZE_PX] / _SIZE_PX
    row = np.floor(y * rows).astype(int)
    along = x * rows / 2 + 0.5 * (row % 2)
    column = np.floor(along).astype(int) % (rows // 2)
    shades = rng.uniform(0, 1, (rows, rows // 2))
    picture = _between(light, dark, shades[row, column])
    joint = ((y * rows) % 1 < 0.14) | (along % 1 < 0.07)
    picture[joint] = _between(mortar, mortar, np.zeros(1))[0]
    return picture


def _paint(seed: int, light: str, dark: str) -> np.ndarray:
    return _between(light, dark, _noise(np.random.default_rng(seed), rows=4, columns=4))


#: Pictures uint8 [128, 128, 3] by label.
TABLE_PICTURES: Mapping[str, Callable[[], np.ndarray]] = MappingProxyType(
    {
        "oak": lambda: _wood(1, "#d9b27c", "#a9793f", 5),
        "walnut": lambda: _wood(2, "#8a5f3d", "#55351f", 4),
        "birch": lambda: _wood(3, "#e6d8bb", "#cdb88e", 6),
    }
)
WALL_PICTURES: Mapping[str, Callable[[], np.ndarray]] = MappingProxyType(
    {
        "plaster": lambda: _paint(4, "#ded8cc", "#cfc6b5"),
        "blue": lambda: _paint(5, "#7f9dbd", "#6a88aa"),
        "sage": lambda: _paint(6, "#a3b39a", "#8d9f84"),
        "stripes": lambda: _stripes("#d8c9b8", "#b98f86", 6),
        "brick": lambda: _bricks(7, "#b5654a", "#8f4a37", "#b9ada0", 10),
        "tiles": lambda: _bricks(8, "#c9d6d8", "#b3c5c9", "#8fa3a8", 6),
    }
)


def _noise(rng: np.random.Generator, *, rows: int, columns: int) -> np.ndarray:
    """Return smooth noise, 0 to 1, with the given numbers of bumps from top to bottom and from side to side."""
    coarse = Image.fromarray(rng.uniform(0, 1, (rows + 1, columns + 1)).astype(np.float32))
    return np.asarray(coarse.resize((_SIZE_PX, _SIZE_PX), Image.Resampling.BICUBIC)).clip(0, 1)


def _between(light: str, dark: str, share: np.ndarray) -> np.ndarray:
    """uint8 [..., 3]: `light` where the share is 0, `dark` where it is 1; colours are `#rrggbb`."""
    ends = np.array([[int(color[place : place + 2], 16) for place in (1, 3, 5)] for color in (light, dark)])
    mixed = ends[0] + share[..., None] * (ends[1] - ends[0])
    return np.rint(mixed).astype(np.uint8)


def _family(pictures: Mapping[str, Callable[[], np.ndarray]]) -> Family:
    labels = tuple(pictures)

    def make(index: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pictures[labels[index]]()).save(file, "PNG")
        return file.getvalue()

    return Family(len(labels), make, label=lambda index: labels[index], item_name=lambda index: labels[index])


#: Table tops, planks along u; walls, painted, papered, of brick and of tiles.
TABLES, WALLS = _family(TABLE_PICTURES), _family(WALL_PICTURES)
