"""The aerial views: what the scene graph says, and what is realistic about the target."""

import numpy as np
import pytest
from metasim.v1 import scene_pb2

from trainer.experiments import Experiment, load_experiment
from trainer.grammar import SceneGraph

#: Half the width of the road and of what a car, a house and a tree show at most, in pixels.
ROAD, CAR, HOUSE, TREE = 12.0, 4.2, 8.2, 8.2


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return load_experiment("aerial")


@pytest.fixture(scope="module")
def realistic(experiment: Experiment) -> list[SceneGraph]:
    assert experiment.target is not None
    rng = np.random.default_rng(0)
    return [experiment.target.grammar.sample(rng) for _ in range(200)]


def placed(scenes: list[SceneGraph], kind: str, name: str) -> np.ndarray:
    return np.array([node.values[name] for scene in scenes for node in scene.nodes if node.kind == kind])


def test_the_sets_are_as_large_as_the_papers(experiment: Experiment) -> None:
    sizes = {name: len(items) for name, items in experiment.grammar.asset_sets.items()}
    assert sizes == {"cars": 600, "trees": 40, "houses": 20, "meadows": 7, "roads": 4}
    assert experiment.grammar.classes == ("car", "house", "road", "tree")
    assert (experiment.task, experiment.engine) == ("segmentation", "blender")


def test_two_cars_stand_in_the_roads_frame(experiment: Experiment) -> None:
    scene = experiment.grammar.sample(np.random.default_rng(0))
    road = next(index for index, node in enumerate(scene.nodes) if node.kind == "road")
    cars = [node for node in scene.nodes if node.class_name == "car"]
    assert [car.parent for car in cars] == [road, road]
    wire = scene.to_wire(experiment.grammar.assets.hash_of)
    assert [node.parent for node in wire.nodes if node.class_name == "car"] == ["road-1", "road-1"]
    assert {node.id for node in wire.nodes if not node.class_name} == {"camera-1", "meadow-1"}


def test_every_object_draws_its_own_texture(experiment: Experiment) -> None:
    rng = np.random.default_rng(0)
    scenes = [experiment.grammar.sample(rng) for _ in range(60)]
    seen: dict[str, set[int]] = {}
    for scene in scenes:
        for node in scene.nodes:
            if node.asset is not None:
                seen.setdefault(node.asset.set, set()).add(node.asset.index)
    assert {name: len(indices) for name, indices in seen.items() if name in ("meadows", "roads")} == {
        "meadows": 7,
        "roads": 4,
    }
    assert min(len(seen[name]) for name in ("cars", "houses", "trees")) > 15


def test_the_target_keeps_to_the_lanes_and_the_prior_does_not(
    experiment: Experiment, realistic: list[SceneGraph]
) -> None:
    forward, oncoming = placed(realistic, "forward", "y"), placed(realistic, "oncoming", "y")
    assert (forward + CAR < 0).all()
    assert (oncoming - CAR > 0).all()
    assert max(np.abs(forward).max(), np.abs(oncoming).max()) + CAR < ROAD
    assert np.abs(placed(realistic, "forward", "yaw")).max() < 20
    assert np.abs(np.abs(placed(realistic, "oncoming", "yaw")) - 180).max() < 20
    rng = np.random.default_rng(0)
    prior = [experiment.grammar.sample(rng) for _ in range(200)]
    assert np.abs(placed(prior, "forward", "yaw")).mean() > 60
    assert (np.abs(placed(prior, "forward", "y")) < CAR).mean() > 0.7


def test_houses_and_trees_of_the_target_stand_beside_the_road(realistic: list[SceneGraph]) -> None:
    assert (np.abs(placed(realistic, "house", "y")) - HOUSE > ROAD).all()
    assert (np.abs(placed(realistic, "tree", "y")) - TREE > ROAD).all()


def test_the_road_differs_from_scene_to_scene_and_is_left_as_it_is(realistic: list[SceneGraph]) -> None:
    assert placed(realistic, "road", "yaw").std() > 5
    assert placed(realistic, "road", "y").std() > 1
    assert scene_pb2.ATTRIBUTE_YAW in {item.spec.attribute for item in realistic[0].mutable}
    assert "road" not in {realistic[0].nodes[item.node].kind for item in realistic[0].mutable}


def test_the_two_cars_cannot_be_taken_for_each_other(realistic: list[SceneGraph]) -> None:
    """One comes from the left, one from the right: so what an image shows says which is which."""
    assert placed(realistic, "forward", "x").max() < 0 < placed(realistic, "oncoming", "x").min()
