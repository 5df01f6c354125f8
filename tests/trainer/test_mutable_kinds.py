"""Every combination of mutable attributes in the kinds of a world: sampled, encoded, changed by G_θ, trained on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.grammars import write_sprites

from trainer.grammar import Grammar, load_grammar
from trainer.inference.training_settings import TrainingSettings
from trainer.model.encoding import Encoding, with_values
from trainer.model.sampling import draw, transformed
from trainer.model.transformer import DistributionTransformer
from trainer.pool import PoolOptions
from trainer.randomness import Purpose, torch_generator
from trainer.train import TrainOptions, train

WORLD = """\
unit: px
render: {render}
max_nodes: 200
assets: {{shapes: {{images: shapes}}}}
nodes:
  camera: {{camera: orthographic, fov: 16, z: 10}}
{kinds}
scene: [camera{scene}]
"""
FLAT = "{width: 16, height: 16, samples: 1, filter_width: 0, view_transform: raw}"
#: What may be mutable in a sprite's kind, by name, and what stands there if it is not.
PARTS = {
    "sprite": ("sprite: {set: shapes, mutable: true}", "sprite: shapes"),
    "labels": ("sprite: {set: shapes, weights: {disc: 0.9, star: 0.1}, mutable: true}", "sprite: shapes"),
    "color": ("color: {choices: {red: [1, 0, 0], blue: [0, 0, 1], black: [0, 0, 0]}, mutable: true}", ""),
    "size": ("width: {categorical: {4: 0.25, 8: 0.75}, mutable: true}", "width: 6"),
    "x": ("x: {normal: [0, 2], mutable: true, range: [-8, 8]}", ""),
    "yaw": ("yaw: {normal: [0, 10], mutable: true}", "yaw: {uniform: [-5, 5]}"),
    "tilt": ("y: {uniform: [-1, 1], mutable: true, range: [-3, 3]}", "y: {normal: [0, 1]}"),
}
COUNTS = ("1", "{integers: [0, 2]}", "{poisson: [0.5, 3]}")


def kind(name: str, mutable: frozenset[str], below: str = "") -> str:
    """Return the YAML of a kind of sprites."""
    sprite = "labels" if "labels" in mutable else "sprite"
    parts = [PARTS[sprite][0 if sprite in mutable else 1], "height: 6"]
    parts += [PARTS[part][0 if part in mutable else 1] for part in PARTS if part not in ("sprite", "labels")]
    if below:
        parts.append(f"children: [{below}]")
    return f"  {name}: {{{', '.join(part for part in parts if part)}}}"


@st.composite
def worlds(draw_from: st.DrawFn) -> str:
    """Return worlds of one to four kinds with random mutable parts, some of them children of others."""
    names = ["a", "b", "c", "d"][: draw_from(st.integers(1, 4))]
    kinds, scene = [], []
    parent_of = {}
    for place, name in enumerate(names):
        parent_of[name] = draw_from(st.sampled_from([None, *names[:place]]))
    for name in names:
        mutable = draw_from(st.frozensets(st.sampled_from(sorted(PARTS))))
        entries = [
            f"{{kind: {other}, count: {draw_from(st.sampled_from(COUNTS))}}}"
            for other in names
            if parent_of[other] == name
        ]
        kinds.append(kind(name, mutable, ", ".join(entries)))
        if parent_of[name] is None:
            scene.append(f", {{kind: {name}, count: {draw_from(st.sampled_from(COUNTS))}}}")
    return WORLD.format(render=FLAT, kinds="\n".join(kinds), scene="".join(scene))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worlds")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=worlds(), seed=st.integers(0, 2**31))
def test_scenes_of_every_world_are_encoded_and_changed(folder: Path, text: str, seed: int) -> None:
    grammar = load_grammar(write_sprites(folder, text))
    rng = np.random.default_rng(seed)
    scenes = [grammar.sample(rng) for _ in range(3)]
    encoding = Encoding(grammar)
    batch = encoding.encode(scenes)
    # Decoding the codes of a scene gives its values.
    decoded = encoding.decode(batch.nodes, batch)
    torch.testing.assert_close(decoded, batch.values, rtol=1e-4, atol=1e-3)
    for scene, again in zip(scenes, with_values(scenes, decoded), strict=True):
        np.testing.assert_allclose(again.values(), scene.values(), atol=1e-3)
    # Other categories change what they stand for, and nothing else.
    for scene in scenes:
        wanted = [int(rng.integers(len(item.spec.categories))) for item in scene.choices]
        changed = grammar.with_choices(scene, wanted)
        assert [changed.nodes[item.node].choices[item.spec.name] for item in changed.choices] == wanted
        assert [node.id for node in changed.nodes] == [node.id for node in scene.nodes]
        np.testing.assert_array_equal(changed.values(), scene.values())
    check_transformer(grammar, encoding)


def check_transformer(grammar: Grammar, encoding: Encoding) -> None:
    """G_θ of random weights keeps structure and ranges, and never draws a category of probability 0."""
    transformer = DistributionTransformer(encoding, torch_generator(0, Purpose.WEIGHTS))
    for parameter in transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=torch_generator(1, Purpose.WEIGHTS))
    rng = np.random.default_rng(0)
    scenes = [grammar.sample(rng) for _ in range(4)]
    log_probabilities = draw(transformer, scenes).log_probabilities
    if len(log_probabilities):
        torch.testing.assert_close(log_probabilities.exp().sum(1), torch.ones(len(log_probabilities)))
    for before, after in zip(scenes, transformed(transformer, scenes), strict=True):
        assert [node.id for node in before.nodes] == [node.id for node in after.nodes]
        for item, value in zip(after.mutable, after.values(), strict=True):
            assert item.spec.low <= value <= item.spec.high
        for item in after.choices:
            assert item.spec.probabilities[after.nodes[item.node].choices[item.spec.name]] > 0


TINY = {
    "epochs": 1,
    "steps": 1,
    "batch": 4,
    "pretraining_steps": 2,
    "inference": {"rounds": 1, "simulations": 64, "epochs": [1], "transport_passes": 1},
    "monitor_scenes": 8,
    "monitor_images": 4,
    "target_images": 16,
}


@pytest.mark.parametrize(
    "kinds",
    [
        {"a": frozenset({"sprite"}), "b": frozenset({"x"})},
        {"a": frozenset({"color"}), "b": frozenset({"size"}), "c": frozenset({"labels", "x", "yaw"}), "d": frozenset()},
        {"a": frozenset({"sprite", "color"})},
    ],
    ids=["a picture, and a number elsewhere", "all sorts, each in its own kind", "no number at all"],
)
def test_worlds_with_some_kinds_without_mutable_numbers_are_trained(
    tmp_path: Path, kinds: dict[str, frozenset[str]]
) -> None:
    scene = "".join(f", {{kind: {name}, count: {{integers: [0, 2]}}}}" for name in kinds)
    text = WORLD.format(render=FLAT, kinds="\n".join(kind(*item) for item in kinds.items()), scene=scene)
    world = write_sprites(tmp_path, text + "target: {count: 16, overrides: {a.height: 7}}\n")
    known = {f"training.{key}": value for key, value in TINY.items() if key in TrainingSettings.model_fields}
    pool = PoolOptions(engine="raster", workers=1)
    run = train(TrainOptions(str(world), tmp_path / "run", overrides=known, pool=pool))
    assert {record["epoch"] for record in run.records("metrics.jsonl")} == {1}
