from pathlib import Path

import numpy as np
import pytest
from metasim.v1 import render_pb2 as pb

from trainer.grammar import Grammar, load_grammar
from trainer.metrics.visibility import OUTPUTS, out_of_sight
from trainer.pool import PoolOptions, open_pool
from trainer.rendering import Frame, Renderer

WORLD = """\
render: {width: 32, height: 32}
nodes:
  camera: {camera: perspective, fov: 40, z: 5}
  car:
    class: vehicle
    mesh: cube
    x: {uniform: [-1, 1], mutable: true, range: [-50, 50]}
    z: {uniform: [0, 1], mutable: true, range: [0, 50]}
  bus: {class: vehicle, mesh: cube}
  ground: {mesh: plane}
scene: [camera, {kind: car, count: 2}, bus, ground]
"""


@pytest.fixture
def grammar(tmp_path: Path) -> Grammar:
    (tmp_path / "world.yaml").write_text(WORLD)
    return load_grammar(tmp_path / "world.yaml")


def test_it_is_the_fraction_of_each_kinds_objects(grammar: Grammar) -> None:
    scene = grammar.sample(np.random.default_rng(0))
    names = {kind: [node.id for node in scene.nodes if node.kind == kind] for kind in ("car", "bus")}
    frames = [
        Frame({}, tuple(pb.Box(node=node, visible_px=count) for node, count in seen.items()))
        for seen in (
            {names["car"][0]: 9, names["car"][1]: 0, names["bus"][0]: 4},
            {names["car"][0]: 9, names["bus"][0]: 3},
        )
    ]
    assert out_of_sight([scene, scene], frames) == {"bus": 0.0, "car": 0.5}
    assert out_of_sight([scene, scene], frames, least_px=4) == {"bus": 0.5, "car": 0.5}
    assert out_of_sight([], []) == {}


@pytest.mark.blender
def test_objects_beside_the_image_and_behind_the_camera_are_out_of_sight(grammar: Grammar) -> None:
    pytest.importorskip("bpy", reason="bpy is not installed")
    scene = grammar.sample(np.random.default_rng(0))
    # x and z of both cars: beside the bus, then one of them beside the image, then behind the camera.
    places = ([-1, 0, 1, 0], [-1, 0, 40, 0], [-1, 0, 0, 20])
    scenes = [scene.with_values(np.array(values, dtype=np.float64)) for values in places]
    with open_pool(PoolOptions(engine="blender", workers=1), assets=grammar.assets) as pool:
        frames = Renderer(pool, grammar).render(scenes, 0, (pb.OUTPUT_IMAGE_U8, *OUTPUTS))
    assert [out_of_sight([one], [shown])["car"] for one, shown in zip(scenes, frames, strict=True)] == [0.0, 0.5, 0.5]
