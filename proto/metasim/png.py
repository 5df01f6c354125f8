"""PNG files, encoded for speed: every row is predicted by the row above it, and runs of equal bytes are packed."""

import struct
import zlib

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")  # width, height, bit depth, colour type, compression, filter, interlace
_LENGTH = struct.Struct(">I")
_GREY, _RGB, _PALETTE = 0, 2, 3
#: PNG's filter "Up".
_UP = 2
#: zlib's fastest level, and 32 KiB of window and the most memory, which is the fastest.
_LEVEL, _WINDOW_BITS, _MEMORY = 1, 15, 9


def encode_png(pixels: np.ndarray, palette: bytes | None = None) -> bytes:
    """Return an image uint8 [h, w, 3], or a mask uint8 or uint16 [h, w], as a PNG file.

    zlib's strategy Z_RLE and one filter take between a quarter and a half of the time of Pillow's level 1, whose
    filters cost more than its compression. docs/datasets.md has the measurement.

    Args:
        palette: colours of the values of a mask of uint8, three bytes each.

    Raises:
        ValueError: the array is neither.
    """
    deep = pixels.dtype == np.uint16
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.shape[2:] not in ((), (3,)) or not 2 <= pixels.ndim <= 3:
        raise ValueError(f"a PNG holds uint8 [h, w, 3], or uint8 or uint16 [h, w]; not {pixels.dtype} {pixels.shape}")
    if deep and (pixels.ndim == 3 or palette is not None):
        raise ValueError("only masks without a palette have 16 bits")
    height, width = pixels.shape[:2]
    raw = np.ascontiguousarray(pixels, ">u2" if deep else np.uint8).view(np.uint8).reshape(height, -1)
    rows = np.empty((height, 1 + raw.shape[1]), np.uint8)
    rows[:, 0] = _UP
    rows[:1, 1:] = raw[:1]
    np.subtract(raw[1:], raw[:-1], out=rows[1:, 1:])
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY, zlib.Z_RLE)
    colour = _RGB if pixels.ndim == 3 else _GREY if palette is None else _PALETTE
    parts = [_SIGNATURE, _chunk(b"IHDR", _HEADER.pack(width, height, 16 if deep else 8, colour, 0, 0, 0))]
    if palette is not None:
        parts.append(_chunk(b"PLTE", palette))
    parts += [_chunk(b"IDAT", packer.compress(rows.data) + packer.flush()), _chunk(b"IEND", b"")]
    return b"".join(parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return b"".join((_LENGTH.pack(len(content)), kind, content, _LENGTH.pack(zlib.crc32(content, zlib.crc32(kind)))))
