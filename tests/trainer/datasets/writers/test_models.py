"""Models in exported datasets: their names, meshes, symmetries; and the type of images' labels."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from metasim.v1 import scene_pb2 as pb

from trainer.assets.folder_set import MeshFolder
from trainer.assets.symmetries import stated_symmetries
from trainer.datasets.writers.bop import object_numbers
from trainer.datasets.writers.meshes import MeshFile, bop_model
from trainer.datasets.writers.rendered import image_label, item_names
from trainer.errors import InputError

BOX = trimesh.creation.box((2, 3, 4))
MESH = MeshFile(BOX.export(file_type="ply"), pb.MESH_FORMAT_PLY)


def meshes(folder: Path, *names: str) -> MeshFolder:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return MeshFolder("things", folder)


def test_files_of_the_same_name_are_models_of_their_own(tmp_path: Path) -> None:
    names = item_names(meshes(tmp_path, "cup/model.glb", "plate/model.glb", "plate/lid.ply"))
    assert names == ["things/cup/model", "things/lid", "things/plate/model"]
    assert sorted(object_numbers(tuple(names)).values()) == [1, 2, 3]


def test_names_are_unique_whatever_the_folders(tmp_path: Path) -> None:
    names = item_names(meshes(tmp_path, "a/x/model.glb", "a/y/model.glb", "a/model.ply", "model.obj"))
    assert len(set(names)) == 4


def test_names_of_bop_files_keep_their_numbers(tmp_path: Path) -> None:
    names = item_names(meshes(tmp_path, "obj_000003.ply", "obj_000007.ply"))
    assert object_numbers(tuple(names)) == {"things/obj_000003": 3, "things/obj_000007": 7}


@pytest.mark.parametrize(
    ("classes", "label", "expected"),
    [
        (("0", "7"), "7", 7),
        (("0", "apple"), "0", "0"),
        (("07", "7"), "7", "7"),
        (("٣",), "٣", "٣"),
        (("car",), "car", "car"),
    ],
)
def test_labels_of_a_dataset_have_one_type(classes: tuple[str, ...], label: str, expected: int | str) -> None:
    assert image_label(label, classes) == expected


def test_a_model_has_the_size_that_is_rendered() -> None:
    scale = (0.01, 0.02, 0.01)
    size = np.array([20.0, 60.0, 40.0])
    model = bop_model(MESH, "box", scale, -size / 2, size)
    loaded = trimesh.load(io.BytesIO(model.ply), file_type="ply")
    np.testing.assert_allclose(loaded.bounds, [-size / 2, size / 2], atol=1e-4)


@pytest.mark.parametrize("size", [(20.0, 40.0, 30.0), (20.0, 30.0, 41.0)])
def test_a_model_that_is_posed_is_refused(size: tuple[float, ...]) -> None:
    shown = np.array(size)
    with pytest.raises(InputError, match=r"^model box: the box of its file is 20\.0 x 30\.0 x 40\.0 mm from -10\.0 x "):
        bop_model(MESH, "box", (0.01,) * 3, -shown / 2, shown)


def test_a_model_that_is_moved_is_refused() -> None:
    size = np.array([20.0, 30.0, 40.0])
    with pytest.raises(InputError, match="trimesh and Blender read the file differently"):
        bop_model(MESH, "box", (0.01,) * 3, -size / 2 + 5, size)


ENTRY = {
    "symmetries_continuous": [{"axis": [0, 0, 1], "offset": [10, 20, 0]}],
    "symmetries_discrete": [[-1, 0, 0, 20, 0, -1, 0, 40, 0, 0, 1, 0, 0, 0, 0, 1]],
}


def test_symmetries_follow_the_origin_and_the_scale() -> None:
    """A half turn about an axis through (10, 20): a point and its image keep their places in the moved frame."""
    base = np.array([4.0, 5.0, 6.0])
    stated = stated_symmetries(ENTRY, base, "model")
    assert stated is not None
    entry = stated.scaled(2).bop_entry()
    assert json.loads(json.dumps(entry)) == entry
    point = np.array([13.0, 21.0, 3.0])
    image = np.array([7.0, 19.0, 3.0])
    [matrix] = (np.reshape(item, (4, 4)) for item in entry["symmetries_discrete"])  # type: ignore[attr-defined]
    np.testing.assert_allclose(matrix @ [*(point - base) * 2, 1], [*(image - base) * 2, 1])
    [turn] = entry["symmetries_continuous"]  # type: ignore[misc]
    assert turn["axis"] == [0, 0, 1]
    np.testing.assert_allclose(turn["offset"], [12, 30, -12])


def test_symmetries_that_a_scale_breaks_are_left_out() -> None:
    mesh = MeshFile(MESH.data, MESH.format, stated_symmetries(ENTRY, (0, 0, 0), "model"))
    size = np.array([20.0, 60.0, 40.0])
    assert bop_model(mesh, "box", (0.01, 0.02, 0.01), -size / 2, size).symmetries == {}
    size = np.array([20.0, 30.0, 40.0])
    assert set(bop_model(mesh, "box", (0.01,) * 3, -size / 2, size).symmetries) == set(ENTRY)
    assert stated_symmetries({}, (0, 0, 0), "model") is None
