"""Encoding of PNG files."""

from pathlib import Path

import numpy as np
from metasim.png import encode_png


def save_png(pixels: np.ndarray, path: Path, palette: bytes | None = None) -> None:
    """Write an image uint8 [h, w, 3], or a mask uint8 or uint16 [h, w], as a PNG.

    Args:
        palette: colours of a mask's values, three bytes each.
    """
    path.write_bytes(encode_png(pixels, palette))
