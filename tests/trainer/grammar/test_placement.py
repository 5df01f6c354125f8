"""Distances between siblings, things that stand on others: in sampled scenes and in those that learning has changed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.optimize import linprog, minimize

from trainer.errors import GrammarError
from trainer.grammar import SceneGraph, load_grammar
from trainer.grammar.footprints import distance, footprint
from trainer.grammar.placement import corners_of, local_of

WORLD = """\
render: {{width: 64, height: 48}}
nodes:
  eye: {{camera: perspective, fov: 40, z: 3}}
  table: {{mesh: cube, width: 4, depth: 4, height: 0.2, z: -0.1}}
  thing:
    mesh: {mesh}
    width: 0.3
    depth: 0.1
    height: 0.05
    x: {{uniform: [-1, 1], mutable: true, range: [-1.5, 1.5]}}
    y: {{uniform: [-1, 1], mutable: true, range: [-1.5, 1.5]}}
    yaw: {{uniform: [-180, 180], mutable: true}}
    {more}
scene: [eye, table, {{kind: thing, {entry}}}]
"""


def world(folder: Path, entry: str, mesh: str = "cube", more: str = ""):
    path = folder / "world.yaml"
    path.write_text(WORLD.format(entry=entry, mesh=mesh, more=more), encoding="utf-8")
    return load_grammar(path)


def things(scene: SceneGraph) -> list:
    return [node for node in scene.nodes if node.kind == "thing"]


def rectangle(node) -> np.ndarray:
    """The corners of a thing of 0.3 x 0.1, written down."""
    a = np.radians(node.values["yaw"])
    turn = np.array(((np.cos(a), -np.sin(a)), (np.sin(a), np.cos(a))))
    corners = np.array(((0.15, 0.05), (-0.15, 0.05), (-0.15, -0.05), (0.15, -0.05)))
    return corners @ turn.T + (node.values["x"], node.values["y"])


def least_distance(scene: SceneGraph) -> float:
    corners = [rectangle(node) for node in things(scene)]
    return min(distance(a, b)[0] for place, a in enumerate(corners) for b in corners[:place])


def by_optimisation(first: np.ndarray, second: np.ndarray) -> float:
    """The distance of two convex polygons as a quadratic programme over the weights of their corners."""
    n, m = len(first), len(second)

    def squared(weights: np.ndarray) -> float:
        gap = weights[:n] @ first - weights[n:] @ second
        return float(gap @ gap)

    sums = [
        {"type": "eq", "fun": lambda weights: weights[:n].sum() - 1},
        {"type": "eq", "fun": lambda weights: weights[n:].sum() - 1},
    ]
    start = np.concatenate((np.full(n, 1 / n), np.full(m, 1 / m)))
    found = minimize(squared, start, bounds=[(0, 1)] * (n + m), constraints=sums, tol=1e-14)
    return float(np.sqrt(max(found.fun, 0)))


def test_distances_are_those_of_a_quadratic_programme() -> None:
    rng = np.random.default_rng(0)
    checked = 0
    while checked < 15:
        first = footprint(rng.normal(size=(rng.integers(3, 7), 2)))
        second = footprint(rng.normal(size=(rng.integers(3, 7), 2)) + rng.uniform(-4, 4, 2))
        found, way = distance(first, second)
        if found <= 0:
            # Some point is in both: a linear programme over the weights of the corners finds it.
            n, m = len(first), len(second)
            equal = np.vstack((np.concatenate((first.T, -second.T), 1), [[1] * n + [0] * m], [[0] * n + [1] * m]))
            assert linprog(np.zeros(n + m), A_eq=equal, b_eq=[0, 0, 1, 1]).status == 0
            assert distance(first, second + (1e-9 - found) * way)[0] >= -1e-9
            continue
        assert found == pytest.approx(by_optimisation(first, second), abs=1e-4)
        assert distance(first, second + way)[0] == pytest.approx(found + 1, abs=1e-6)
        checked += 1


def test_distances_of_squares() -> None:
    square = np.array(((0, 0), (1, 0), (1, 1), (0, 1)), float)
    right, diagonal, inside = np.array(((3, 0), (2, 2), (0.7, 0)))
    assert distance(square, square + right) == (2.0, pytest.approx((1, 0)))
    assert distance(square, square + diagonal)[0] == pytest.approx(2**0.5)
    assert distance(square, square + inside)[0] == pytest.approx(-0.3)


def test_a_footprint_is_the_hull() -> None:
    points = np.array(((0, 0, 5), (2, 0, 0), (2, 2, 1), (0, 2, 0), (1, 1, 9), (1, 0, 0)), float)
    assert footprint(points).tolist() == [[0, 0], [2, 0], [2, 2], [0, 2]]


def test_siblings_keep_their_distance(tmp_path: Path) -> None:
    grammar = world(tmp_path, "count: 20, apart: 0.05")
    for seed in range(6):
        scene = grammar.sample(np.random.default_rng(seed))
        assert len(things(scene)) == 20
        assert least_distance(scene) >= 0.05 - 1e-9
    first, again = (grammar.sample(np.random.default_rng(3)) for _ in range(2))
    assert first == again


def test_without_the_key_the_same_scenes_are_drawn_as_before(tmp_path: Path) -> None:
    near = world(tmp_path, "count: 20").sample(np.random.default_rng(0))
    assert least_distance(near) < 0.05
    far = world(tmp_path, "count: 2, apart: 0").sample(np.random.default_rng(0))
    assert [node.values for node in things(far)] == [node.values for node in things(near)[:2]]


def test_learned_changes_keep_the_distance(tmp_path: Path) -> None:
    grammar = world(tmp_path, "count: 12, apart: 0.05")
    for seed in range(4):
        rng = np.random.default_rng(seed)
        scene = grammar.sample(rng)
        low, high = np.array([(item.spec.low, item.spec.high) for item in scene.mutable]).T
        values = np.clip(scene.values() + rng.normal(0, 0.2, len(scene.mutable)), low, high)
        changed = scene.with_values(values)
        assert least_distance(changed) >= 0.05 - 1e-9
        assert (changed.values() >= low).all()
        assert (changed.values() <= high).all()
        # All in one place: there is no room, and they stay closer to where they were.
        crowded = scene.with_values(np.where([item.name == "yaw" for item in scene.mutable], values, 0.0))
        assert least_distance(crowded) >= 0.05 - 1e-9


def test_a_change_that_keeps_its_distance_stays_as_it_is(tmp_path: Path) -> None:
    scene = world(tmp_path, "count: 3, apart: 0.01").sample(np.random.default_rng(1))
    np.testing.assert_array_equal(scene.with_values(scene.values()).values(), scene.values())


def test_too_many_are_an_error_or_fewer(tmp_path: Path) -> None:
    with pytest.raises(GrammarError, match=r"thing-\d+ finds no place that is 0.5 apart from its siblings in 50 tries"):
        world(tmp_path, "count: 60, apart: {distance: 0.5, tries: 50}").sample(np.random.default_rng(0))
    fewer = world(tmp_path, "count: 60, apart: {distance: 0.5, tries: 50, otherwise: fewer}")
    assert 3 < len(things(fewer.sample(np.random.default_rng(0)))) < 30


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("along: {end: 3, spacing: 1}, apart: 0.1", "places of a row keep their spacing"),
        ("apart: -1", "it must be at least 0"),
        ("on: air", "it must be 'surface'"),
    ],
)
def test_faults(tmp_path: Path, entry: str, message: str) -> None:
    with pytest.raises(GrammarError, match=message):
        world(tmp_path, entry)


def test_only_meshes_and_sprites_have_footprints(tmp_path: Path) -> None:
    path = tmp_path / "world.yaml"
    text = "render: {width: 8, height: 8}\nnodes:\n  eye: {camera: perspective, fov: 9}\n  frame: {x: 1}\n"
    path.write_text(text + "scene: [eye, {kind: frame, count: 2, apart: 1}]\n", encoding="utf-8")
    with pytest.raises(GrammarError, match="only a mesh or a sprite has a footprint, and frame has none"):
        load_grammar(path)


def test_sprites_keep_the_distance_of_what_their_pictures_show(tmp_path: Path) -> None:
    """Discs in the middle of their pictures: the distance of circles, in closed form."""
    along = (2 * np.arange(80) + 1) / 80 - 1
    far = np.hypot(along[:, None], along)
    radii = {"small": 0.3, "large": 0.8}
    (tmp_path / "discs").mkdir()
    for name, radius in radii.items():
        texels = np.full((80, 80, 4), 200, np.uint8)
        texels[..., 3] = np.where(far <= radius, 255, 100)
        Image.fromarray(texels).save(tmp_path / "discs" / f"{name}.png")
    path = tmp_path / "world.yaml"
    path.write_text(
        "render: {width: 8, height: 8}\nassets: {discs: {images: discs}}\nnodes:\n"
        "  eye: {camera: orthographic, fov: 9}\n"
        "  disc: {sprite: discs, width: 1, height: 1, x: {uniform: [-3, 3]}, y: {uniform: [-3, 3]}}\n"
        "scene: [eye, {kind: disc, count: 16, apart: 0.1}]\n",
        encoding="utf-8",
    )
    grammar = load_grammar(path)
    names, closest = ("large", "small"), np.inf
    for seed in range(10):
        discs = [node for node in grammar.sample(np.random.default_rng(seed)).nodes if node.kind == "disc"]
        middles = [np.array((node.values["x"], node.values["y"])) for node in discs]
        sizes = [0.5 * radii[names[node.asset.index]] for node in discs]
        gaps = [
            np.linalg.norm(middles[a] - middles[b]) - sizes[a] - sizes[b] for a in range(len(discs)) for b in range(a)
        ]
        closest = min(closest, *gaps)
        assert min(gaps) >= 0.1 - 0.02  # A polygon of texels lies within a circle and a texel of it.
    assert closest < 0.15


def test_things_stand_on_the_table_and_on_each_other(tmp_path: Path) -> None:
    grammar = world(tmp_path, "count: 15, on: surface")
    scene = grammar.sample(np.random.default_rng(0))
    bottoms = []
    for index, node in enumerate(things(scene)):
        corners = corners_of(node, local_of(node))
        bottoms.append(round(float(corners[:, 2].min()), 9))
        touching = [bottoms[index] == round(0.05 * level, 9) for level in range(15)]
        assert any(touching)  # The table's top is z = 0.
        below = [other for other in things(scene)[:index] if distance(rectangle(other), rectangle(node))[0] < -1e-3]
        if not below:
            assert bottoms[-1] == 0
    assert max(bottoms) > 0


def test_a_change_lets_things_stand_again(tmp_path: Path) -> None:
    scene = world(tmp_path, "count: 2, on: surface").sample(np.random.default_rng(0))
    values = scene.values()
    names = [item.name for item in scene.mutable]
    values[:] = [0.0 if name in ("x", "y", "yaw") else value for name, value in zip(names, values, strict=True)]
    stacked = things(scene.with_values(values))
    assert [node.values["z"] for node in stacked] == pytest.approx([0.025, 0.075])


def test_a_stated_height_is_a_ceiling(tmp_path: Path) -> None:
    grammar = world(tmp_path, "count: 1, on: surface", more="z: -0.25")
    with pytest.raises(GrammarError, match="thing-1 stands on nothing"):
        grammar.sample(np.random.default_rng(0))
    tilted = world(tmp_path, "count: 1, on: surface", mesh="sphere", more="roll: 30")
    [node] = things(tilted.sample(np.random.default_rng(0)))
    assert corners_of(node, local_of(node))[:, 2].min() == pytest.approx(0, abs=1e-9)


def test_settling_reaches_the_wire(tmp_path: Path) -> None:
    wire = world(tmp_path, "count: 2, settle: true").sample(np.random.default_rng(0)).to_wire(lambda _: "")
    assert [node.settles for node in wire.nodes] == [False, False, True, True]
