"""Scenes drawn from a grammar: the structure, the counts, the assets, the frames of reference."""

import numpy as np
import pytest
from scipy import stats
from support.grammars import SPRITES, write_sprites

from trainer.grammar import AssetRef, GrammarError, load_grammar

STREET = """\
render: {width: 64, height: 32}
max_nodes: 40
assets:
  shapes: {images: shapes}
nodes:
  eye: {camera: perspective, fov: 60, z: 20}
  lamp: {light: sun, intensity: {uniform: [1, 3]}}
  road:
    mesh: plane
    material: {texture: {set: shapes, weights: {disc: 0.75, star: 0.25}}}
    width: 10
    yaw: {von_mises: [90, 8]}
    children:
      - {kind: {car: 0.7, bus: 0.3}, count: {poisson: [2, 6]}}
      - {kind: car, count: {categorical: {0: 0.5, 3: 0.5}}}
  car: {class: car, mesh: cube, x: {normal: [0, 1]}, red: 1}
  bus: {class: bus, mesh: cube, x: {normal: [0, 1]}, children: [car]}
scene: [eye, lamp, {kind: road, count: {integers: [1, 3]}}]
"""


@pytest.fixture
def street(tmp_path):
    return load_grammar(write_sprites(tmp_path, STREET))


def test_the_same_generator_gives_the_same_scene_and_another_another(street):
    first, again, other = (street.sample(np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first.nodes == again.nodes
    assert first.nodes != other.nodes


def test_the_order_of_keys_in_the_file_changes_no_scene(tmp_path, street):
    shuffled = STREET.replace("{disc: 0.75, star: 0.25}", "{star: 0.25, disc: 0.75}")
    shuffled = shuffled.replace("{car: 0.7, bus: 0.3}", "{bus: 0.3, car: 0.7}")
    shuffled = shuffled.replace("{0: 0.5, 3: 0.5}", "{3: 0.5, 0: 0.5}")
    lines = shuffled.split("\n")
    eye = lines.pop(next(index for index, line in enumerate(lines) if line.startswith("  eye:")))
    lines.insert(next(index for index, line in enumerate(lines) if line.startswith("scene:")), eye)
    other = load_grammar(write_sprites(tmp_path, "\n".join(lines), "shuffled.yaml"))
    assert list(other.kinds) == list(street.kinds) == ["bus", "car", "eye", "lamp", "road"]
    assert other.classes == street.classes == ("bus", "car")
    for seed in range(5):
        assert other.sample(np.random.default_rng(seed)).nodes == street.sample(np.random.default_rng(seed)).nodes


def test_parents_come_first_and_ids_number_each_kind(street):
    scene = street.sample(np.random.default_rng(1))
    assert [node.id for node in scene.nodes[:3]] == ["eye-1", "lamp-1", "road-1"]
    assert len({node.id for node in scene.nodes}) == len(scene.nodes)
    for index, node in enumerate(scene.nodes):
        assert node.parent is None or node.parent < index
        for child in scene.children[index]:
            assert scene.nodes[child].parent == index
    buses = [index for index, node in enumerate(scene.nodes) if node.kind == "bus"]
    assert all([scene.nodes[child].kind for child in scene.children[bus]] == ["car"] for bus in buses)


def test_counts_and_choices_follow_their_distributions(street):
    rng = np.random.default_rng(7)
    scenes = [street.sample(rng) for _ in range(3000)]
    roads = [sum(node.kind == "road" for node in scene.nodes) for scene in scenes]
    assert stats.chisquare(np.bincount(roads, minlength=4)[1:]).pvalue > 1e-3
    textures = [node.texture for scene in scenes for node in scene.nodes if node.kind == "road"]
    disc, star = (sum(texture == AssetRef("shapes", index) for texture in textures) for index in (0, 2))
    assert disc + star == len(textures)
    assert stats.binomtest(disc, len(textures), 0.75).pvalue > 1e-3
    # Children of roads: poisson(2) up to 6, of which 70 % cars, plus three cars on every other road.
    masses = stats.poisson(2).pmf(np.arange(7))
    mean = np.dot(np.arange(7), masses / masses.sum())
    direct = [
        len(scene.children[index]) for scene in scenes for index, node in enumerate(scene.nodes) if node.kind == "road"
    ]
    assert np.mean(direct) == pytest.approx(mean + 1.5, abs=0.1)
    buses = sum(node.kind == "bus" for scene in scenes for node in scene.nodes)
    assert buses / len(textures) == pytest.approx(0.3 * mean, abs=0.05)


def test_attributes_pass_kolmogorov_smirnov_in_whole_scenes(tmp_path):
    grammar = load_grammar(write_sprites(tmp_path))
    rng = np.random.default_rng(5)
    values = np.array([grammar.sample(rng).values() for _ in range(5000)])  # x, yaw
    assert stats.kstest(values[:, 0], stats.uniform(-4, 8).cdf).pvalue > 1e-3
    assert stats.kstest(values[:, 1], stats.norm(0, 10).cdf).pvalue > 1e-3
    assert abs(stats.spearmanr(values[:, 0], values[:, 1]).statistic) < 0.06


def test_items_of_a_set_are_equally_likely(tmp_path):
    grammar = load_grammar(write_sprites(tmp_path))
    rng = np.random.default_rng(2)
    drawn = [grammar.sample(rng).nodes[1].asset.index for _ in range(3000)]
    assert stats.chisquare(np.bincount(drawn)).pvalue > 1e-3


def test_too_many_nodes_are_an_error_and_not_a_hang(tmp_path):
    text = SPRITES.replace("scene: [camera, thing]", "max_nodes: 50\nscene: [camera, {kind: thing, count: 1000000}]")
    path = write_sprites(tmp_path, text)
    with pytest.raises(GrammarError) as caught:
        load_grammar(path).sample(np.random.default_rng(0))
    assert str(caught.value) == (
        f"{path}: a scene has more than 50 nodes; lower the counts of children or raise max_nodes"
    )


def test_sub_folders_are_labels_and_classes(tmp_path):
    path = write_sprites(tmp_path, SPRITES.replace("class: thing", 'class: "a {label}"'))
    for label in ("round", "edged"):
        folder = tmp_path / "shapes" / label
        folder.mkdir()
        (tmp_path / "shapes" / {"round": "disc", "edged": "square"}[label]).with_suffix(".png").rename(folder / "1.png")
    (tmp_path / "shapes" / "star.png").rename(tmp_path / "shapes" / "edged" / "2.png")
    grammar = load_grammar(path, {"thing.sprite": {"set": "shapes", "weights": {"round": 0.9, "edged": 0.1}}})
    assert grammar.classes == ("a edged", "a round")
    rng = np.random.default_rng(0)
    names = [grammar.sample(rng).nodes[1].class_name for _ in range(1000)]
    assert stats.binomtest(names.count("a round"), 1000, 0.9).pvalue > 1e-3
    assert names.count("a round") + names.count("a edged") == 1000
