"""Arrays survive the wire, and what cannot be an array is refused in words."""

import contextlib

import hypothesis.extra.numpy as st_numpy
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from metasim.tensors import tensor_from_proto, tensor_to_proto
from metasim.v1 import tensor_pb2 as pb

DTYPES = ["u1", "<u2", "<f2", "<f4"]
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: st_numpy.arrays(dtype, st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)


@given(array=ARRAYS, compress=st.booleans())
def test_round_trip(array: np.ndarray, compress: bool) -> None:
    message = pb.Tensor.FromString(tensor_to_proto(array, compress=compress).SerializeToString())
    back = tensor_from_proto(message)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()  # NaN payloads and signed zeros included.


@given(array=ARRAYS)
def test_strides_and_byte_order_do_not_matter(array: np.ndarray) -> None:
    swapped = array.T.astype(array.dtype.newbyteorder(">"))
    np.testing.assert_array_equal(tensor_from_proto(tensor_to_proto(swapped)), array.T)


@pytest.mark.parametrize("dtype", ["f8", "i4", "?", "c8", "O"])
def test_other_element_types_are_refused(dtype: str) -> None:
    with pytest.raises(ValueError, match="has no wire type; allowed: uint8, uint16, float16, float32"):
        tensor_to_proto(np.zeros(3, dtype))


def _bomb() -> bytes:
    return zstandard.ZstdCompressor().compress(bytes(1 << 20))


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (pb.Tensor(shape=[2], compression=1, data=b"xx"), "Tensor.dtype 0 is unknown"),
        (pb.Tensor(shape=[2], dtype=9, compression=1, data=b"xx"), "Tensor.dtype 9 is unknown"),
        (pb.Tensor(shape=[2], dtype=1, data=b"xx"), "Tensor.compression 0 is unknown"),
        (pb.Tensor(shape=[3], dtype=1, compression=1, data=b"xx"), "Tensor.data holds 2 bytes"),
        (pb.Tensor(shape=[1 << 31, 1 << 31], dtype=4, compression=1), "at most 1073741824 are allowed"),
        (pb.Tensor(shape=[3], dtype=1, compression=2, data=b"no frame"), "is not a zstd frame"),
        (pb.Tensor(shape=[3], dtype=1, compression=2, data=_bomb()), "states 1048576 bytes in its zstd frame"),
    ],
)
def test_malformed_tensors_are_refused(message: pb.Tensor, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        tensor_from_proto(message)


@given(data=st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    message = pb.Tensor(shape=[3, 2], dtype=pb.DATA_TYPE_UINT16, compression=pb.COMPRESSION_ZSTD, data=data)
    with contextlib.suppress(ValueError):
        assert tensor_from_proto(message, max_bytes=1000).shape == (3, 2)
