"""Grammars with some of their values replaced, and experiments that do so."""

import numpy as np
import pytest
from support.grammars import SPRITES, write_sprites

from trainer.experiments import load_experiment
from trainer.grammar import GrammarError, load_grammar
from trainer.grammar.distributions import Constant, Normal, TruncatedNormal, Wrapped


def spec(grammar, kind, name):
    return next(spec for spec in grammar.kinds[kind].specs if spec.name == name)


def test_a_distribution_is_replaced_and_its_range_stays(tmp_path):
    grammar = load_grammar(write_sprites(tmp_path), {"thing.yaw": {"normal": [90, 10]}, "thing.x": {"normal": [-6, 2]}})
    assert spec(grammar, "thing", "yaw").distribution == Wrapped(Normal(90, 10))
    assert spec(grammar, "thing", "yaw").mutable
    assert spec(grammar, "thing", "x").distribution == TruncatedNormal(-6, 2, -10, 10)
    assert spec(grammar, "thing", "x").mutable


def test_numbers_settings_and_list_entries_can_be_replaced(tmp_path):
    path = write_sprites(tmp_path)
    changed = {"thing.x": 3, "thing.width.mutable": True, "thing.width.range": [1, 20], "render.samples": 4}
    grammar = load_grammar(path, {**changed, "scene.1": {"kind": "thing", "count": 5}, "unit": "m", "thing.roll": 7})
    assert spec(grammar, "thing", "x").distribution == Constant(3.0)
    width = spec(grammar, "thing", "width")
    assert (width.distribution, width.mutable, width.low, width.high) == (Constant(8.0), True, 1, 20)
    assert spec(grammar, "thing", "roll").distribution == Constant(7.0)
    assert grammar.render.samples == 4
    assert grammar.unit == "m"
    assert len(grammar.sample(np.random.default_rng(0)).nodes) == 6


def test_paths_in_overrides_start_from_the_working_directory(tmp_path, monkeypatch):
    path = write_sprites(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_sprites(elsewhere)
    (elsewhere / "shapes" / "star.png").unlink()
    monkeypatch.chdir(elsewhere)
    assert len(load_grammar(path).asset_sets["shapes"]) == 3
    assert len(load_grammar(path, {"assets.shapes": {"images": "shapes"}}).asset_sets["shapes"]) == 2
    assert len(load_grammar(path, {"assets.shapes.images": "shapes"}).asset_sets["shapes"]) == 2


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("think.yaw", 1, ":5: nodes: unknown kind of node 'think'; did you mean 'thing'? Known: camera, thing"),
        ("thing.yaw", {"normal": [0, -1]}, " (override): nodes.thing.yaw.normal[1] is -1; it must be above 0"),
        ("thing.x", 30, " (override): nodes.thing.x.constant is 30; it must lie between -10 and 10"),
        ("render.samplse", 2, " (override): render: unknown key 'samplse'; did you mean 'samples'? Known: "),
        ("scene.7", "thing", ":14: scene[7]: an index from 0 to 1 is needed"),
        ("unit.name", 1, ":1: unit is 'px'; there is no name in it"),
        ("assets.forms.images", "x", ":3: assets: unknown key 'forms'; Known: shapes"),
    ],
)
def test_wrong_overrides(tmp_path, key, value, message):
    path = write_sprites(tmp_path)
    with pytest.raises(GrammarError) as caught:
        load_grammar(path, {key: value})
    assert str(caught.value).startswith(f"{path}{message}")


def test_the_file_is_as_before_after_an_override(tmp_path):
    path = write_sprites(tmp_path)
    load_grammar(path, {"thing.yaw": 90})
    assert spec(load_grammar(path), "thing", "yaw").distribution == Wrapped(Normal(0, 10))


TARGET = """\
engine: raster
target:
  count: 12
  overrides: {thing.yaw: {normal: [90, 10]}}
  evaluation: {assets.shapes: {images: shapes, fold: [1, 2]}}
training: {epochs: 3, optimiser: {rate: 0.1}}
"""


def check(experiment):
    assert (experiment.engine, experiment.target.count) == ("raster", 12)
    assert spec(experiment.target.grammar, "thing", "yaw").distribution == Wrapped(Normal(90, 10))
    assert spec(experiment.target.evaluation, "thing", "yaw").distribution == Wrapped(Normal(90, 10))
    sizes = [len(g.asset_sets["shapes"]) for g in (experiment.grammar, experiment.target.grammar)]
    assert (sizes, len(experiment.target.evaluation.asset_sets["shapes"])) == ([3, 3], 1)


