"""Textures of aerial views: always the same, all different, with crisp outlines."""

import hashlib
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from trainer.assets.procedural import FAMILIES, Family

#: Items and texels (width, height) of each family.
SIZES = {
    "aerial-cars": (600, (32, 16)),
    "aerial-trees": (40, (32, 32)),
    "aerial-houses": (20, (40, 32)),
    "aerial-grasses": (7, (96, 96)),
    "aerial-roads": (4, (224, 40)),
}


def texels(family: Family, index: int) -> np.ndarray:
    """float [height, width, 4] in [0, 1]"""
    return np.asarray(Image.open(io.BytesIO(family.make(index))).convert("RGBA")) / 255


@pytest.mark.parametrize("name", SIZES)
def test_each_item_is_another_image_of_the_same_size(name: str) -> None:
    family, (count, size) = FAMILIES[name](), SIZES[name]
    assert family.count == count
    items = [family.make(index) for index in range(count)]
    assert len(set(items)) == count
    assert {Image.open(io.BytesIO(item)).size for item in items} == {size}
    assert items[-1] == family.make(count - 1)


@pytest.mark.parametrize("name", SIZES)
def test_outlines_are_crisp_and_end_inside_the_image(name: str) -> None:
    family, (count, _) = FAMILIES[name](), SIZES[name]
    for index in range(0, count, max(1, count // 20)):
        opacity = texels(family, index)[..., 3]
        assert set(np.unique(opacity)) <= {0.0, 1.0}
        if name in ("aerial-grasses", "aerial-roads"):
            assert opacity.all()
        else:
            assert not opacity[0].any()
            assert not opacity[-1].any()
            assert 0.3 < opacity.mean() < 0.9


def test_another_process_makes_the_same_bytes() -> None:
    script = (
        "import hashlib\nfrom trainer.assets.procedural import FAMILIES\n"
        f"print(hashlib.sha256(b''.join(FAMILIES[name]().make(3) for name in {list(SIZES)})).hexdigest())"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    here = hashlib.sha256(b"".join(FAMILIES[name]().make(3) for name in SIZES))
    assert found.stdout.strip() == here.hexdigest()


def test_cars_have_white_lamps_at_the_right_and_red_ones_at_the_left() -> None:
    cars = FAMILIES["aerial-cars"]()
    for index in range(0, cars.count, 12):
        image = texels(cars, index)
        columns = np.flatnonzero(image[..., 3].any(axis=0))
        rear, front = (image[:, part][image[:, part, 3] > 0][:, :3] for part in (columns[:3], columns[-3:]))
        redness = [part[:, 0] - part[:, 1:].mean(axis=1) for part in (rear, front)]
        assert redness[0].max() > 0.55
        assert front.min(axis=1).max() > 0.6


def test_grass_is_green_and_textured() -> None:
    grasses = FAMILIES["aerial-grasses"]()
    for index in range(grasses.count):
        red, green, blue, _ = np.moveaxis(texels(grasses, index), 2, 0)
        assert green.mean() > red.mean() > blue.mean()
        assert green.std() > 0.03
