"""Asset sets: lazy, labelled, named by content."""

import io

import numpy as np
import pytest
from metasim.hashing import content_hash
from metasim.v1 import scene_pb2
from PIL import Image

from trainer.assets.asset_sets import AssetLibrary, AssetRef, DigitSet, Fold, idx_set
from trainer.assets.folder_set import ImageFolder, MeshFolder
from trainer.assets.idx import write_idx
from trainer.errors import InputError

IMAGES = np.arange(6 * 2 * 2, dtype=np.uint8).reshape(6, 2, 2) * 10
LABELS = np.array([3, 1, 3, 1, 9, 3], dtype=np.uint8)


def message(call, *arguments):
    with pytest.raises(InputError) as caught:
        call(*arguments)
    return str(caught.value)


def digits() -> DigitSet:
    return DigitSet("digits", 6, lambda: IMAGES, lambda: LABELS)


def test_a_digit_is_white_with_its_intensity_as_opacity():
    pixels = np.asarray(Image.open(io.BytesIO(digits().png(2))))
    assert pixels.shape == (2, 2, 4)
    assert (pixels[..., :3] == 255).all()
    np.testing.assert_array_equal(pixels[..., 3], IMAGES[2])


def test_nothing_is_read_before_it_is_used():
    reads = []

    def images():
        reads.append("images")
        return IMAGES

    def labels():
        reads.append("labels")
        return LABELS

    lazy = DigitSet("digits", 6, images, labels)
    assert (len(lazy), reads) == (6, [])
    assert lazy.label(4) == 9
    assert reads == ["labels"]
    assert lazy.content_hash(1) == content_hash(lazy.png(1))
    lazy.png(2)
    assert (lazy.labels, reads) == ((1, 3, 9), ["labels", "images"])


def test_a_hash_is_computed_once():
    class Counting(DigitSet):
        count = 0

        def data(self, index: int) -> bytes:
            self.count += 1
            return super().data(index)

    counting = Counting("digits", 6, lambda: IMAGES, None)
    assert counting.content_hash(3) == counting.content_hash(3)
    assert counting.count == 1
    assert (counting.label(0), counting.labels) == (None, ())


def test_folds_are_disjoint_and_cover_the_set():
    folds = [Fold(digits(), i, 4) for i in range(4)]
    assert [len(fold) for fold in folds] == [2, 2, 1, 1]
    assert sorted(fold.data(i) for fold in folds for i in range(len(fold))) == sorted(
        digits().data(i) for i in range(6)
    )
    assert [folds[1].label(0), folds[1].label(1)] == [1, 3]
    assert folds[1].name == "digits"


def test_idx_sets(tmp_path):
    write_idx(tmp_path / "images.gz", IMAGES)
    write_idx(tmp_path / "labels", LABELS)
    whole = idx_set("digits", tmp_path / "images.gz", tmp_path / "labels")
    assert (len(whole), whole.label(4), whole.data(2)) == (6, 9, digits().data(2))
    write_idx(tmp_path / "labels", LABELS[:5])
    assert message(idx_set, "digits", tmp_path / "images.gz", tmp_path / "labels") == (
        f"{tmp_path}/images.gz holds 6 images and {tmp_path}/labels 5 labels; they must be as many"
    )
    write_idx(tmp_path / "none", IMAGES[:0])
    assert message(idx_set, "digits", tmp_path / "none", None) == f"{tmp_path}/none holds no images"


def test_folders(tmp_path):
    for name in ("b/2.png", "a/1.PNG", "a/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + name.encode())
    images = ImageFolder("shapes", tmp_path)
    assert [(images.item_name(i), images.label(i)) for i in range(len(images))] == [("1", "a"), ("2", "b")]
    assert (images.labels, images.mesh_format(0)) == (("a", "b"), None)
    (tmp_path / "b" / "2.png").write_bytes(b"GIF89a")
    assert message(images.data, 1) == f"{tmp_path}/b/2.png is not a PNG image, although its name says so"
    (tmp_path / "b" / "2.png").unlink()
    assert message(images.data, 1) == f"{tmp_path}/b/2.png cannot be read: No such file or directory"


def test_meshes(tmp_path):
    for name in ("van.ply", "cup.ply", "box.obj"):
        (tmp_path / name).write_bytes(name.encode())
    meshes = MeshFolder("things", tmp_path)
    assert [meshes.item_name(i) for i in range(3)] == ["box", "cup", "van"]
    assert [meshes.mesh_format(i) for i in range(3)] == [
        scene_pb2.MESH_FORMAT_OBJ,
        scene_pb2.MESH_FORMAT_PLY,
        scene_pb2.MESH_FORMAT_PLY,
    ]
    assert (meshes.data(1), meshes.label(0), meshes.labels) == (b"cup.ply", None, ())
    assert message(meshes.png, 0) == "asset set 'things' holds meshes; an image is needed"


def test_a_library_answers_for_what_it_named():
    library = AssetLibrary({"digits": digits()})
    name = library.hash_of(AssetRef("digits", 5))
    assert name in library
    assert library(name) == digits().data(5)
    assert digits().content_hash(4) not in library
