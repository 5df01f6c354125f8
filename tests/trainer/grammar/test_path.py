"""Rows of children along straight and bent lines."""

import math

import numpy as np
import pytest

from trainer.assets.procedural.street_roads import place_on_arc
from trainer.errors import GrammarError
from trainer.experiments import load_experiment
from trainer.experiments.describe import show_text
from trainer.grammar import Grammar, load_grammar
from trainer.grammar.path import PLACE, most_places, pose
from trainer.model.encoding import Encoding

WORLD = """
render: {width: 32, height: 16}
nodes:
  camera: {camera: perspective, fov: 30}
  road:
    CURVATURE
    children:
      - {kind: car, along: {ALONG}}
  car: {mesh: cube, class: car, x: {uniform: [-1, 1], mutable: true, range: [-2, 2]}, y: 0.5}
scene: [camera, road]
"""


@pytest.fixture
def load(tmp_path):
    def load_text(text: str) -> Grammar:
        path = tmp_path / "world.yaml"
        path.write_text(text, encoding="utf-8")
        return load_grammar(path)

    return load_text


@pytest.fixture
def world(load):
    def build(along: str, curvature: str = "x: 0") -> Grammar:
        return load(WORLD.replace("CURVATURE", curvature).replace("ALONG", along))

    return build


def rows(scene):
    """Places and the cars that stand in them."""
    places = [node for node in scene.nodes if node.kind == PLACE]
    cars = [node for node in scene.nodes if node.kind == "car"]
    assert [scene.nodes[car.parent].id for car in cars] == [place.id for place in places]
    return places, cars


def test_places_on_a_straight_line(world):
    scene = world("start: 4, end: 30, spacing: 10, y: -3, z: 0.1, yaw: 180").sample(np.random.default_rng(0))
    places, cars = rows(scene)
    assert [dict(place.values) for place in places] == [{"x": x, "y": -3, "z": 0.1, "yaw": -180} for x in (4, 14, 24)]
    assert [place.id for place in places] == ["place-1", "place-2", "place-3"]
    assert all(set(car.values) == {"x", "y"} for car in cars)
    assert len(scene.mutable) == 3


def test_places_on_an_arc(world):
    scene = world("end: 100, spacing: 25, y: 2", "curvature: 0.01").sample(np.random.default_rng(0))
    places, _ = rows(scene)
    s = np.arange(0, 101, 25.0)
    expected = place_on_arc(s, np.full_like(s, 2), 0.01)
    np.testing.assert_allclose([[place.values["x"], place.values["y"]] for place in places], expected, atol=1e-9)
    np.testing.assert_allclose([place.values["yaw"] for place in places], np.degrees(s * 0.01))


def test_a_quarter_of_a_circle(world):
    along = world("end: 1, spacing: 1, y: 10, yaw: 30").kinds["road"].children[0].along
    x, y, _, yaw = pose(along, 50 * math.pi, 1 / 100).values()
    # The circle's centre is (0, 100); 10 to the left is 90 from it.
    assert (x, y, yaw) == pytest.approx((90, 100, 120))
    x, y, _, yaw = pose(along, 50 * math.pi, -1 / 100).values()
    assert (x, y, yaw) == pytest.approx((110, -100, -60))


def test_shares_and_distances_are_drawn(world):
    grammar = world("start: {uniform: [0, 5]}, end: 200, spacing: {uniform: [5, 9]}, keep: {uniform: [0, 1]}")
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        places, _ = rows(grammar.sample(rng))
        x = np.array([place.values["x"] for place in places])
        assert ((x >= 0) & (x <= 200)).all()
        assert (np.diff(x) >= 5).all()
        shares.append(len(places) / 28)
    # Of 28 places on average a share uniform in [0, 1] is taken.
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)
    assert np.std(shares) == pytest.approx(math.sqrt(1 / 12), abs=0.06)
    assert most_places(grammar.kinds["road"].children[0].along) == 41


def test_the_transformer_sees_where_places_are(world):
    grammar = world("end: 80, spacing: 20", "curvature: -0.005")
    scene = grammar.sample(np.random.default_rng(0))
    encoding = Encoding(grammar)
    batch = encoding.encode([scene])
    slot = encoding.slots["x"]
    of_places = batch.nodes[[index for index, node in enumerate(scene.nodes) if node.kind == PLACE]]
    x = of_places[:, slot.start]
    assert (x[1:] > x[:-1]).all()
    assert float(x.max()) <= 1
    assert not any(kind == PLACE for kind, _ in encoding.mutable)


def test_grammars_without_rows_have_no_places(load):
    grammar = load(WORLD.replace("CURVATURE", "x: 0").replace("along: {ALONG}", "count: 2"))
    assert PLACE not in grammar.kinds


@pytest.mark.parametrize(
    ("along", "message"),
    [
        ("end: 10", "spacing is missing"),
        ("end: 10, spacing: 0", "the smallest distance must be at least 0.001"),
        ("end: 10, spacing: {uniform: [0, 2]}", "the smallest distance must be at least 0.001"),
        ("end: 10, spacing: {normal: [5, 1]}", "the smallest distance must be at least 0.001"),
        ("start: 11, end: 10, spacing: 2", "the row starts at 11 and must not end before"),
        ("start: {normal: [0, 1]}, end: 10, spacing: 2", "it must have a smallest value; use uniform or"),
        ("end: 10, spacing: 2, keep: 1.5", "keep is 1.5"),
        ("end: 10, spacing: 2}, count: {constant: 3", "count and along are given; a row has as many"),
    ],
)
def test_rows_that_make_no_sense_are_refused(world, along, message):
    with pytest.raises(GrammarError) as caught:
        world(along)
    assert message in str(caught.value)


def test_a_kind_cannot_take_the_places_name(load):
    with pytest.raises(GrammarError, match="place is the name of the places of rows; give the kind another name"):
        load(WORLD.replace("CURVATURE", "x: 0").replace("ALONG", "end: 9, spacing: 3").replace("car", "place"))


def test_a_kind_may_take_over_what_another_says(load):
    """`<<: *other` was refused as a key without a value."""
    text = (
        WORLD.replace("  car: {", "  car: &car {").replace("CURVATURE", "x: 0").replace("ALONG", "end: 1, spacing: 1")
    )
    grammar = load(text.replace("scene:", "  bus: &bus {<<: *car, class: bus, y: 7}\n  tram: *bus\nscene:"))
    bus = grammar.kinds["bus"]
    assert bus.class_name == "bus"
    assert {spec.name: spec.distribution.mean for spec in bus.specs} == {"x": 0, "y": 7}
    # Nor are keys given twice where an alias repeats what took something over.
    assert grammar.kinds["tram"].specs == bus.specs


def test_show_tells_how_many_stand_in_a_row(tmp_path):
    path = tmp_path / "world.yaml"
    path.write_text(WORLD.replace("CURVATURE", "x: 0").replace("ALONG", "end: 45, spacing: {uniform: [5, 9]}"))
    row = "car x up to 10 in a row (from 0 to 45, each uniform 5 to 9 on): mesh cube, class car"
    assert row in show_text(load_experiment(path))
