"""GLB files at rest: what they hold, by closed forms and by trimesh."""

import json
import math
import re

import numpy as np
import pytest
from metasim.glb import Buffers, split_glb
from metasim.still_glb import still_glb
from support import moving_glb
from support.data import shared_data
from support.glb import GlbMaker, cube, embedded, same_points, trimesh_points


@pytest.mark.parametrize("name", moving_glb.ALL)
def test_a_file_at_rest_stays_as_it_is(name: str) -> None:
    still = still_glb(moving_glb.ALL[name]())
    assert still_glb(still) == still
    document, _ = split_glb(still)
    assert not {"animations", "skins"} & set(document)
    assert len(document.get("scenes", [{}])) == 1
    assert all("targets" not in primitive for mesh in document["meshes"] for primitive in mesh["primitives"])


def test_real_models_are_at_rest() -> None:
    for path in sorted((shared_data("assets3d") / "kenney_car_kit").glob("*.glb")):
        data = embedded(path)
        assert still_glb(data) == data, path.name


def test_a_skin_poses_each_vertex_by_its_joints() -> None:
    points, _, _ = cube()
    points = points * (0.4, 2, 0.4) + (0, 1, 0)
    upper = np.clip(points[:, 1] / 2, 0, 1)[:, None]
    c = math.cos(math.radians(45))
    turned = (points - (0, 1, 0)) @ np.array([[c, c, 0], [-c, c, 0], [0, 0, 1]]) + (0.5, 1, 0)
    expected = (1 - upper) * (points + np.array((0.5, 0, 0))) + upper * turned
    found = trimesh_points(still_glb(moving_glb.skinned()))
    assert same_points(found, expected[:, [0, 2, 1]] * (1, -1, 1))


def test_normals_follow_the_skin() -> None:
    document, binary = split_glb(still_glb(moving_glb.skinned()))
    (primitive,) = document["meshes"][0]["primitives"]
    normals = Buffers(document, binary).read(primitive["attributes"]["NORMAL"])
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)
    c = math.cos(math.radians(45))
    # The upper end belongs to the turned joint alone.
    assert (np.abs(normals - (-c, c, 0)).max(axis=1) < 1e-6).sum() == 4


@pytest.mark.parametrize(("where", "wide", "high"), [("mesh", 0.5, 1.0), ("node", 1.0, 0.25), ("nowhere", 0, 0)])
@pytest.mark.parametrize("sparse", [False, True])
def test_morph_targets_have_their_default_weights(where: str, wide: float, high: float, sparse: bool) -> None:
    points, _, _ = cube()
    moves = points * (wide, 0, 0) + (0, 0.5 * high, 0)
    if sparse:
        moves[1::2] = 0
    expected = (points + moves) * (3, 2, 1) + (1, 0, 0)
    found = trimesh_points(still_glb(moving_glb.morphing(where, sparse=sparse)))
    assert same_points(found, expected[:, [0, 2, 1]] * (1, -1, 1))


def test_the_default_scene_alone_stays() -> None:
    found = trimesh_points(still_glb(moving_glb.two_scenes()))
    assert same_points(found, cube()[0] + (2, 0, 0))
    document, _ = split_glb(still_glb(moving_glb.two_scenes()))
    assert len(document["nodes"]) == 2


def test_an_animation_moves_nothing() -> None:
    found = trimesh_points(still_glb(moving_glb.animated()))
    assert same_points(found, (cube()[0] + (1, 0, 0)) * (1, 1, 2))


def test_invisible_nodes_lose_their_meshes() -> None:
    maker = GlbMaker(extensionsUsed=["KHR_node_visibility"])
    hidden = {"KHR_node_visibility": {"visible": False}}
    nodes = [{"mesh": 0}, {"children": [2], "extensions": hidden}, {"mesh": 0, "translation": [5, 0, 0]}]
    maker.document |= {"meshes": [{"primitives": [maker.cube()]}], "nodes": nodes, "scenes": [{"nodes": [0, 1]}]}
    assert same_points(trimesh_points(still_glb(maker.data())), cube()[0])


