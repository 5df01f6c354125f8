"""The world that a run has learned, written as a grammar and read again."""

import numpy as np
import pytest
from support.crafted import moving
from support.grammars import FLAT, write_sprites
from typer.testing import CliRunner

from trainer.cli import app
from trainer.experiments import load_experiment
from trainer.grammar import load_grammar
from trainer.model.encoding import Encoding
from trainer.model.sampling import transformed
from trainer.runs.folder import Run, RunConfig
from trainer.runs.learned_world import learned_world
from trainer.runs.loading import open_run
from trainer.runs.scene_source import open_source

WORLD = (
    FLAT
    + """\
  disc: &thing
    class: disc
    sprite: {set: shapes, weights: {disc: 0.5, square: 0.5}, mutable: true}
    width: 8
    height: 8
    x: {uniform: [-4, 4], mutable: true, range: [-12, 12]}
    y: {normal: [0, 1]}
    yaw: {normal: [0, 10], mutable: true}
  star: {<<: *thing, class: star, sprite: {set: shapes, weights: {star: 1}}}
  town: {children: [{kind: disc, along: {end: 9, spacing: 3, keep: {uniform: [0, 1], mutable: true}}}]}
  country: {}
scene:
  - camera
  - {kind: {town: 0.5, country: 0.5}, mutable: true}
  - {kind: {disc: 0.5, star: 0.5}, mutable: true, count: {poisson: [3, 6], mutable: true}}
target: {overrides: {disc.yaw: 90}}
"""
)
STRUCTURE = {
    "scene.1.kind": [0.2, 0.8],
    "scene.2.count": [0.0, 0.1, 0.1, 0.1, 0.2, 0.3, 0.2],
    "scene.2.kind": [0.8, 0.2],
    "town.children.0.along.keep": [0, 0, 0, 0, 0, 0, 0, 0.5, 0.5, 0],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that turns discs by 60 degrees and moves them by 3, and whose structure is known."""
    folder = tmp_path_factory.mktemp("world")
    path = write_sprites(folder, WORLD)
    transformer = moving(Encoding(load_grammar(path)), {"disc.yaw": 60.0, "disc.x": 3.0})
    made = Run.create(folder / "run", RunConfig(experiment=str(path), overrides={}, seed=0, engine="raster"))
    state = {"epoch": 1, "structure": {"structure": STRUCTURE}}
    made.save_checkpoint(state, {"average": transformer.state_dict()})
    return made.folder


@pytest.fixture(scope="module")
def written(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("elsewhere") / "learned.yaml"
    path.write_text(learned_world(open_run(run)), encoding="utf-8")
    return path


def moments(scenes):
    """Means and standard deviations of numbers of nodes and of attributes."""
    found = {}
    for kind in ("disc", "star", "town"):
        nodes = [[node for node in scene.nodes if node.kind == kind] for scene in scenes]
        found[kind] = np.array([len(each) for each in nodes], dtype=float)
        for name in ("x", "y", "yaw"):
            values = [node.values[name] for each in nodes for node in each if name in node.values]
            if values:
                found[f"{kind}.{name}"] = np.array(values)
    return {name: (values.mean(), values.std(), len(values)) for name, values in found.items()}


def test_the_written_world_draws_what_the_run_generates(run, written):
    loaded, again = open_run(run), load_grammar(written)
    rngs = np.random.default_rng(1), np.random.default_rng(2)
    expected = moments(transformed(loaded.transformer, [loaded.grammar.sample(rngs[0]) for _ in range(700)]))
    found = moments([again.sample(rngs[1]) for _ in range(700)])
    assert found.keys() == expected.keys()
    for name, (mean, std, count) in expected.items():
        # Standard errors of two samples, and 3 % of the spread for what five digits and a family leave out.
        assert found[name][0] == pytest.approx(mean, abs=(5 * np.sqrt(2 / count) + 0.03) * std + 1e-9), name
        assert found[name][1] == pytest.approx(std, rel=0.12), name


def test_structure_and_settings_are_written_down(written):
    again = load_grammar(written)
    for name, row in again.structure.probabilities.items():
        assert row == pytest.approx(STRUCTURE[name], abs=6e-4), name
    assert {name for name, _ in again.specs} == {"camera", "disc", "star", "place"}
    mutable = {(kind, spec.name) for kind, spec in again.specs if spec.mutable}
    assert mutable == {(kind, name) for kind in ("disc", "star") for name in ("x", "yaw")}


def test_the_written_world_stands_alone(written):
    experiment = load_experiment(written)
    assert experiment.target is None
    assert len(experiment.grammar.asset_sets["shapes"]) == 3
    [scene] = open_source(str(written)).scenes(0, [0])
    assert scene.nodes[0].kind == "camera"


def test_a_run_generates_scenes_of_its_structure(run):
    scenes = open_source(str(run)).scenes(0, range(300))
    towns = np.mean([any(node.kind == "town" for node in scene.nodes) for scene in scenes])
    assert towns == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / 300))


def test_show_prints_the_world_and_check_accepts_it(run, tmp_path):
    shown = CliRunner().invoke(app, ["grammar", "show", str(run)])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("# The world that run has learned, from world.yaml.\n")
    assert "\n  yaw: {normal: [" in shown.stdout.replace("    yaw", "  yaw")
    path = tmp_path / "learned.yaml"
    path.write_text(shown.stdout, encoding="utf-8")
    checked = CliRunner().invoke(app, ["grammar", "check", str(path)])
    assert checked.exit_code == 0, checked.output
