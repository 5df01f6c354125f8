"""What grammars sample, workers accept."""

import numpy as np
import pytest
from metasim.v1 import render_pb2
from support.grammars import SPRITES, write_sprites

from render_server.checks.validation import validate
from render_server.limits import Limits
from trainer.environment import shipped_files
from trainer.experiments import load_experiment
from trainer.grammar import Grammar, load_grammar

SOLID = """\
render: {width: 64, height: 32}
assets:
  shapes: {images: shapes}
nodes:
  eye: {camera: perspective, fov: 60, z: 20}
  lamp: {light: area, intensity: {uniform: [1, 3], mutable: true, range: [0, 5]}, z: 4}
  ground: {class: ground, mesh: plane, width: 9, depth: 9, material: {texture: shapes}, children: [block, card]}
  block: {class: block, mesh: cube, red: {uniform: [0, 1], mutable: true}, yaw: {von_mises: [0, 2], mutable: true}}
  card: {class: card, sprite: shapes, width: 1, height: 2, roll: 90, x: {normal: [0, 1], mutable: true, range: [-3, 3]}}
scene: [eye, {kind: lamp, count: {poisson: [1, 3]}}, ground]
"""


def task(grammar: Grammar, rng: np.random.Generator) -> render_pb2.RenderTask:
    """A task with a column for each mutable attribute."""
    scene = grammar.sample(rng)
    columns = []
    for item in scene.mutable:
        spec = item.spec
        column = render_pb2.Column(
            node=scene.nodes[item.node].id, attribute=spec.attribute, step=(spec.high - spec.low) / 200
        )
        if not spec.wraps:
            column.minimum, column.maximum = spec.low, spec.high
        columns.append(column)
    return render_pb2.RenderTask(
        id="1",
        scene=scene.to_wire(grammar.assets.hash_of),
        settings=grammar.render_settings(),
        outputs=[render_pb2.OUTPUT_IMAGE_U8],
        columns=columns,
    )


@pytest.mark.parametrize("text", [SPRITES, SOLID], ids=["sprites", "solid"])
def test_sampled_scenes_are_valid_tasks(tmp_path, text):
    grammar = load_grammar(write_sprites(tmp_path, text))
    rng = np.random.default_rng(0)
    for _ in range(20):
        message = task(grammar, rng)
        assert len(message.columns) >= 2
        validate(message, Limits())


@pytest.mark.parametrize("name", sorted(shipped_files()))
def test_scenes_of_shipped_experiments_are_valid_tasks(name):
    experiment = load_experiment(name)
    rng = np.random.default_rng(0)
    for grammar in (experiment.grammar, *([experiment.target.grammar] if experiment.target else [])):
        validate(task(grammar, rng), Limits())
