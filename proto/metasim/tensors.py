"""Conversion between NumPy arrays and `metasim.v1.Tensor`."""

import math
import threading

import numpy as np
import zstandard

from metasim.v1 import tensor_pb2 as pb

_DTYPES: dict["pb.DataType.ValueType", np.dtype] = {
    pb.DATA_TYPE_UINT8: np.dtype("u1"),
    pb.DATA_TYPE_UINT16: np.dtype("<u2"),
    pb.DATA_TYPE_FLOAT16: np.dtype("<f2"),
    pb.DATA_TYPE_FLOAT32: np.dtype("<f4"),
}
_DATA_TYPES = {dtype: data_type for data_type, dtype in _DTYPES.items()}

#: Largest tensor that is decoded, in bytes. The size is checked before memory is allocated.
MAX_BYTES = 1 << 30

#: Up to this size in bytes, zstd level 3 is as fast as level 1 and packs grey pixels of three channels better.
_SMALL = 2 << 10

_of_thread = threading.local()


def tensor_to_proto(array: np.ndarray, *, compress: bool = False) -> pb.Tensor:
    """Return an array of uint8, uint16, float16 or float32 as a tensor, packed by zstd if `compress`.

    Raises:
        ValueError: the array has another element type.
    """
    data_type = _DATA_TYPES.get(array.dtype.newbyteorder("<"))
    if data_type is None:
        raise ValueError(f"dtype {array.dtype} has no wire type; allowed: uint8, uint16, float16, float32")
    data = np.ascontiguousarray(array, dtype=_DTYPES[data_type]).tobytes()
    compression = pb.COMPRESSION_NONE
    if compress:
        data = _compressor(3 if len(data) <= _SMALL else 1).compress(data)
        compression = pb.COMPRESSION_ZSTD
    return pb.Tensor(shape=array.shape, dtype=data_type, compression=compression, data=data)


def tensor_from_proto(tensor: pb.Tensor, *, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """Return a tensor as an array. The array is read-only if it was not compressed.

    Raises:
        ValueError: unknown element type or compression, a size above `max_bytes`, or bytes that do not fit the shape.
    """
    dtype = _DTYPES.get(tensor.dtype)
    if dtype is None:
        raise ValueError(f"Tensor.dtype {tensor.dtype} is unknown; allowed: {sorted(_DTYPES)}")
    shape = tuple(tensor.shape)
    size = math.prod(shape) * dtype.itemsize
    if size > max_bytes:
        raise ValueError(f"Tensor.shape {shape} needs {size} bytes; at most {max_bytes} are allowed")
    if tensor.compression == pb.COMPRESSION_NONE:
        data = tensor.data
    elif tensor.compression == pb.COMPRESSION_ZSTD:
        data = _decompress(tensor.data, size)
    else:
        raise ValueError(f"Tensor.compression {tensor.compression} is unknown; allowed: 1 (none), 2 (zstd)")
    if len(data) != size:
        raise ValueError(f"Tensor.data holds {len(data)} bytes; shape {shape} of {dtype} needs {size}")
    return np.frombuffer(data, dtype=dtype).reshape(shape)


def _compressor(level: int) -> zstandard.ZstdCompressor:
    """Return this thread's compressor: creating one takes as long as compressing a small tensor."""
    if not hasattr(_of_thread, "compressors"):
        _of_thread.compressors = {}
    compressors: dict[int, zstandard.ZstdCompressor] = _of_thread.compressors
    if level not in compressors:
        compressors[level] = zstandard.ZstdCompressor(level=level)
    return compressors[level]


def _decompress(data: bytes, size: int) -> bytes:
    try:
        stated = zstandard.frame_content_size(data)
        if stated != size:
            raise ValueError(f"Tensor.data states {stated} bytes in its zstd frame; its shape needs {size}")
        return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as error:
        raise ValueError(f"Tensor.data is not a zstd frame: {error}") from error
