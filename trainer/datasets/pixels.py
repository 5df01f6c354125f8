"""Image files as arrays: upright, 8 bits, three channels."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps

from trainer.errors import InputError

#: Suffixes of image files. Pillow reads all of these formats.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
#: Pillow's modes of grey images with more than 8 bits.
_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_MOST_16 = 65535
_READING_ERRORS = (OSError, SyntaxError, ValueError, OverflowError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Photo:
    """An image read from a file."""

    #: uint8 [height, width, 3], sRGB, upright.
    pixels: np.ndarray
    #: EXIF's orientation, 1 to 8, that was applied to `pixels`. 1: none; 5 to 8 swap width and height.
    orientation: int = 1

    @property
    def width(self) -> int:
        """Pixels, upright."""
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        """Pixels, upright."""
        return self.pixels.shape[0]


def read_photo(path: Path) -> Photo:
    """Read an image file of any kind as 8-bit sRGB.

    EXIF's orientation is applied. 16-bit grey is divided by 257, so that full scale is 255 (as textures are read).
    Floating point values must lie in 0 to 1. Opacity is ignored.

    Raises:
        InputError: the file is missing, is not a complete image, or has values outside of these ranges.
    """
    try:
        return read_photo_file(path, str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such image") from None


def read_photo_file(source: Path | BinaryIO, name: str) -> Photo:
    """Read an image like `read_photo`.

    Args:
        name: what messages call it.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: see `read_photo`.
    """
    try:
        with Image.open(source) as file:
            orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
            upright = ImageOps.exif_transpose(file)
            pixels = _rgb(upright, name)
    except FileNotFoundError:
        raise
    except _READING_ERRORS as error:
        reason = "no image that can be read" if isinstance(error, Image.UnidentifiedImageError) else str(error)
        raise InputError(f"{name} is damaged ({reason}); repair or remove it") from error
    known = isinstance(orientation, int) and 1 <= orientation <= 8
    return Photo(pixels, orientation if known else 1)


def read_image(path: Path) -> np.ndarray:
    """Return `read_photo(path).pixels`, uint8 [height, width, 3].

    Raises:
        InputError: see `read_photo`.
    """
    return read_photo(path).pixels


def read_mask(path: Path) -> np.ndarray:
    """Return a mask, integers [height, width], as stored in the file: palette indices or grey values.

    Colour images whose channels are equal count as grey.

    Raises:
        InputError: the file is missing, is not a complete image, or its channels differ.
    """
    try:
        return read_mask_file(path, str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such mask") from None


def read_mask_file(source: Path | BinaryIO, name: str) -> np.ndarray:
    """Read a mask like `read_mask`.

    Args:
        name: what messages call it.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: see `read_mask`.
    """
    try:
        with Image.open(source) as file:
            pixels = np.asarray(file)
    except FileNotFoundError:
        raise
    except _READING_ERRORS as error:
        raise InputError(f"{name} is damaged ({error}); repair or remove it") from error
    if pixels.ndim == 3:
        colours = pixels[..., :1] if pixels.shape[2] < 3 else pixels[..., :3]
        if (colours != colours[..., :1]).any():
            raise InputError(f"{name} has {pixels.shape[2]} channels that differ; a mask has 1, or a palette")
        pixels = colours[..., 0]
    if pixels.dtype.kind == "f":
        raise InputError(f"{name} holds floating point values; a mask holds whole numbers")
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels


def _rgb(image: Image.Image, name: str) -> np.ndarray:
    if image.mode in _DEEP_MODES:
        deep = np.asarray(image).astype(np.int64)
        if deep.min() < 0 or deep.max() > _MOST_16:
            raise InputError(
                f"{name} has values from {deep.min()} to {deep.max()}; integers must be from 0 to {_MOST_16}"
            )
        grey = np.rint(deep / (_MOST_16 / 255)).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode == "F":
        values = np.asarray(image)
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            raise InputError(
                f"{name} has floating point values from {np.nanmin(values):g} to {np.nanmax(values):g}; "
                "they must be from 0 (black) to 1 (white)"
            )
        return np.repeat(np.rint(values * 255).astype(np.uint8)[:, :, None], 3, axis=2)
    return np.asarray(image.convert("RGB"))
