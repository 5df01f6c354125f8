import io
import json
import struct

import numpy as np
import pytest
from PIL import Image

from trainer.assets.procedural.glb_writer import Surface, glb_bytes, linear
from trainer.assets.procedural.shape import Shape, joined
from trainer.errors import InputError

# A wall of 2 x 1 m that faces -y, as a camera in the south sees it.
WALL = Shape(
    points=np.array([(-1.0, 0, 0), (1, 0, 0), (1, 0, 1), (-1, 0, 1)]),
    normals=np.array([(0.0, -1, 0)] * 4),
    uvs=np.array([(0.0, 0), (1, 0), (1, 1), (0, 1)]),
    triangles=np.array([(0, 1, 2), (0, 2, 3)]),
)


def parsed(data: bytes) -> tuple[dict, bytes]:
    magic, version, length, text_length, kind = struct.unpack_from("<4sIIII", data)
    assert (magic, version, length, kind) == (b"glTF", 2, len(data), 0x4E4F534A)
    binary_length, kind = struct.unpack_from("<II", data, 20 + text_length)
    assert kind == 0x004E4942
    assert 28 + text_length + binary_length == length
    return json.loads(data[20 : 20 + text_length]), data[28 + text_length :]


def array(document: dict, binary: bytes, accessor: int) -> np.ndarray:
    entry = document["accessors"][accessor]
    view = document["bufferViews"][entry["bufferView"]]
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[entry["type"]]
    kind = {5126: "<f4", 5123: "<u2", 5125: "<u4"}[entry["componentType"]]
    values = np.frombuffer(binary, kind, entry["count"] * width, view["byteOffset"])
    return values.reshape(-1, width) if width > 1 else values


def test_shapes_are_written_with_y_up_and_v_downwards() -> None:
    document, binary = parsed(glb_bytes([(WALL, Surface())]))
    primitive = document["meshes"][0]["primitives"][0]
    attributes = {name: array(document, binary, place) for name, place in primitive["attributes"].items()}
    np.testing.assert_array_equal(attributes["POSITION"], [(-1, 0, 0), (1, 0, 0), (1, 1, 0), (-1, 1, 0)])
    np.testing.assert_array_equal(attributes["NORMAL"], [(0, 0, 1)] * 4)
    np.testing.assert_array_equal(attributes["TEXCOORD_0"], [(0, 1), (1, 1), (1, 0), (0, 0)])
    assert array(document, binary, primitive["indices"]).tolist() == [0, 1, 2, 0, 2, 3]
    bounds = document["accessors"][primitive["attributes"]["POSITION"]]
    assert (bounds["min"], bounds["max"]) == ([-1, 0, 0], [1, 1, 0])


def test_each_part_has_its_surface_and_shared_surfaces_are_written_once() -> None:
    print_ = Surface(texture=Image.new("RGB", (2, 2), (250, 0, 0)), roughness=0.25)
    paint = Surface(color=(0.5, 0.25, 0.0), metallic=1.0)
    document, binary = parsed(glb_bytes([(WALL, print_), (WALL, paint), (WALL, print_), (WALL, None)]))
    assert [part.get("material") for part in document["meshes"][0]["primitives"]] == [0, 1, 0, None]
    first, second = (material["pbrMetallicRoughness"] for material in document["materials"])
    assert (first["baseColorTexture"], first["roughnessFactor"]) == ({"index": 0}, 0.25)
    assert (second["baseColorFactor"], second["metallicFactor"]) == ([0.5, 0.25, 0.0, 1.0], 1.0)
    view = document["bufferViews"][document["images"][0]["bufferView"]]
    png = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    assert Image.open(io.BytesIO(png)).getpixel((0, 0)) == (250, 0, 0)


def test_the_same_parts_give_the_same_bytes() -> None:
    assert glb_bytes([(WALL, Surface())]) == glb_bytes([(WALL, Surface())])


def test_many_vertices_have_wide_indices() -> None:
    many = joined([WALL] * 20_000)
    document, binary = parsed(glb_bytes([(many, None)]))
    indices = array(document, binary, document["meshes"][0]["primitives"][0]["indices"])
    assert (indices.dtype, indices[-1]) == (np.dtype("<u4"), 79_999)


def test_colours_of_vertices_are_kept() -> None:
    document, binary = parsed(glb_bytes([(WALL, None)], [np.full((4, 3), 0.25)]))
    place = document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]
    np.testing.assert_array_equal(array(document, binary, place), np.full((4, 3), 0.25))


def test_a_turned_shape_keeps_its_outside_out() -> None:
    turned = WALL.turned("z", 90).moved(x=3)
    np.testing.assert_allclose(turned.points[1], (3, 1, 0), atol=1e-12)
    np.testing.assert_allclose(turned.normals[0], (1, 0, 0), atol=1e-12)
    for shape in (turned, WALL.scaled(-1, 2, 3), WALL.turned("x", 20).turned("y", 50)):
        a, b, c = shape.points[shape.triangles[0]]
        assert np.dot(np.cross(b - a, c - a), shape.normals[0]) > 0
        np.testing.assert_allclose(np.linalg.norm(shape.normals, axis=1), 1)


def test_colours_are_linear_light() -> None:
    assert linear("#ff0000") == (1.0, 0.0, 0.0)
    np.testing.assert_allclose(linear("#808080"), 0.2158605, atol=1e-6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"uvs": np.zeros((3, 2))}, r"uvs of part 0 are \(3, 2\); with 4 points they must be \(4, 2\)"),
        ({"triangles": np.array([(0, 1, 4)])}, "part 0 needs triangles whose corners are among its vertices 0 to 3"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changed: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        glb_bytes([(Shape(**{**vars(WALL), **changed}), None)])


def test_a_model_without_parts_is_refused() -> None:
    with pytest.raises(InputError, match="a model has no parts; at least one is needed"):
        glb_bytes([])
