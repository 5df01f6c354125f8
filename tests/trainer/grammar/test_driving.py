"""The streets that ship: how many things stand in them, and where."""

import json
from pathlib import Path

import numpy as np
import pytest

from trainer.assets.procedural import street
from trainer.assets.procedural.street_roads import BENDS, PROFILES
from trainer.cli.assignments import parse_assignments
from trainer.experiments import load_experiment
from trainer.grammar import load_grammar
from trainer.grammar.path import PLACE
from trainer.inference.problem import Problem
from trainer.inference.training_settings import TrainingSettings

#: Height of what the kinds stand on, where it is not the road.
ON_PAVEMENTS = {"pedestrian", "house", "building", "hedge", "tree", "street-tree", "lamp", "sign"}


def road_of(scene):
    """The road's node, and the name of its profile."""
    (road,) = (node for node in scene.nodes if node.parent is None and node.kind.split("-")[0] in PROFILES)
    return road, road.kind.split("-")[0]


@pytest.fixture(scope="module")
def scenes():
    grammar = load_grammar("driving")
    rng = np.random.default_rng(0)
    return [grammar.sample(rng) for _ in range(150)]


def test_there_are_40_to_120_things_in_most_streets(scenes):
    counts = [sum(node.kind != PLACE for node in scene.nodes) for scene in scenes]
    assert np.mean([40 <= count <= 120 for count in counts]) > 0.85
    assert min(counts) > 20


def test_every_scenario_and_bend_comes_up(scenes):
    assert len({road_of(scene)[0].kind for scene in scenes}) == 12


def test_vehicles_stand_in_lanes_of_their_roads(scenes):
    """The place of each vehicle lies in a lane or strip of its road's profile."""
    for scene in scenes[:60]:
        road, name = road_of(scene)
        profile = PROFILES[name]
        curvature = scene.kinds[road.kind].curvature
        bend = 0.0 if curvature is None else curvature.mean
        # The mesh bends as the line does.
        label = street.ROADS.label(road.asset.index)
        assert label.startswith(f"{name}-")
        assert bend == pytest.approx(BENDS[label.removeprefix(f"{name}-")], abs=1e-6)
        for node in scene.nodes:
            if node.class_name not in ("car", "van", "truck"):
                continue
            place = scene.nodes[node.parent].values
            radius = np.inf if bend == 0 else 1 / bend
            offset = place["y"] if bend == 0 else radius - np.sign(radius) * np.hypot(place["x"], place["y"] - radius)
            assert place["z"] == 0
            assert abs(offset) < profile.kerb_m - 0.8, (road.kind, offset)
            if not node.kind.startswith("parked"):
                lanes = [(lane + 0.5) * profile.lane_m for lane in range(profile.lanes)]
                assert min(abs(abs(offset) - lane) for lane in lanes) < 0.02


def test_things_beside_the_road_stand_as_high_as_its_pavements(scenes):
    for scene in scenes[:60]:
        high = 0.12 if PROFILES[road_of(scene)[1]].pavement_m else 0
        for node in scene.nodes:
            if node.kind in ON_PAVEMENTS:
                assert scene.nodes[node.parent].values["z"] == high


def test_classes_are_kittis(scenes):
    assert set(scenes[0].classes) == {"car", "van", "truck", "pedestrian"}
    seen = {node.class_name for scene in scenes for node in scene.nodes}
    assert seen == {"car", "van", "truck", "pedestrian", ""}


def test_the_city_moves_cars_to_where_kittis_stand():
    """Lateral places of what comes towards the camera, on straight roads: the prior's lie nearer than the city's."""
    experiment = load_experiment("driving-city")
    assert experiment.task == "detection"
    assert experiment.target is not None
    lateral = {}
    for name, grammar in (("prior", experiment.grammar), ("city", experiment.target.grammar)):
        rng = np.random.default_rng(0)
        found = []
        for scene in (grammar.sample(rng) for _ in range(80)):
            road, profile = road_of(scene)
            if scene.kinds[road.kind].curvature is not None or profile != "residential":
                continue
            for node in scene.nodes:
                if node.kind == "car" and abs(scene.nodes[node.parent].values["yaw"]) > 90:
                    # The frame looks back: its y points to our right.
                    found.append(road.values["y"] + scene.nodes[node.parent].values["y"] - node.values["y"])
        lateral[name] = np.mean(found)
    layout = json.loads((Path(__file__).resolve().parents[3] / "grammars" / "kitti-layout.json").read_text())
    against = layout["types"]["Car"]["against_camera"]["y_m"]["histogram"]
    # The most frequent bin, 3 to 4 m to the left.
    assert int(np.argmax(against)) - 20 == 3
    assert lateral["prior"] == pytest.approx(2.78, abs=0.25)
    assert lateral["city"] == pytest.approx(3.08, abs=0.2)


def test_parked_cars_of_the_city_stand_beside_the_pavement():
    rng = np.random.default_rng(0)
    world = load_experiment("driving-city").target.grammar
    beyond = []
    for scene in (world.sample(rng) for _ in range(150)):
        road, profile = road_of(scene)
        if scene.kinds[road.kind].curvature is not None:
            continue
        for node in scene.nodes:
            if node.kind == "parked":
                # The strip's frame looks along its own side's traffic: to the right is outwards. Cars are 1.8 m wide.
                outer = abs(scene.nodes[node.parent].values["y"]) - node.values["y"] + 0.9
                beyond.append(outer - PROFILES[profile].kerb_m)
    assert len(beyond) > 300
    assert np.mean(beyond) < -0.1
    assert np.mean(np.array(beyond) > 0.35) < 0.12  # With more than a wheel on it.


CARS = {f"{kind}.{name}" for kind in ("car", "parked", "van", "parked-van", "truck") for name in ("x", "y", "yaw")}
CAMERA = {"camera.z", "camera.yaw", "camera.roll", "camera.fov"}
CONTEXT = {"sun.intensity", "house.y", "building.y", "tree.y"}


@pytest.mark.parametrize("name", ["driving", "driving-city"])
def test_attributes_join_in_their_stages(name):
    experiment = load_experiment(name)
    settings = TrainingSettings.parse(experiment.training)
    assert [(stage.title, stage.losses) for stage in settings.stages] == [
        ("cars and camera", ["mmd"]),
        ("context", ["mmd"]),
        ("task loss", ["mmd", "task"]),
    ]
    problem = Problem(experiment.grammar, settings, 0, None, None, validation=object())
    problem.check_stages()
    joined = [{problem.names[place] for place in problem.active(stage)} for stage in range(3)]
    # Nothing that may be learned is left out at the end.
    assert joined == [CARS | CAMERA, CARS | CAMERA | CONTEXT, set(problem.names)]
    assert joined[1] == joined[2]


def test_the_first_stage_can_run_alone():
    text = "training.stages=[{name: cars, attributes: [car.*, parked.*, van.*, parked-van.*, truck.*]}]"
    experiment = load_experiment("driving-city", parse_assignments([text]))
    settings = TrainingSettings.parse(experiment.training)
    problem = Problem(experiment.grammar, settings, 0, None, None)
    problem.check_stages()
    assert {problem.names[place] for place in problem.active(0)} == CARS
    assert problem.settings.stages[1:] == []
