"""Sets whose items are made by code."""

from types import MappingProxyType

import numpy as np
import pytest
from metasim.hashing import content_hash
from metasim.v1 import scene_pb2

from trainer.assets.procedural import Family
from trainer.assets.procedural_set import ProceduralSet
from trainer.errors import GrammarError
from trainer.grammar import load_grammar


def counted(made: list[int]) -> Family:
    def make(index: int) -> bytes:
        made.append(index)
        return b"item %d" % index

    return Family(5, make, label=lambda index: "ab"[index % 2], item_name=lambda index: f"item-{index}")


def test_an_item_is_made_at_its_first_use_and_kept() -> None:
    made: list[int] = []
    items = ProceduralSet("things", counted(made))
    assert (len(items), made) == (5, [])
    assert (items.label(3), items.item_name(3), items.labels, items.mesh_format(3)) == ("b", "item-3", ("a", "b"), None)
    assert made == []
    assert items.data(3) == items.data(3) == b"item 3"
    assert items.content_hash(3) == content_hash(b"item 3")
    assert made == [3]


def test_a_family_may_have_neither_labels_nor_names_and_may_be_of_meshes() -> None:
    meshes = ProceduralSet("things", Family(2, lambda _: b"glb", mesh_format=scene_pb2.MESH_FORMAT_GLB))
    assert (meshes.label(0), meshes.item_name(0), meshes.labels) == (None, None, ())
    assert meshes.mesh_format(1) == scene_pb2.MESH_FORMAT_GLB


WORLD = """\
render: {width: 32, height: 32}
assets: {things: {procedural: aerial-cars, fold: [1, 2]}}
nodes:
  camera: {camera: orthographic, fov: 32, z: 10}
  thing: {class: "{label}", sprite: things, width: 4, height: 8}
scene: [camera, thing]
"""


def test_a_grammar_names_a_family(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("trainer.grammar.build_assets.FAMILIES", MappingProxyType({"aerial-cars": lambda: counted([])}))
    (tmp_path / "world.yaml").write_text(WORLD)
    grammar = load_grammar(tmp_path / "world.yaml")
    assert grammar.classes == ("a", "b")
    scene = grammar.sample(np.random.default_rng(0))
    assert grammar.assets(scene.to_wire(grammar.assets.hash_of).nodes[1].sprite.asset) in (b"item 1", b"item 3")
    (tmp_path / "wrong.yaml").write_text(WORLD.replace("aerial-cars", "aerial-car"))
    with pytest.raises(GrammarError) as caught:
        load_grammar(tmp_path / "wrong.yaml")
    assert str(caught.value) == (
        f"{tmp_path}/wrong.yaml:2: assets.things.procedural: unknown procedural set 'aerial-car'; "
        "did you mean 'aerial-cars'? Known: aerial-cars"
    )
