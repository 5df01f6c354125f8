"""Folders of models that others made: scaled to metres and turned to the front."""

import json
import struct

import numpy as np
import pytest
from support.data import shared_data

from trainer.assets.folder_set import MeshFolder
from trainer.assets.mesh_frame import placed, placement
from trainer.errors import GrammarError, InputError
from trainer.grammar import load_grammar

OBJ = b"# a wedge\nv 0 1 2\nv 1 0 0 0.5 0.5 0.5\nvn 0 1 0\nvt 0.5 0.5\nf 1//1 2//1 1//1\n"
WORLD = """
render: {width: 32, height: 16}
assets: {cars: {meshes: FOLDER, KEYS}}
nodes: {camera: {camera: perspective, fov: 30}, car: {mesh: cars}}
scene: [camera, car]
"""


def bounds(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner of a GLB file's content in our frame, its nodes' places included."""
    (length,) = struct.unpack_from("<I", data, 12)
    document = json.loads(data[20 : 20 + length])
    points = []

    def visit(index: int, above: np.ndarray) -> None:
        node = document["nodes"][index]
        own = np.array(node["matrix"]).reshape(4, 4).T if "matrix" in node else np.eye(4)
        assert "rotation" not in node
        assert "scale" not in node
        own = own.copy()
        own[:3, 3] += node.get("translation", [0, 0, 0])
        here = above @ own
        for primitive in document["meshes"][node["mesh"]]["primitives"] if "mesh" in node else ():
            accessor = document["accessors"][primitive["attributes"]["POSITION"]]
            box = np.array([accessor["min"], accessor["max"]])
            corners = [[box[i, 0], box[j, 1], box[k, 2], 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
            points.extend(corner @ here.T for corner in np.array(corners))
        for child in node.get("children", []):
            visit(child, here)

    for root in document["scenes"][document.get("scene", 0)]["nodes"]:
        visit(root, np.eye(4))
    x, y, z = np.array(points)[:, :3].T
    ours = np.stack((x, -z, y), axis=1)
    return ours.min(axis=0), ours.max(axis=0)


@pytest.mark.parametrize("forward", ["x", "-x", "y", "-y"])
def test_the_front_is_turned_to_x(forward):
    ahead = {"x": (1, 0, 0), "-x": (-1, 0, 0), "y": (0, 1, 0), "-y": (0, -1, 0)}[forward]
    matrix = placement(2.5, forward)
    np.testing.assert_allclose(matrix @ [*ahead, 1], [2.5, 0, 0, 1], atol=1e-9)
    np.testing.assert_allclose(matrix @ [0, 0, 1, 1], [0, 0, 2.5, 1])
    assert np.linalg.det(matrix) == pytest.approx(2.5**3)


def test_y_up_becomes_z_up():
    np.testing.assert_allclose(placement(up="y") @ [1, 2, 3, 1], [1, -3, 2, 1])


def test_cars_of_others_become_4_m_long_and_look_ahead():
    """Kenney's sedan is 2.55 units long, from -1.3 behind to 1.25 in front, which is glTF's +z and our -y."""
    folder = shared_data("assets3d/kenney_car_kit")
    as_it_is, fitted = MeshFolder("cars", folder), MeshFolder("cars", folder, placement(1.7, "-y"))
    index = next(index for index in range(len(fitted)) if fitted.item_name(index) == "sedan")
    low, high = bounds(as_it_is.data(index))
    np.testing.assert_allclose((low, high), [[-0.75, -1.25, 0], [0.75, 1.3, 1.3]], atol=0.01)
    low, high = bounds(fitted.data(index))
    np.testing.assert_allclose((low, high), [[-2.21, -1.275, 0], [2.125, 1.275, 2.21]], atol=0.01)
    assert fitted.content_hash(index) != as_it_is.content_hash(index)


def test_obj_files_are_turned(tmp_path):
    path = tmp_path / "wedge.obj"
    text = placed(OBJ, path, placement(2, "-y", "y")).decode()
    # (0, 1, 2): y up makes it (0, -2, 1), turned by 90 degrees (2, 0, 1), doubled (4, 0, 2). Colours stay.
    assert text.splitlines()[1:5] == ["v 4 0 2", "v -0 2 0 0.5 0.5 0.5".replace("-0", "0"), "vn 0 0 1", "vt 0.5 0.5"]


def test_other_files_cannot_be_fitted(tmp_path):
    with pytest.raises(
        InputError, match=r"scale, forward and up are for GLB, OBJ and .blend files; convert it to GLB$"
    ):
        placed(b"ply", tmp_path / "thing.ply", placement(2))
    with pytest.raises(InputError, match=r"thing.obj, line 1: 'v a b c' is no vector of an OBJ file$"):
        placed(b"v a b c", tmp_path / "thing.obj", placement(2))


def test_grammars_say_how_models_are_fitted(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "wedge.obj").write_bytes(OBJ)
    file = tmp_path / "world.yaml"
    file.write_text(WORLD.replace("FOLDER", "models").replace("KEYS", "scale: 2, forward: -y, up: y"))
    assert b"v 4 0 2" in load_grammar(file).asset_sets["cars"].data(0)
    file.write_text(WORLD.replace("FOLDER, KEYS", "models"))
    assert load_grammar(file).asset_sets["cars"].data(0) == OBJ
    file.write_text(WORLD.replace("meshes: FOLDER, KEYS", "procedural: street-cars, scale: 2"))
    with pytest.raises(GrammarError, match="scale belongs to a folder of meshes"):
        load_grammar(file)