def test_an_experiment_with_a_world_of_its_own(tmp_path):
    path = write_sprites(tmp_path, SPRITES + TARGET)
    experiment = load_experiment(path, {"training.epochs": 5, "training.seed": 1, "training.optimiser.rate": 0.2})
    check(experiment)
    assert experiment.name == "world"
    assert experiment.training == {"epochs": 5, "seed": 1, "optimiser": {"rate": 0.2}}
    assert spec(experiment.grammar, "thing", "yaw").distribution == Wrapped(Normal(0, 10))
    assert spec(load_grammar(path), "thing", "yaw").distribution == Wrapped(Normal(0, 10))
    scene = experiment.target.evaluation.sample(np.random.default_rng(0))
    name = scene.to_wire(experiment.target.evaluation.assets.hash_of).nodes[1].sprite.asset
    assert experiment.asset_source(name).startswith(b"\x89PNG")


def test_an_experiment_that_takes_its_world_from_a_grammar(tmp_path):
    write_sprites(tmp_path)
    text = "grammar: world.yaml\noverrides: {thing.x: 1}\n" + TARGET
    path = write_sprites(tmp_path, text, "trial.yaml")
    experiment = load_experiment(path, {"thing.width": 9, "engine": "raster", "target.count": 12})
    check(experiment)
    assert experiment.name == "trial"
    assert spec(experiment.grammar, "thing", "x").distribution == Constant(1.0)
    assert spec(experiment.target.grammar, "thing", "width").distribution == Constant(9.0)
    assert spec(load_grammar(path), "thing", "x").distribution == Constant(1.0)


def test_what_is_said_of_training_in_a_world_holds_for_its_experiments(tmp_path):
    write_sprites(tmp_path, SPRITES + "task: pose\ntraining: {epochs: 5, batch: 8, probing: {samples: 4}}\n")
    path = write_sprites(tmp_path, "grammar: world.yaml\ntraining: {epochs: 7}\n", "trial.yaml")
    experiment = load_experiment(path, {"training.batch": 16, "training.probing.audit": 0.1})
    assert experiment.task == "pose"
    assert experiment.training == {"epochs": 7, "batch": 16, "probing": {"samples": 4, "audit": 0.1}}
    path = write_sprites(tmp_path, "grammar: world.yaml\ntask: detection\n", "trial.yaml")
    assert load_experiment(path).task == "detection"


def test_a_grammar_alone_is_an_experiment_without_a_target(tmp_path):
    experiment = load_experiment(write_sprites(tmp_path))
    assert (experiment.target, experiment.engine, experiment.training, experiment.notes) == (None, "blender", {}, ())


def test_the_raster_engine_draws_no_meshes(tmp_path):
    text = SPRITES.replace("sprite: shapes", "mesh: cube").replace("view_transform: raw", "view_transform: standard")
    path = write_sprites(tmp_path, text + "engine: raster\n")
    with pytest.raises(GrammarError) as caught:
        load_experiment(path)
    assert str(caught.value) == f"{path}:15: engine is 'raster'; it renders sprites only, and thing is a mesh"


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        ("nowhere.yaml", "grammar is 'nowhere.yaml'; there is no file {folder}/nowhere.yaml"),
        ("trial.yaml", "grammar is 'trial.yaml'; it must have a world of its own, not take it from another file"),
    ],
)
def test_an_experiment_whose_grammar_is_wrong(tmp_path, grammar, message):
    path = write_sprites(tmp_path, f"grammar: {grammar}\n", "trial.yaml")
    with pytest.raises(GrammarError) as caught:
        load_experiment(path)
    assert str(caught.value) == f"{path}:1: {message.replace('{folder}', str(tmp_path))}"


def test_targets_can_be_changed(tmp_path):
    text = SPRITES + "target: {overrides: {thing.yaw: {normal: [90, 10]}}}\n"
    path = write_sprites(tmp_path, text)
    changed = {"target.overrides.thing.yaw": {"normal": [45, 5]}, "target.overrides.thing.x": 3, "target.count": 7}
    target = load_experiment(path, changed).target
    assert target is not None
    assert spec(target.grammar, "thing", "yaw").distribution == Wrapped(Normal(45, 5))
    assert spec(target.grammar, "thing", "x").distribution == Constant(3.0)
    assert target.count == 7
    with pytest.raises(GrammarError, match=r"unknown key 'yew'; did you mean 'yaw'\?"):
        load_experiment(path, {"target.overrides.thing.yew": 3})