def test_textures_and_materials_stay() -> None:
    maker = GlbMaker(materials=[{"name": "skin", "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}])
    points, _, faces = cube()
    uv = np.random.default_rng(1).random((24, 2))
    targets = [{"POSITION": maker.array(points)}]
    attributes = {"POSITION": maker.array(points), "TEXCOORD_0": maker.array(uv)}
    indices = maker.array(faces.reshape(-1, 1), "u2")
    primitive = {"attributes": attributes, "indices": indices, "material": 0, "targets": targets}
    image = {"bufferView": maker.view(b"\x89PNG\r\n\x1a\nrest"), "mimeType": "image/png"}
    maker.document |= {"meshes": [{"primitives": [primitive], "weights": [1]}], "nodes": [{"mesh": 0}]}
    maker.document |= {"scenes": [{"nodes": [0]}], "images": [image], "textures": [{"source": 0}]}
    document, binary = split_glb(still_glb(maker.data()))
    (primitive,) = document["meshes"][0]["primitives"]
    view = document["bufferViews"][document["images"][0]["bufferView"]]
    assert binary[view["byteOffset"] :][: view["byteLength"]] == b"\x89PNG\r\n\x1a\nrest"
    assert primitive["material"] == 0
    buffers = Buffers(document, binary)
    np.testing.assert_allclose(buffers.read(primitive["attributes"]["POSITION"]), 2 * points, atol=1e-6)
    np.testing.assert_allclose(buffers.read(primitive["attributes"]["TEXCOORD_0"]), uv, atol=1e-6)


def _changed(**parts: object) -> bytes:
    maker = GlbMaker()
    maker.document |= {"meshes": [{"primitives": [maker.cube()]}], "nodes": [{"mesh": 0}], "scenes": [{"nodes": [0]}]}
    return GlbMaker.data(_with(maker, **parts))


def _with(maker: GlbMaker, **parts: object) -> GlbMaker:
    maker.document |= json.loads(json.dumps(parts))
    return maker


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"junk" * 9, "it is not a whole glTF 2.0 binary file"),
        (_changed(scene=3), "its default scene 3 does not exist"),
        (_changed(nodes=[{"children": [0]}]), "its node 0 has two parents, or is its own ancestor"),
        (_changed(nodes=[{"children": [7]}]), "it is damaged (IndexError: list index out of range)"),
        (_changed(nodes=[{"mesh": 9}], animations=[{}]), "it is damaged (IndexError: list index out of range)"),
        (
            _changed(nodes=[{"mesh": 0, "skin": 0}, {}], skins=[{"joints": [1]}]),
            "its skin 0 has joints outside of the default scene: nodes [1]",
        ),
    ],
)
def test_damaged_files_are_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        still_glb(data)


def test_a_compressed_mesh_that_moves_is_refused() -> None:
    maker = GlbMaker()
    primitive = maker.cube(targets=[{}], extensions={"KHR_draco_mesh_compression": {}})
    maker.document |= {"meshes": [{"primitives": [primitive], "weights": [1]}], "nodes": [{"mesh": 0}]}
    with pytest.raises(ValueError, match="its moving mesh is compressed with KHR_draco_mesh_compression; save it"):
        still_glb(maker.data())


def test_accessors_beyond_their_bytes_are_refused() -> None:
    maker = GlbMaker()
    primitive = maker.cube(targets=[{"POSITION": 0}])
    maker.document["accessors"][0]["count"] = 25
    maker.document |= {"meshes": [{"primitives": [primitive], "weights": [1]}], "nodes": [{"mesh": 0}]}
    with pytest.raises(ValueError, match="one of its accessors reaches beyond its bytes"):
        still_glb(maker.data())
