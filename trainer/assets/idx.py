"""The idx format of MNIST: a magic number, sizes, bytes. Plain or gzipped; unsigned bytes alone.

http://yann.lecun.com/exdb/mnist, "the idx file format": big-endian; two zero bytes, element type (8: unsigned byte),
number of dimensions, then one 32-bit size per dimension, then the elements in row-major order.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from trainer.errors import InputError

_UNSIGNED_BYTE = 8
_GZIP = b"\x1f\x8b"
#: The two things that MNIST-like data sets keep in idx files, by their number of dimensions.
_HOLDS = {1: "labels", 3: "images"}
#: Bytes that are read at most; a header that promises more is damaged.
MAX_BYTES = 1 << 31


def idx_shape(path: Path, dimensions: int) -> tuple[int, ...]:
    """Return the sizes in the file's header.

    Args:
        dimensions: how many there must be: 3 for images [count, height, width], 1 for labels [count].

    Raises:
        InputError: the file cannot be read, is no idx file of unsigned bytes, or has other dimensions.
    """
    header = _read(path, 4 + 4 * 8)
    if len(header) < 4 or header[:2] != b"\0\0" or header[3] == 0:
        raise InputError(
            f"{path} is not an idx file: it begins with {header[:4].hex(' ') or 'nothing'}, not with 00 00"
        )
    if header[2] != _UNSIGNED_BYTE:
        raise InputError(f"{path} holds elements of type 0x{header[2]:02x}; only 0x08 (unsigned bytes) is read")
    found = header[3]
    if found != dimensions:
        wanted, got = _HOLDS.get(dimensions, "data"), _HOLDS.get(found, "something else")
        raise InputError(
            f"{path} holds {found} dimensions ({got}) where {dimensions} ({wanted}) are needed; "
            "were the files of images and labels swapped?"
        )
    if len(header) < 4 + 4 * dimensions:
        raise InputError(f"{path} is truncated: its header ends after {len(header)} bytes")
    shape = struct.unpack(f">{dimensions}I", header[4 : 4 + 4 * dimensions])
    if math.prod(shape) > MAX_BYTES:
        raise InputError(f"{path} claims {math.prod(shape)} bytes; at most {MAX_BYTES} are read")
    return shape


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Return the content, uint8 with the shape of `idx_shape`.

    Raises:
        InputError: as `idx_shape`, or the file is longer or shorter than its header says.
    """
    shape = idx_shape(path, dimensions)
    size, start = math.prod(shape), 4 + 4 * dimensions
    data = _read(path, start + size + 1)
    if len(data) - start != size:
        what = "is truncated: it" if len(data) - start < size else "is too long: it"
        has = f"{len(data) - start}" if len(data) - start < size else f"more than {size}"
        raise InputError(f"{path} {what} has {has} bytes of data where its header says {size} ({_times(shape)})")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write uint8 `array` of any shape; gzipped (without a time stamp) if the name ends in .gz. Replaces atomically.

    Raises:
        ValueError: the array is not uint8.
    """
    if array.dtype != np.uint8:
        raise ValueError(f"idx files are written from uint8 arrays; this one is {array.dtype}")
    data = struct.pack(f">BBBB{array.ndim}I", 0, 0, _UNSIGNED_BYTE, array.ndim, *array.shape) + array.tobytes()
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)


def _read(path: Path, count: int) -> bytes:
    """Return the first `count` bytes of the file's unzipped content."""
    try:
        with path.open("rb") as file:
            if file.read(2) != _GZIP:
                file.seek(0)
                return file.read(count)
            file.seek(0)
            with gzip.GzipFile(fileobj=file) as unzipped:
                return unzipped.read(count)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is a damaged or truncated gzip file: {error}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
