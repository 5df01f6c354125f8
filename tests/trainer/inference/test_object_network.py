"""Which network looks where the objects are."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from trainer.features.dense import DenseFeatures
from trainer.features.readout import Readout, Window
from trainer.features.regions import RegionFeatures
from trainer.grammar import SceneGraph, load_grammar
from trainer.inference.problem import Problem, bystanders, object_network
from trainer.inference.settings import TrainingSettings

STREET = """\
render: {width: 64, height: 32, samples: 1}
nodes:
  camera: {camera: perspective, fov: 40, z: {normal: [5, 0.1], mutable: true, range: [4, 6]}}
  car: {mesh: cube, x: {normal: [0, 1], mutable: true, range: [-3, 3]}}
  tree: {mesh: cube, x: {normal: [0, 1], mutable: true, range: [-3, 3]}}
  lone: {mesh: cube, x: {normal: [0, 1], mutable: true, range: [-3, 3]}}
scene: [camera, car, car, tree, tree, lone]
"""


def street(folder: Path, text: str) -> tuple[Problem, list[SceneGraph]]:
    path = folder / "street.yaml"
    path.write_text(text, encoding="utf-8")
    grammar = load_grammar(path)
    renderer: Any = SimpleNamespace(settings=SimpleNamespace(width_px=64, height_px=32))
    problem = Problem(grammar, TrainingSettings(), 0, renderer, np.zeros((1, 32, 64, 3), dtype=np.uint8))
    return problem, [grammar.sample(np.random.default_rng(0))]


def of_kinds(problem: Problem, *wanted: str) -> list[int]:
    return [place for place, (kind, _) in enumerate(problem.encoding.mutable) if kind in wanted]


def chosen(folder: Path, text: str, *wanted: str) -> DenseFeatures | RegionFeatures:
    problem, scenes = street(folder, text)
    readout = Readout.of(problem.encoding, Window.around(problem.encoding, scenes))
    return object_network(problem, readout, scenes, of_kinds(problem, *wanted))


def test_things_of_many_sizes_are_read_in_regions(tmp_path: Path) -> None:
    """Of the kinds that are learned those of which a scene has several nodes."""
    network = chosen(tmp_path, STREET, "camera", "car", "lone")
    assert isinstance(network, RegionFeatures)
    kinds = ["camera", "car", "lone", "tree"]
    assert [kinds[number] for number in network.regions] == ["car"]


def test_else_all_is_read_off_the_whole_image(tmp_path: Path) -> None:
    assert isinstance(chosen(tmp_path, STREET, "camera", "lone"), DenseFeatures)
    above = STREET.replace("perspective, fov: 40", "orthographic, fov: 8")
    assert isinstance(chosen(tmp_path, above, "car"), DenseFeatures)


def test_what_regions_are_seen_with_is_put_right_too(tmp_path: Path) -> None:
    """What every scene has once, unless it is learned; where nothing is read in regions, nothing."""
    problem, scenes = street(tmp_path, STREET)
    assert bystanders(problem, scenes, of_kinds(problem, "car")) == of_kinds(problem, "camera", "lone")
    assert bystanders(problem, scenes, of_kinds(problem, "car", "camera")) == of_kinds(problem, "lone")
    assert bystanders(problem, scenes, of_kinds(problem, "lone")) == []
