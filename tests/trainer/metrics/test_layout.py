"""Where things stand before the camera: of scenes by hand, of labels, and of the streets that ship."""

import math
from pathlib import Path

import numpy as np
import pytest

from trainer.datasets.kitti_labels import KittiObject
from trainer.experiments import load_experiment
from trainer.grammar import load_grammar
from trainer.metrics.layout import layout_distances, layout_of_labels, layout_of_scenes
from trainer.metrics.scene_distances import attribute_distances
from trainer.model.encoding import Encoding

WORLD = """
render: {width: 1242, height: 375}
nodes:
  camera: {camera: perspective, fov: 29.2, x: 10, y: 5, z: 1.65, roll: 85, yaw: 0}
  ahead: {class: car, mesh: cube, x: 7, y: 25, yaw: 95}
  oncoming: {class: van, mesh: cube, x: 12, y: 45, yaw: -90}
  behind: {class: car, mesh: cube, x: 10, y: -25}
  aside: {class: car, mesh: cube, x: 40, y: 10}
  far: {class: car, mesh: cube, x: 10, y: 70}
  tree: {class: tree, mesh: cube, x: 7, y: 25}
scene: [camera, ahead, oncoming, behind, aside, far, tree]
"""


def test_places_are_those_before_the_camera(tmp_path: Path) -> None:
    """It looks along y, a little down: what stands at a smaller x stands to its left."""
    (tmp_path / "world.yaml").write_text(WORLD)
    grammar = load_grammar(tmp_path / "world.yaml")
    scene = grammar.sample(np.random.default_rng(0))
    found = layout_of_scenes([scene], grammar.render_settings())
    assert list(found) == ["Car", "Van"]
    np.testing.assert_allclose(found["Car"], [[20, 3, 5]], atol=1e-9)
    # Who looks back has the axis of who looks ahead.
    np.testing.assert_allclose(found["Van"], [[40, -2, 0]], atol=1e-9)


def test_labels_have_the_same_places() -> None:
    def car(x: float, z: float, rotation_y: float) -> KittiObject:
        return KittiObject("Car", 0, 0, 0, (0, 0, 1, 1), (1.5, 1.6, 4), (x, 1.65, z), rotation_y)

    unknown = KittiObject("Car", 0, 0, 0, (0, 0, 1, 1))
    labels = [(car(-3, 20, -math.radians(95)), unknown, KittiObject("DontCare", -1, -1, -10, (0, 0, 1, 1))), 7, ()]
    found = layout_of_labels(labels)
    assert list(found) == ["Car"]
    np.testing.assert_allclose(found["Car"], [[20, 3, 5]], atol=1e-9)


def test_few_objects_are_not_compared() -> None:
    many, few = {"Car": np.zeros((20, 3)), "Van": np.zeros((20, 3))}, {"Car": np.ones((20, 3)), "Van": np.ones((19, 3))}
    assert layout_distances({"prior": many, "learned": few}, many) == {
        f"Car {number}": {"prior": 0, "learned": pytest.approx(1), "unit": unit}
        for number, unit in (("ahead", "m"), ("lateral", "m"), ("heading", "deg"))
    }


@pytest.fixture(scope="module")
def city() -> tuple[dict, dict]:
    """What is found of the city where the model has learned its cars; no scene is rendered."""
    experiment = load_experiment("driving-city")
    cars = {
        f"{kind}.{name}": value
        for kind, y in (("car", [-0.3, 0.35]), ("parked", [-0.5, 0.35]))
        for name, value in (("y", {"normal": y}), ("yaw", {"normal": [0, 3]}))
    }
    worlds = {
        "prior": experiment.grammar,
        "learned": load_grammar("driving", cars),
        "target": experiment.target.grammar,
    }
    scenes = {}
    for of, world in worlds.items():
        rng = np.random.default_rng(0)  # Streets are the same, what stands in them is not.
        scenes[of] = [world.sample(rng) for _ in range(300)]
    places = {of: layout_of_scenes(each, experiment.grammar.render_settings()) for of, each in scenes.items()}
    layout = layout_distances({of: places[of] for of in ("prior", "learned")}, places["target"])
    return layout, attribute_distances(Encoding(experiment.grammar), scenes)


def test_the_layout_of_streets_tells_learned_cars_from_the_priors(city: tuple[dict, dict]) -> None:
    layout, attributes = city
    assert {f"Car {number}" for number in ("ahead", "lateral", "heading")} <= set(layout)
    assert attributes["car.y"]["learned"] < 0.05 < 0.3 < attributes["car.y"]["prior"]
    assert attributes["car.yaw"]["learned"] < 0.3 < 2 < attributes["car.yaw"]["prior"]
    assert layout["Car heading"]["learned"] < 0.25 * layout["Car heading"]["prior"]
    # What is left is the camera's, which is the prior's still.
    assert layout["Car lateral"]["learned"] < 0.5 * layout["Car lateral"]["prior"]


def test_streets_of_prior_and_target_differ_in_nothing_but_what_the_target_states() -> None:
    """Distances between them are not those of chance: the same random numbers give the same streets."""
    experiment = load_experiment("driving-city")
    target = experiment.target
    assert target is not None
    stated = {"camera": {"z", "roll", "yaw", "fov"}}
    stated |= {kind: {"y", "yaw"} for kind in ("car", "van", "truck", "parked", "parked-van")}
    rng, same = np.random.default_rng(7), np.random.default_rng(7)
    for _ in range(10):
        ours, theirs = experiment.grammar.sample(rng), target.evaluation.sample(same)
        assert [node.kind for node in ours.nodes] == [node.kind for node in theirs.nodes]
        for one, other in zip(ours.nodes, theirs.nodes, strict=True):
            differing = {name for name in one.values if one.values[name] != other.values[name]}
            assert differing <= stated.get(one.kind, set())
            assert one.asset == other.asset
