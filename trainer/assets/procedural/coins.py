"""Euro coins from above, in their true sizes relative to each other, and the grounds that they lie on."""

from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from trainer.assets.procedural import Family
from trainer.assets.procedural.painting import png
from trainer.assets.procedural.relief import Disc, blobs, embossed, over, shadow

#: Diameters in mm (Council Regulation (EU) 729/2014, annex I).
DIAMETERS_MM = MappingProxyType(
    {"1c": 16.25, "2c": 18.75, "5c": 21.25, "10c": 19.75, "20c": 22.25, "50c": 24.25, "1e": 23.25, "2e": 25.75}
)
#: Side of a coin's image in mm: the largest coin and its shadow.
SIDE_MM = 28.0
_COIN_PX, _GROUND_PX, _EACH = 112, 512, 16
_COPPER, _GOLD, _SILVER = np.array([0.76, 0.47, 0.33]), np.array([0.78, 0.65, 0.41]), np.array([0.76, 0.74, 0.7])
#: Metal of the outer part and, of coins of two metals, of the inner part.
_METALS = {"1c": (_COPPER,), "2c": (_COPPER,), "5c": (_COPPER,), "10c": (_GOLD,), "20c": (_GOLD,), "50c": (_GOLD,),
           "1e": (_GOLD, _SILVER), "2e": (_SILVER, _GOLD)}  # fmt: skip
_LABELS = tuple(DIAMETERS_MM)


def _coin(index: int) -> bytes:
    label, item = _LABELS[index // _EACH], index % _EACH
    rng = np.random.default_rng([5, index])
    disc = Disc.of(_COIN_PX)
    radius = DIAMETERS_MM[label] / SIDE_MM
    texels = shadow(disc, radius, rng, (0.15, 0.45))
    metals = [metal * (1 + rng.normal(0, 0.03, 3)) for metal in _METALS[label]]
    colour = np.broadcast_to(metals[0], (*disc.x.shape, 3)).copy()
    if len(metals) > 1:
        inner = disc.inside(0.7 * radius)[..., None]
        colour = colour * (1 - inner) + metals[1] * inner
    figure = _value(label) if item % 2 else np.clip(blobs(rng, _COIN_PX, rng.uniform(2, 5)), -1, 1)
    height = figure * disc.inside(0.68 * radius) + 1.2 * (disc.inside(radius) - disc.inside(0.92 * radius))
    height = height + 0.8 * _stars(disc, radius) * float(rng.random() < 0.7)
    relief = embossed(ndimage.gaussian_filter(height, 0.6), rng.uniform(-np.pi, np.pi), rng.uniform(0.15, 0.6))
    side = rng.uniform(-np.pi, np.pi)
    sheen = 1 + rng.uniform(0, 0.4) * (disc.x * np.cos(side) + disc.y * np.sin(side)) / radius
    worn = 1 + rng.uniform(0.02, 0.12) * blobs(rng, _COIN_PX, 2.0)
    brightness = rng.uniform(0.45, 1.15)
    texels = over(texels, np.clip(colour * (brightness * sheen * relief * worn)[..., None], 0, 1), disc.inside(radius))
    return png(texels)


def _value(label: str) -> np.ndarray:
    """Return the relief of a coin's number, upright."""
    image = Image.new("F", (_COIN_PX, _COIN_PX))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=0.5 * _COIN_PX * DIAMETERS_MM[label] / SIDE_MM)
    draw.text((_COIN_PX / 2, _COIN_PX / 2), label[:-1], fill=1.5, font=font, anchor="mm")
    return np.asarray(image)


def _stars(disc: Disc, radius: float) -> np.ndarray:
    """Return the relief of the twelve stars."""
    turn = np.exp(1j * np.arange(12) * np.pi / 6) * 0.8 * radius
    far = np.abs((disc.x + 1j * disc.y)[..., None] - turn).min(-1)
    return np.clip((0.06 * radius - far) / disc.texel + 0.5, 0, 1)


def _paper(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.7, 0.95) * (1 + 0.01 * blobs(rng, _GROUND_PX, 1.0))[..., None] * np.array([1, 0.98, 0.95])


def _wood(rng: np.random.Generator) -> np.ndarray:
    grain = ndimage.gaussian_filter(rng.standard_normal((_GROUND_PX, _GROUND_PX)), (1.2, 25), mode="wrap")
    wide = ndimage.gaussian_filter(rng.standard_normal((_GROUND_PX, _GROUND_PX)), (8, 60), mode="wrap")
    shade = 1 + 0.1 * grain / grain.std() + 0.1 * wide / wide.std()
    light, dark = np.array([0.72, 0.5, 0.3]), np.array([0.35, 0.16, 0.08])
    return (light + rng.random() * (dark - light)) * shade[..., None]


def _stone(rng: np.random.Generator) -> np.ndarray:
    grains = np.digitize(blobs(rng, _GROUND_PX, rng.uniform(0.5, 1.2)), np.sort(rng.uniform(-2, 2, 3)))
    return rng.uniform(0.2, 0.95, 4)[grains][..., None] * np.array([0.97, 0.98, 1.0])


def _cloth(rng: np.random.Generator) -> np.ndarray:
    along = np.arange(_GROUND_PX) * 2 * np.pi / _GROUND_PX * rng.integers(20, 70)
    weave = 1 + rng.uniform(0.01, 0.06) * (np.sin(along)[:, None] + np.sin(along))
    colour = np.array([0.85, 0.8, 0.7]) if rng.random() < 0.5 else rng.uniform(0.15, 0.8, 3)
    return colour * (weave * (1 + 0.02 * blobs(rng, _GROUND_PX, 1.5)))[..., None]


_GROUNDS = MappingProxyType({"paper": _paper, "wood": _wood, "stone": _stone, "cloth": _cloth})
_GROUND_LABELS, _EACH_GROUND = tuple(_GROUNDS), 6


def _ground(index: int) -> bytes:
    label = _GROUND_LABELS[index // _EACH_GROUND]
    return png(_GROUNDS[label](np.random.default_rng([6, index])))


#: Coins by denomination; an image is 28 mm wide, and coins have their true diameter in it.
COINS = Family(len(_LABELS) * _EACH, _coin, label=lambda index: _LABELS[index // _EACH])
#: What coins lie on; 1 : 1.
GROUNDS = Family(len(_GROUNDS) * _EACH_GROUND, _ground, label=lambda index: _GROUND_LABELS[index // _EACH_GROUND])
