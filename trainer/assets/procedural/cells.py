"""Stained blood under a microscope: red cells, white cells, platelets."""

import numpy as np
from scipy import ndimage

from trainer.assets.procedural import Family
from trainer.assets.procedural.painting import png
from trainer.assets.procedural.relief import Disc, blobs, over

_SIZE_PX = 96
_LABELS = ("RBC", "WBC", "Platelets")
_EACH = 24


def _squeezed(rng: np.random.Generator, most: float) -> Disc:
    """Return the coordinates of an ellipse that fits into the image, in a random direction."""
    disc = Disc.of(_SIZE_PX)
    turn, factor = rng.uniform(0, np.pi), rng.uniform(1, most)
    x = disc.x * np.cos(turn) + disc.y * np.sin(turn)
    y = (disc.y * np.cos(turn) - disc.x * np.sin(turn)) * factor
    return Disc(disc.x, disc.y, np.hypot(x, y), np.arctan2(y, x))


def _red(rng: np.random.Generator) -> np.ndarray:
    disc = _squeezed(rng, 1.5)
    edge = 0.92 * disc.outline(rng, 0.025, 4)
    colour = np.array([0.84, 0.82, 0.82]) * (1 + rng.normal(0, 0.04, 3))  # Before it is dyed by the world
    pallor = (
        np.clip((rng.uniform(0.25, 0.6) - disc.radius) / rng.uniform(0.2, 0.5) + 0.5, 0, 1) * rng.uniform(0, 1) ** 2
    )
    rim = np.clip(1 - abs(disc.radius - 0.86) / 0.1, 0, 1) * rng.uniform(-0.1, 0.12)
    shade = (1 - rim) * (1 + 0.02 * blobs(rng, _SIZE_PX, 4))
    cover = ndimage.gaussian_filter(disc.inside(edge), 1.5) * (rng.uniform(0.85, 1) * (1 - 0.8 * pallor))
    texels = over(np.zeros((_SIZE_PX, _SIZE_PX, 4)), np.clip(colour * shade[..., None], 0, 1), cover)
    if rng.random() < 0.3:  # A bubble of the mounting medium glints.
        x, y = rng.uniform(-0.4, 0.4, 2)
        far = np.hypot(disc.x - x, disc.y - y)
        size = rng.uniform(0.06, 0.14)
        texels = over(texels, np.array([0.35, 0.15, 0.25]), np.clip((size * 1.5 - far) / 0.06 + 0.5, 0, 1) * 0.6)
        texels = over(texels, np.ones(3), np.clip((size - far) / 0.06 + 0.5, 0, 1) * 0.9)
    return texels


def _white(rng: np.random.Generator) -> np.ndarray:
    disc = _squeezed(rng, 1.3)
    edge = 0.9 * disc.outline(rng, 0.03, 6)
    plasma = np.array([0.74, 0.6, 0.8]) + rng.normal(0, 0.05, 3)
    grains = 1 + rng.uniform(0.03, 0.2) * blobs(rng, _SIZE_PX, rng.uniform(0.7, 2))
    cover = disc.inside(edge) * rng.uniform(0.35, 0.9)
    texels = over(np.zeros((_SIZE_PX, _SIZE_PX, 4)), np.clip(plasma * grains[..., None], 0, 1), cover)
    lobes = int(rng.choice([1, 1, 2, 3, 4]))
    reach = rng.uniform(0.3, 0.5) * (lobes > 1)
    start, arc = rng.uniform(-np.pi, np.pi), rng.uniform(3, 6)
    field = np.zeros((_SIZE_PX, _SIZE_PX))
    for lobe in range(lobes):
        angle = start + arc * lobe / lobes
        size = rng.uniform(0.55, 0.8) if lobes == 1 else rng.uniform(0.22, 0.34)
        squared = (disc.x - reach * np.cos(angle)) ** 2 + (disc.y - reach * np.sin(angle)) ** 2
        field += np.exp(-squared / size**2)
    nucleus = np.clip((field - 0.45) / 0.1 + 0.5, 0, 1) * disc.inside(edge * 0.95)
    dark = np.array([0.36, 0.28, 0.8]) * (1 + rng.normal(0, 0.06, 3)) * rng.uniform(0.75, 1.2)
    lumps = 1 + rng.uniform(0.05, 0.2) * blobs(rng, _SIZE_PX, 4)
    return over(texels, np.clip(dark * lumps[..., None], 0, 1), nucleus * rng.uniform(0.85, 1))


def _platelet(rng: np.random.Generator) -> np.ndarray:
    disc = _squeezed(rng, 1.6)
    edge = 0.75 * disc.outline(rng, 0.12, 7)
    colour = np.array([0.6, 0.58, 0.9]) * rng.uniform(0.85, 1.15) * (1 + rng.normal(0, 0.04, 3))
    soft = ndimage.gaussian_filter(disc.inside(edge), rng.uniform(2, 6))
    shade = 1 + 0.1 * blobs(rng, _SIZE_PX, 6)
    cover = soft * rng.uniform(0.5, 0.95)
    return over(np.zeros((_SIZE_PX, _SIZE_PX, 4)), np.clip(colour * shade[..., None], 0, 1), cover)


def _cell(index: int) -> bytes:
    paint = (_red, _white, _platelet)[index // _EACH]
    return png(np.clip(paint(np.random.default_rng([7, index])), 0, 1))


#: Cells; red ones are translucent. The longer axis is 0.9 of the image's width, of platelets about 0.75.
CELLS = Family(len(_LABELS) * _EACH, _cell, label=lambda index: _LABELS[index // _EACH])
