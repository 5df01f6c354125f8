"""idx files: written, read, and refused when damaged."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trainer.assets.idx import idx_shape, read_idx, write_idx
from trainer.errors import InputError

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
LABELS = np.array([7, 1], dtype=np.uint8)


def raises(path, message, dimensions=3, read=read_idx):
    with pytest.raises(InputError) as caught:
        read(path, dimensions)
    assert str(caught.value) == message.replace("{path}", str(path))


@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_what_is_written_is_read(tmp_path, name):
    path = tmp_path / name
    write_idx(path, IMAGES)
    np.testing.assert_array_equal(read_idx(path, 3), IMAGES)
    assert idx_shape(path, 3) == (2, 3, 4)
    assert list(tmp_path.iterdir()) == [path]


@settings(max_examples=50, deadline=None)
@given(
    array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)), zipped=st.booleans()
)
def test_any_shape_goes_round(tmp_path_factory, array, zipped):
    path = tmp_path_factory.mktemp("idx") / ("a.gz" if zipped else "a")
    write_idx(path, array)
    np.testing.assert_array_equal(read_idx(path, array.ndim), array)


def test_the_bytes_are_those_of_the_format(tmp_path):
    write_idx(tmp_path / "labels", LABELS)
    assert (tmp_path / "labels").read_bytes() == bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 1])


def test_gzipped_bytes_are_the_same_each_time(tmp_path):
    write_idx(tmp_path / "a.gz", IMAGES)
    write_idx(tmp_path / "b.gz", IMAGES)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_damaged_files(tmp_path):
    path = tmp_path / "images"
    write_idx(path, IMAGES)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    raises(path, "{path} is truncated: it has 23 bytes of data where its header says 24 (2 x 3 x 4)")
    path.write_bytes(whole + b"\0")
    raises(path, "{path} is too long: it has more than 24 bytes of data where its header says 24 (2 x 3 x 4)")
    path.write_bytes(whole[:10])
    raises(path, "{path} is truncated: its header ends after 10 bytes")
    path.write_bytes(b"")
    raises(path, "{path} is not an idx file: it begins with nothing, not with 00 00")
    path.write_bytes(b"\x89PNG....")
    raises(path, "{path} is not an idx file: it begins with 89 50 4e 47, not with 00 00")
    path.write_bytes(b"\0\0\x0d" + whole[3:])
    raises(path, "{path} holds elements of type 0x0d; only 0x08 (unsigned bytes) is read")
    path.write_bytes(bytes([0, 0, 8, 3]) + b"\xff" * 12)
    raises(path, f"{{path}} claims {(2**32 - 1) ** 3} bytes; at most {1 << 31} are read")
    zipped = gzip.compress(whole)
    path.write_bytes(zipped[:-9])
    raises(
        path,
        "{path} is a damaged or truncated gzip file: Compressed file ended before the end-of-stream marker was reached",
    )


def test_swapped_images_and_labels(tmp_path):
    write_idx(tmp_path / "labels", LABELS)
    write_idx(tmp_path / "images", IMAGES)
    raises(
        tmp_path / "labels",
        "{path} holds 1 dimensions (labels) where 3 (images) are needed; were the files of images and labels swapped?",
    )
    raises(
        tmp_path / "images",
        "{path} holds 3 dimensions (images) where 1 (labels) are needed; were the files of images and labels swapped?",
        dimensions=1,
    )


def test_a_missing_file(tmp_path):
    raises(tmp_path / "none", "{path} cannot be read: No such file or directory")
    raises(tmp_path, "{path} cannot be read: Is a directory")


def test_only_bytes_are_written(tmp_path):
    with pytest.raises(ValueError, match="uint8 arrays; this one is float64"):
        write_idx(tmp_path / "x", np.zeros(3))
