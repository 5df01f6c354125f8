"""Cards: every front with every back, as meshes and in grammars."""

import io
from pathlib import Path

import numpy as np
import pytest
import trimesh
from metasim.v1 import scene_pb2 as pb
from PIL import Image

from trainer.assets.card_set import THICKNESS, CardSet
from trainer.assets.folder_set import ImageFolder
from trainer.errors import InputError
from trainer.grammar import Grammar, load_grammar

WORLD = """\
render: {width: 32, height: 32}
assets: {faces: {images: faces}, backs: {images: backs}}
nodes:
  camera: {camera: perspective, fov: 30, z: 4}
  thing: {class: "{label}", mesh: card, front: {set: faces, mutable: true}, back: {set: backs, mutable: true}}
scene: [camera, thing]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("faces/ace/a.png", "faces/king/k.png", "backs/blue.png", "backs/red.png")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 6), (40 * number, 10, 20)).save(path)
    return tmp_path


def world(folder: Path, text: str = WORLD) -> Grammar:
    (folder / "world.yaml").write_text(text)
    return load_grammar(folder / "world.yaml")


def colour(mesh: trimesh.Trimesh) -> int:
    """Red of a part's texture."""
    return int(mesh.visual.material.baseColorTexture.getpixel((0, 0))[0])


def test_every_front_goes_with_every_back(folder: Path) -> None:
    cards = CardSet("cards", ImageFolder("f", folder / "faces"), ImageFolder("b", folder / "backs"))
    assert (len(cards), cards.labels) == (4, ("ace", "king"))
    assert [cards.label(index) for index in range(4)] == ["ace", "ace", "king", "king"]
    assert [cards.item_name(index) for index in range(4)] == ["a+blue", "a+red", "k+blue", "k+red"]
    assert cards.mesh_format(0) == pb.MESH_FORMAT_GLB
    scene = trimesh.load(io.BytesIO(cards.data(2)), file_type="glb", process=False)
    front, back, edges = scene.geometry.values()
    assert (colour(front), colour(back)) == (40, 80)
    # y is up in glTF: the front faces +y, and z runs from the picture's top to its bottom.
    assert scene.extents == pytest.approx([1, THICKNESS, 1])
    np.testing.assert_allclose(front.face_normals, [[0, 1, 0]] * 2, atol=1e-6)
    np.testing.assert_allclose(back.face_normals, [[0, -1, 0]] * 2, atol=1e-6)
    assert len(edges.faces) == 8
    # The picture's left edge is at x = -1/2 of the front, and at x = +1/2 of the back.
    for side, left in ((front, -0.5), (back, 0.5)):
        np.testing.assert_allclose(side.vertices[:, 0], left * (1 - 2 * side.visual.uv[:, 0]), atol=1e-6)
        np.testing.assert_allclose(side.vertices[:, 2], 0.5 - side.visual.uv[:, 1], atol=1e-6)


def test_labels_are_those_of_backs_where_fronts_have_none(folder: Path) -> None:
    cards = CardSet("cards", ImageFolder("b", folder / "backs"), ImageFolder("f", folder / "faces"))
    assert [cards.label(index) for index in range(4)] == ["ace", "king", "ace", "king"]


def test_round_corners_are_holes(folder: Path) -> None:
    Image.new("RGBA", (4, 6), (9, 9, 9, 0)).save(folder / "faces" / "ace" / "a.png")
    cards = CardSet("cards", ImageFolder("f", folder / "faces"), None)
    scene = trimesh.load(io.BytesIO(cards.data(0)), file_type="glb", process=False)
    front, back = scene.geometry.values()  # No edges
    assert (front.visual.material.alphaMode, back.visual.material.alphaMode) == ("MASK", None)
    assert back.visual.material.baseColorTexture is None


def test_a_node_draws_a_front_and_a_back_and_changes_each_alone(folder: Path) -> None:
    grammar = world(folder)
    assert grammar.classes == ("ace", "king")
    rng = np.random.default_rng(0)
    scenes = [grammar.sample(rng) for _ in range(200)]
    nodes = [scene.nodes[1] for scene in scenes]
    assert {node.asset.index for node in nodes if node.asset} == {0, 1, 2, 3}
    assert {(node.choices["front"], node.class_name) for node in nodes} == {(0, "ace"), (1, "king")}
    for scene in scenes[:20]:
        for front, back in ((0, 0), (0, 1), (1, 0), (1, 1)):
            node = grammar.with_choices(scene, [front, back]).nodes[1]
            assert node.asset is not None
            assert (node.asset.index, node.class_name) == (2 * front + back, ("ace", "king")[front])
    wire = scenes[0].to_wire(grammar.assets.hash_of).nodes[1].mesh
    assert wire.asset.format == pb.MESH_FORMAT_GLB
    assert grammar.assets(wire.asset.hash).startswith(b"glTF")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("front: {set: faces, mutable: true}, ", "", r":5: nodes.thing.front is missing; a card needs a set of images"),
        ("mesh: card", "mesh: {set: card, mutable: true}", "mutable belongs to front or back"),
        ("mesh: card", "mesh: cube", "nodes.thing.front: only a card has it: mesh: card"),
        ("mesh: card", "sprite: faces", "nodes.thing.front: only a card has it: mesh: card"),
        ("mesh: card", "mesh: card, material: {texture: faces}", "a card shows its front and its back; leave it out"),
        ("mesh: card", "mesh: card, red: 1", "a card has no red; it has x, y, z, yaw, pitch, roll, scale, width"),
        (
            "mesh: card",
            "mesh: card, color: {choices: {a: [1, 1, 1]}}",
            r"but no card\) or a light has a colour",
        ),
        ("set: faces,", "set: face,", "unknown set of assets 'face'; did you mean 'faces'"),
        ("{faces: {images: faces}", "{card: {images: faces}, faces: {images: faces}", "`mesh: card` is a shape"),
    ],
)
def test_mistakes_are_told_in_one_line(folder: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        world(folder, WORLD.replace(old, new, 1))
