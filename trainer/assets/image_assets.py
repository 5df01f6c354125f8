"""Image files as assets: checked, and scaled down where they are too large."""

import io
import warnings

from PIL import Image

from trainer.assets.limits import MAX_PIXELS
from trainer.errors import InputError

_PNG = b"\x89PNG\r\n\x1a\n"
_MIME_TYPES = {_PNG: "image/png", b"\xff\xd8\xff": "image/jpeg"}


def mime_type(data: bytes) -> str | None:
    """Return the type of a PNG or JPEG file; None for any other file."""
    return next((name for signature, name in _MIME_TYPES.items() if data.startswith(signature)), None)


def checked_png(data: bytes, what: str, max_size: int | None = None) -> bytes:
    """Return a PNG file as it is, or scaled down to a size.

    Args:
        what: names the file in errors.
        max_size: largest width and height in pixels; larger images are scaled down. None: they are errors if workers
            do not take them.

    Raises:
        InputError: the file is no PNG, damaged, or too large.
    """
    if not data.startswith(_PNG):
        raise InputError(f"{what} is not a PNG image, although its name says so")
    image = decoded(data, what, None if max_size else "scale it down, or add `max_size: 4096` to its set")
    if max_size is None or max(image.size) <= max_size:
        return data
    image.thumbnail((max_size, max_size), Image.Resampling.LANCZOS)
    return png_bytes(image)


def decoded(data: bytes, what: str, too_large: str | None = "scale it down") -> Image.Image:
    """Return an image, decoded as a whole.

    Args:
        what: names the file in errors.
        too_large: advice for an image of more pixels than workers take; None: any size is right.

    Raises:
        InputError: the image cannot be read, or is too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
        width, height = image.size
        if too_large is not None and width * height > MAX_PIXELS:
            raise InputError(
                f"{what} has {width} x {height} pixels; workers take {MAX_PIXELS}, such as 4096 x 4096: {too_large}"
            )
        image.load()
    except Image.DecompressionBombError as error:
        raise InputError(f"{what} has more pixels than can be decoded; scale it down") from error
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises any of them for damaged files.
        raise InputError(f"{what} is damaged and cannot be read as an image; repair or remove it") from error
    return image


def png_bytes(image: Image.Image) -> bytes:
    """Return an image as a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
