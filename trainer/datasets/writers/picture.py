"""Images and masks of samples: pixels, the bytes of a file, or both."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from metasim.image_files import MOST_QUALITY, decode_image, encode_image
from metasim.v1 import render_pb2 as pb

from trainer.errors import InputError

_FORMATS: dict[str, "pb.ImageFormat.ValueType"] = {
    "png": pb.IMAGE_FORMAT_PNG,
    "jpeg": pb.IMAGE_FORMAT_JPEG,
    "webp": pb.IMAGE_FORMAT_WEBP,
}
_SUFFIXES = {pb.IMAGE_FORMAT_PNG: "png", pb.IMAGE_FORMAT_JPEG: "jpg", pb.IMAGE_FORMAT_WEBP: "webp"}


@dataclass(frozen=True)
class Encoding:
    """A format of image files and its quality."""

    format: "pb.ImageFormat.ValueType" = pb.IMAGE_FORMAT_PNG
    #: 1 to 100; 0: JPEG 95, WebP lossless. PNG has none.
    quality: int = 0

    @classmethod
    def parse(cls, text: str) -> "Encoding":
        """Return the encoding of a text such as `png`, `jpeg`, `jpeg:90` or `webp:80`.

        Raises:
            InputError: the format is unknown, or has no such quality.
        """
        name, colon, quality = text.partition(":")
        number = int(quality) if quality.isascii() and quality.isdecimal() and len(quality) < 4 else 0
        if name not in _FORMATS or (colon and (name == "png" or not 1 <= number <= MOST_QUALITY)):
            raise InputError(
                f"images {text!r} must be png, jpeg, webp, jpeg:QUALITY or webp:QUALITY with a quality from 1 to "
                f"{MOST_QUALITY}, such as jpeg:90"
            )
        return cls(_FORMATS[name], number)

    @property
    def name(self) -> str:
        """Return the name of the format in the syntax of `parse`."""
        return next(name for name, value in _FORMATS.items() if value == self.format)

    @property
    def suffix(self) -> str:
        """Return the suffix of its files, without the dot."""
        return _SUFFIXES[self.format]


#: The encoding of masks, and the default encoding of images.
PNG = Encoding()


@dataclass(frozen=True, eq=False)
class Picture:
    """An image or a mask. Pixels are decoded, and files encoded, on access."""

    height: int
    width: int
    #: A file encoded by a worker; empty: pixels are given.
    data: bytes = b""
    #: The encoding of `data`.
    encoding: Encoding = PNG

    @classmethod
    def of(cls, pixels: np.ndarray) -> "Picture":
        """Return a picture of pixels: uint8 [height, width, 3], or uint8 or uint16 [height, width]."""
        picture = cls(height=pixels.shape[0], width=pixels.shape[1])
        picture.__dict__["pixels"] = pixels
        return picture

    @cached_property
    def pixels(self) -> np.ndarray:
        """Return uint8 [height, width, 3], or of a mask uint8 or uint16 [height, width]."""
        return decode_image(self.data)

    def file(self, encoding: Encoding = PNG) -> bytes:
        """Return the bytes of a file in that encoding."""
        if self.data and self.encoding == encoding:
            return self.data
        return encode_image(self.pixels, encoding.format, encoding.quality)
