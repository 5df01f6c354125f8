"""Images as files, in the formats of render.proto: the same pixels give the same bytes on workers and clients."""

import functools
import io
import zlib
from typing import Any

import numpy as np
from PIL import Image, features

from metasim.png import encode_png
from metasim.v1 import render_pb2 as pb

#: Every format, as `DescribeResponse.image_formats` lists it.
FORMATS = (pb.IMAGE_FORMAT_PNG, pb.IMAGE_FORMAT_JPEG, pb.IMAGE_FORMAT_WEBP)
#: Quality of JPEG files where none is stated.
JPEG_QUALITY = 95
MOST_QUALITY = 100
#: Longest side of an image, in pixels, where a format has a limit below that of any worker.
MOST_SIDE_PX = {pb.IMAGE_FORMAT_JPEG: 65_500, pb.IMAGE_FORMAT_WEBP: 16_383}


@functools.cache
def encoder_name() -> str:
    """Return `DescribeResponse.image_encoder`."""
    libraries = (("libjpeg-turbo", "libjpeg_turbo"), ("libwebp", "webp"))
    versions = [f"{name} {features.version(feature)}" for name, feature in libraries]
    return ", ".join([f"zlib {zlib.ZLIB_RUNTIME_VERSION}", *versions])


def encode_image(pixels: np.ndarray, image_format: "pb.ImageFormat.ValueType", quality: int = 0) -> bytes:
    """Return an image uint8 [h, w, 3], or a mask uint8 or uint16 [h, w], as a file.

    Args:
        image_format: masks have PNG only.
        quality: see `LayerEncoding.quality`.

    Raises:
        ValueError: the format is unknown or does not hold such an array.
    """
    if image_format == pb.IMAGE_FORMAT_PNG:
        return encode_png(pixels)
    if pixels.ndim != 3 or image_format not in (pb.IMAGE_FORMAT_JPEG, pb.IMAGE_FORMAT_WEBP):
        raise ValueError(f"format {image_format} does not hold {pixels.dtype} {pixels.shape}")
    file = io.BytesIO()
    options: dict[str, Any]
    if image_format == pb.IMAGE_FORMAT_JPEG:
        name, options = "JPEG", {"quality": quality or JPEG_QUALITY, "subsampling": 0}
    else:
        name, options = "WEBP", {"quality": quality, "method": 0} if quality else {"lossless": True, "method": 0}
    Image.fromarray(pixels).save(file, name, **options)
    return file.getvalue()


def decode_image(data: bytes) -> np.ndarray:
    """Return the pixels of a file that `encode_image` made: uint8 [h, w, 3], or uint8 or uint16 [h, w].

    Raises:
        ValueError: the bytes are not an image.
    """
    try:
        with Image.open(io.BytesIO(data)) as file:
            pixels = np.asarray(file)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{len(data)} bytes are not an image file: {error}") from error
    return pixels.astype(np.uint16) if pixels.dtype == np.int32 else pixels
