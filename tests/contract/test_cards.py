"""Blender shows the front of a card, and its back after a half turn, both upright."""

from pathlib import Path

import numpy as np
import pytest
from metasim.tensors import tensor_from_proto
from metasim.v1 import render_pb2 as pb
from PIL import Image
from support.scenes import Assets

from render_server.engines import Engine
from trainer.grammar import load_grammar

WORLD = """\
render: {{width: 32, height: 32, samples: 4}}
assets: {{faces: {{images: faces}}, backs: {{images: backs}}}}
nodes:
  camera: {{camera: orthographic, fov: 1, z: 3}}
  sun: {{light: sun, intensity: 3}}
  thing: {{class: card, mesh: card, front: faces, back: backs, pitch: {pitch}}}
scene: [camera, sun, thing]
"""
#: Which of red, green and blue are lit in the quarters: top left, top right, bottom left, bottom right.
FRONT = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))
BACK = ((255, 255, 0), (0, 255, 255), (255, 0, 255), (0, 0, 0))


def picture(path: Path, quarters: tuple[tuple[int, int, int], ...]) -> None:
    path.parent.mkdir()
    pixels = np.array(quarters, np.uint8).reshape(2, 2, 3).repeat(8, axis=0).repeat(8, axis=1)
    Image.fromarray(pixels).save(path)


@pytest.mark.blender
@pytest.mark.parametrize(("pitch", "quarters"), [(0, FRONT), (180, BACK)])
def test_a_card_shows_its_sides_upright(
    tmp_path: Path, blender: Engine, assets: Assets, pitch: int, quarters: tuple[tuple[int, int, int], ...]
) -> None:
    picture(tmp_path / "faces" / "a.png", FRONT)
    picture(tmp_path / "backs" / "b.png", BACK)
    (tmp_path / "world.yaml").write_text(WORLD.format(pitch=pitch))
    grammar = load_grammar(tmp_path / "world.yaml")
    scene = grammar.sample(np.random.default_rng(0)).to_wire(grammar.assets.hash_of)
    name = scene.nodes[2].mesh.asset.hash
    assert assets.add(grammar.assets(name)) == name
    task = pb.RenderTask(
        id="1", scene=scene, settings=grammar.render_settings(), outputs=[pb.OUTPUT_IMAGE_U8, pb.OUTPUT_INSTANCE_MASK]
    )
    layers = [tensor_from_proto(layer.tensor) for layer in blender.render(task, assets).layers]
    image, mask = layers
    assert (mask > 0).all()
    for place, quarter in enumerate(quarters):
        row, column = divmod(place, 2)
        found = image[16 * row + 4 : 16 * row + 12, 16 * column + 4 : 16 * column + 12].mean((0, 1))
        assert ((found > 180) == (np.array(quarter) > 0)).all(), (place, found)
