"""Images as files: other programs read the same pixels, and lossy formats stay near them."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from metasim.image_files import FORMATS, decode_image, encode_image, encoder_name
from metasim.png import encode_png
from metasim.v1 import render_pb2 as pb
from PIL import Image

COLOURS = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


@given(COLOURS)
def test_pillow_reads_the_pixels_of_a_png(pixels: np.ndarray) -> None:
    with Image.open(io.BytesIO(encode_png(pixels))) as file:
        assert file.mode == "RGB"
        assert np.array_equal(np.asarray(file), pixels)


@given(arrays(st.sampled_from([np.uint8, np.uint16]), array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_masks_keep_their_values_and_their_type(mask: np.ndarray) -> None:
    found = decode_image(encode_image(mask, pb.IMAGE_FORMAT_PNG))
    assert found.dtype == mask.dtype
    assert np.array_equal(found, mask)


def test_a_palette_colours_the_values_of_a_mask() -> None:
    mask = np.array([[0, 1], [2, 1]], np.uint8)
    with Image.open(io.BytesIO(encode_png(mask, bytes(range(9))))) as file:
        assert file.mode == "P"
        assert np.array_equal(np.asarray(file), mask)
        assert file.convert("RGB").getpixel((0, 1)) == (6, 7, 8)


@given(COLOURS)
def test_webp_without_a_quality_is_lossless(pixels: np.ndarray) -> None:
    assert np.array_equal(decode_image(encode_image(pixels, pb.IMAGE_FORMAT_WEBP)), pixels)


@pytest.mark.parametrize(("image_format", "quality"), [(pb.IMAGE_FORMAT_JPEG, 0), (pb.IMAGE_FORMAT_WEBP, 90)])
def test_lossy_formats_stay_near_the_pixels(image_format: "pb.ImageFormat.ValueType", quality: int) -> None:
    y, x = np.mgrid[:48, :64]
    pixels = np.stack([2 * x, 3 * y, x + y], axis=2).astype(np.uint8)
    found = decode_image(encode_image(pixels, image_format, quality)).astype(int)
    assert np.abs(found - pixels).mean() < 3
    assert encode_image(pixels, image_format, quality) != encode_image(pixels, image_format, 30)


def test_arrays_that_a_format_does_not_hold_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a PNG holds uint8 \[h, w, 3\], or uint8 or uint16 \[h, w\]; not float32"):
        encode_image(np.zeros((2, 2), np.float32), pb.IMAGE_FORMAT_PNG)
    with pytest.raises(ValueError, match="only masks without a palette have 16 bits"):
        encode_png(np.zeros((2, 2, 3), np.uint16))
    with pytest.raises(ValueError, match=r"format 2 does not hold uint16 \(2, 2\)"):
        encode_image(np.zeros((2, 2), np.uint16), pb.IMAGE_FORMAT_JPEG)
    with pytest.raises(ValueError, match="3 bytes are not an image file"):
        decode_image(b"abc")


def test_the_encoder_names_its_libraries() -> None:
    assert set(FORMATS) == set(pb.ImageFormat.values()) - {pb.IMAGE_FORMAT_UNSPECIFIED}
    assert [part.split()[0] for part in encoder_name().split(", ")] == ["zlib", "libjpeg-turbo", "libwebp"]
