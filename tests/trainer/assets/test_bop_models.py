import json
import struct
from pathlib import Path

import numpy as np
import pytest
from metasim.v1 import scene_pb2 as pb
from support.bop import bop_folder, plate, two_colours
from support.scenes import DATA

from trainer.assets.bop_models import BopModels
from trainer.assets.symmetries import Symmetry
from trainer.errors import InputError

RED_BLUE = ((255, 0, 0), (0, 0, 255))


def document(data: bytes) -> dict:
    (length,) = struct.unpack_from("<I", data, 12)
    return json.loads(data[20 : 20 + length])


def bounds(data: bytes) -> np.ndarray:
    """Least and most x, y, z in metres, z up."""
    content = document(data)
    entry = content["accessors"][content["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    (x, z, back), (x2, z2, back2) = entry["min"], entry["max"]
    return np.array([(x, -back2, z), (x2, -back, z2)])


def test_models_are_in_metres_by_id_with_names_and_labels(tmp_path: Path) -> None:
    folder = bop_folder(tmp_path, {12: plate(), 3: plate()}, {12: {"name": "plate"}})
    models = BopModels("things", folder)
    assert [models.item_name(index) for index in range(len(models))] == ["obj_000003", "obj_000012"]
    assert [models.label(index) for index in range(len(models))] == ["obj_000003", "plate"]
    assert models.labels == ("obj_000003", "plate")
    assert models.mesh_format(0) == pb.MESH_FORMAT_GLB
    np.testing.assert_allclose(bounds(models.data(0)), [(0.02, 0, 0.01), (0.12, 0, 0.07)], atol=1e-7)
    assert models.data(0) is models.data(0)


def test_standing_models_have_their_origin_in_the_middle_of_their_base(tmp_path: Path) -> None:
    models = BopModels("things", bop_folder(tmp_path, {1: plate()}), standing=True)
    np.testing.assert_allclose(bounds(models.data(0)), [(-0.05, 0, 0), (0.05, 0, 0.06)], atol=1e-7)


@pytest.mark.parametrize("binary", [False, True])
def test_colours_of_vertices_travel_as_linear_light(tmp_path: Path, binary: bool) -> None:
    models = BopModels("things", bop_folder(tmp_path, {1: plate(((255, 0, 0), (128, 128, 128)), binary=binary)}))
    data = models.data(0)
    content = document(data)
    entry = content["accessors"][content["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
    view = content["bufferViews"][entry["bufferView"]]
    start = len(data) - content["buffers"][0]["byteLength"] - (-content["buffers"][0]["byteLength"] % 4)
    colors = np.frombuffer(data, "<f4", entry["count"] * 3, start + view["byteOffset"]).reshape(-1, 3)
    np.testing.assert_allclose(colors[0], (1, 0, 0), atol=1e-6)
    np.testing.assert_allclose(colors[-1], 0.2158605, atol=1e-6)


def test_textures_travel_inside(tmp_path: Path) -> None:
    two_colours(tmp_path / "skin.png")
    content = document(BopModels("things", bop_folder(tmp_path, {1: plate(texture="skin.png")})).data(0))
    assert [image["mimeType"] for image in content["images"]] == ["image/png"]


def test_a_texture_that_is_missing_or_elsewhere_is_refused(tmp_path: Path) -> None:
    folder = bop_folder(tmp_path, {1: plate(texture="skin.png"), 2: plate(texture="../skin.png")})
    models = BopModels("things", folder)
    with pytest.raises(InputError, match=r"obj_000001.ply refers to .*skin.png, which cannot be read: No such file"):
        models.data(0)
    with pytest.raises(InputError, match=r"refers to the texture '../skin.png', which does not lie beside it"):
        models.data(1)


def test_symmetries_are_read_and_those_beside_the_origin_left_out(tmp_path: Path) -> None:
    half_turn = [-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    info = {
        1: {
            "symmetries_continuous": [
                {"axis": [0, 0, 2], "offset": [0, 0, 5]},
                {"axis": [1, 0, 0], "offset": [0, 9, 0]},
            ]
        },
        2: {"symmetries_discrete": [half_turn]},
        # The same half turn about the vertical through the middle of the plate.
        3: {"symmetries_discrete": [[-1, 0, 0, 140, 0, -1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]]},
    }
    folder = bop_folder(tmp_path, {1: plate(), 2: plate(), 3: plate()}, info)
    models = BopModels("things", folder)
    assert models.symmetries(0) == (Symmetry((0.0, 0.0, 1.0)),)
    (found,) = models.symmetries(1)
    assert (np.abs(found.axis).round(6).tolist(), found.turn_deg) == ([0, 0, 1], 180.0)
    assert models.symmetries(2) == ()
    (found,) = BopModels("things", folder, standing=True).symmetries(2)
    assert found.is_about(np.array([0.0, 0, 1]))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"symmetries_discrete": [[1, 2]]}, r"symmetries_discrete\[0\] of model 1 in .* holds \[1, 2\]; 16 numbers"),
        (
            {"symmetries_continuous": [{"axis": [0, 0, 0]}]},
            r"symmetries_continuous\[0\] of .* has an axis of no length",
        ),
        ({"symmetries_continuous": 5}, "symmetries_continuous of model 1 in .* is 5; it must be a list"),
    ],
)
def test_symmetries_that_are_not_written_right_are_named(tmp_path: Path, entry: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        BopModels("things", bop_folder(tmp_path, {1: plate()}, {1: entry})).symmetries(0)


def test_folders_that_are_none_of_bop_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no models: they are called obj_000001.ply"):
        BopModels("things", tmp_path)
    (tmp_path / "obj_000001.ply").write_bytes(plate())
    with pytest.raises(InputError, match=r"models_info.json cannot be read: .*; folders of BOP models have one"):
        BopModels("things", tmp_path)
    (tmp_path / "models_info.json").write_text('{"2": {}}')
    with pytest.raises(InputError, match="says nothing of model 1, of which there is a file"):
        BopModels("things", tmp_path)


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    models = BopModels("things", bop_folder(tmp_path, {1: plate()[:150]}))
    with pytest.raises(InputError, match=r"obj_000001.ply is not a whole PLY file"):
        models.data(0)


def test_real_models_of_a_bop_data_set() -> None:
    folder = DATA / "bop" / "models_6deval"
    if not folder.exists():
        pytest.skip(f"no test data at {folder}; set METASIM_DATA")
    models = BopModels("things", folder)
    assert len(models) == 5
    info = json.loads((folder / "models_info.json").read_text())
    low, high = bounds(models.data(2))
    np.testing.assert_allclose((high - low) * 1e3, [info["2"][f"size_{axis}"] for axis in "xyz"], atol=1e-2)
    # A nut, a nozzle and a screw: the info says that they look the same from all around, one of the keys from behind.
    turns = [[item.turn_deg for item in models.symmetries(index)] for index in range(5)]
    assert turns == [[], [180.0], [None], [None], [None]]
