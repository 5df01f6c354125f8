"""The canvas of textures, and smooth noise."""

import io

import numpy as np
import pytest
from PIL import Image

from trainer.assets.procedural.painting import Canvas, mixed, noise, png


def test_a_texel_is_opaque_where_at_least_half_of_it_is_painted() -> None:
    canvas = Canvas(4, 3)
    canvas.box(1, 1, 2.5, 2, (1, 0, 0.2))
    canvas.box(3.625, 0, 4, 1, (1, 1, 1))
    texels = canvas.texels()
    assert texels.shape == (3, 4, 4)
    assert texels[..., 3].tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert texels[1, 2].tolist() == pytest.approx([1, 0, 0.2, 1])
    assert not texels[0].any()


def test_a_texel_has_the_mean_colour_of_what_is_painted() -> None:
    canvas = Canvas(1, 1)
    canvas.box(0, 0, 1, 1, (1, 1, 1))
    canvas.box(0, 0, 0.25, 1, (0, 0.6, 1))
    assert canvas.texels()[0, 0].tolist() == pytest.approx([0.75, 0.9, 1, 1])


def test_shapes_lie_where_they_are_put() -> None:
    canvas = Canvas(20, 10)
    canvas.disc(5, 5, 3, (1, 1, 1))
    canvas.polygon([(12, 2), (18, 2), (18, 8), (12, 8)], (1, 1, 1))
    canvas.line((9, 0), (9, 10), 2, (1, 1, 1))
    opacity = canvas.texels()[..., 3]
    assert opacity[:, :8].sum() == pytest.approx(np.pi * 9, rel=0.15)
    assert opacity[:, 12:18].sum() == 36
    assert opacity[:, 8:10].all()


def test_a_box_without_area_paints_nothing() -> None:
    canvas = Canvas(4, 4)
    canvas.box(2, 1, 2, 3, (1, 1, 1))
    canvas.box(3, 1, 1, 3, (1, 1, 1))
    assert not canvas.texels().any()


def test_png_rounds_and_clips() -> None:
    image = Image.open(io.BytesIO(png(np.array([[[-0.2, 0.5, 1.4]]]))))
    assert (image.mode, image.getpixel((0, 0))) == ("RGB", (0, 128, 255))


def test_mixed_colours() -> None:
    assert mixed((0, 0.5, 1), (1, 0.5, 0), 0.25) == (0.25, 0.5, 0.75)


def test_noise_is_smooth_seamless_and_repeats() -> None:
    field = noise(np.random.default_rng(3), 32, 48, 8)
    assert field.shape == (32, 48)
    assert 0 <= field.min() < 0.3
    assert 0.7 < field.max() <= 1
    around = np.pad(field, ((0, 1), (0, 1)), mode="wrap")
    assert max(np.abs(np.diff(around, axis=axis)).max() for axis in (0, 1)) <= 1 / 8
    assert np.array_equal(field, noise(np.random.default_rng(3), 32, 48, 8))
