"""Screws, coins and cells: their sizes, and that they are what the experiments say."""

import io

import numpy as np
import pytest
from PIL import Image

from trainer.assets.procedural import FAMILIES
from trainer.assets.procedural.coins import DIAMETERS_MM, SIDE_MM
from trainer.assets.procedural.relief import Disc, over


def texels(name: str, index: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(FAMILIES[name]().make(index))).convert("RGBA")) / 255


@pytest.mark.parametrize("label", DIAMETERS_MM)
def test_coins_have_their_true_diameters(label: str) -> None:
    family = FAMILIES["euro-coins"]()
    assert family.label is not None
    index = next(i for i in range(family.count) if family.label(i) == label)
    opaque = texels("euro-coins", index)[..., 3] > 0.8  # shadows are weaker
    assert np.sqrt(4 / np.pi * opaque.sum()) * SIDE_MM / len(opaque) == pytest.approx(DIAMETERS_MM[label], rel=0.015)


def test_heads_of_screws_are_four_fifths_of_their_image_and_holes_are_dark_in_the_middle() -> None:
    family = FAMILIES["workshop-places"]()
    assert family.label is not None
    labels = [family.label(index) for index in range(family.count)]
    screw, hole = (texels("workshop-places", labels.index(label)) for label in ("screw", "hole"))
    width = (screw[..., 3] > 0.9).any(0).sum()
    assert width == pytest.approx(0.8 * len(screw), abs=2)
    middle = slice(len(hole) // 2 - 3, len(hole) // 2 + 3)
    assert hole[middle, middle, :3].max() < 0.1


@pytest.mark.parametrize(
    "name", ["workshop-places", "workshop-boards", "light-patches", "euro-coins", "coin-grounds", "blood-cells"]
)
def test_items_differ_and_are_the_same_at_each_call(name: str) -> None:
    family = FAMILIES[name]()
    made = [family.make(index) for index in (0, 1, family.count - 1)]
    assert len(set(made)) == 3
    assert family.make(1) == made[1]


def test_painting_over_follows_the_blending_of_porter_and_duff() -> None:
    below = np.array([[[0.2, 0.4, 0.6, 0.5]]])
    found = over(below, np.array([1.0, 0.0, 0.0]), np.array([[0.4]]))[0, 0]
    alpha = 0.4 + 0.5 * 0.6
    np.testing.assert_allclose(found[3], alpha)
    np.testing.assert_allclose(found[0], (0.4 * 1 + 0.6 * 0.5 * 0.2) / alpha)


def test_the_inside_of_a_disc_has_its_area() -> None:
    disc = Disc.of(101)
    assert disc.inside(0.7).sum() * disc.texel**2 == pytest.approx(np.pi * 0.49, rel=1e-3)
