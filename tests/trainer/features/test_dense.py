"""Features read where the objects are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.grammars import FLAT, write_sprites
from support.readouts import wide_readout

from trainer.errors import InputError
from trainer.features import features_of, to_tensor
from trainer.features.dense import CELL_PX, DenseFeatures, grid_of, label_cells
from trainer.features.learned import learned_features
from trainer.features.readout import Readout, Window
from trainer.grammar import Grammar, SceneGraph, load_grammar
from trainer.model.encoding import Encoding

WORLD = (
    FLAT
    + """\
  left:
    class: thing
    sprite: shapes
    width: 6
    height: 6
    x: {uniform: [-12, -4], mutable: true, range: [-12, -4]}
  right:
    class: thing
    sprite: shapes
    width: 6
    height: 6
    x: {uniform: [4, 12], mutable: true, range: [4, 12]}
    yaw: {normal: [0, 60], mutable: true}
  light: # without pixels; here its height is the image's brightness
    z: {uniform: [0, 1], mutable: true, range: [0, 1]}
scene: [camera, left, right, light]
"""
)
SIZE_PX = 32


@pytest.fixture
def grammar(tmp_path: Path) -> Grammar:
    return load_grammar(write_sprites(tmp_path, WORLD))


def drawn(scenes: list[SceneGraph]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Squares of 6 x 6 pixels, the right one with one brighter side, before a grey that is the light's height."""
    images, masks = [], []
    for scene in scenes:
        values = {node.kind: node.values for node in scene.nodes}
        image = np.full((SIZE_PX, SIZE_PX), 20 + 60 * values["light"]["z"])
        mask = np.zeros((SIZE_PX, SIZE_PX), dtype=np.uint16)
        for number, node in enumerate(scene.nodes):
            if node.kind in ("left", "right"):
                x = round(node.values["x"] + SIZE_PX / 2)
                mask[13:19, x - 3 : x + 3] = number + 1
                image[13:19, x - 3 : x + 3] = 200
                if node.kind == "right":
                    angle = np.deg2rad(node.values["yaw"])
                    across, up = np.meshgrid(np.linspace(-1, 1, 6), np.linspace(1, -1, 6))
                    image[13:19, x - 3 : x + 3] += 50 * (across * np.cos(angle) + up * np.sin(angle))
        images.append(image)
        masks.append(mask)
    pixels = np.clip(np.stack(images), 0, 255).astype(np.uint8)
    return np.repeat(pixels[..., None], 3, axis=3), masks


def test_labels_of_cells(grammar: Grammar) -> None:
    """Against counts by hand: a mask of whole cells, and one of a quarter of a cell."""
    readout = wide_readout(grammar, (1, 2))
    scene = grammar.sample(np.random.default_rng(1))
    numbers = {node.kind: number for number, node in enumerate(scene.nodes)}
    mask = np.zeros((SIZE_PX, SIZE_PX), dtype=np.uint16)
    mask[:CELL_PX, : 2 * CELL_PX] = numbers["left"] + 1
    mask[CELL_PX : CELL_PX + 2, :2] = numbers["right"] + 1
    labels = label_cells(readout, [scene, scene], [mask, np.zeros_like(mask)])
    assert readout.kinds == ["left", "light", "right"]
    assert labels.presence.shape == (2, 3, *grid_of(SIZE_PX, SIZE_PX)) == (2, 3, 8, 8)
    assert labels.presence[0, 0, 0, :3].tolist() == [255, 255, 0]
    assert labels.presence[0, 2, :2, 0].tolist() == [0, 63]
    assert not labels.presence[1].any()
    left = labels.codes[labels.owner[0, 0, 0, 0]]
    x = scene.nodes[numbers["left"]].values["x"]
    assert left[0] * readout.scales[0] + readout.offsets[0] == pytest.approx(x)
    assert not left[1:].any()
    assert labels.means[0] == pytest.approx(readout.read(scene))


def test_of_two_nodes_of_a_kind_a_cell_tells_of_the_larger(tmp_path: Path) -> None:
    text = WORLD.replace("scene: [camera, left, right, light]", "scene: [camera, left, left, right, light]")
    grammar = load_grammar(write_sprites(tmp_path, text))
    scene = grammar.sample(np.random.default_rng(1))
    first, second = (number for number, node in enumerate(scene.nodes) if node.kind == "left")
    mask = np.zeros((SIZE_PX, SIZE_PX), dtype=np.uint16)
    mask[:2, :4], mask[2, :4] = second + 1, first + 1
    labels = label_cells(wide_readout(grammar, (1, 2)), [scene], [mask])
    assert labels.presence[0, 0, 0, 0] == 255 * 12 // 16
    assert labels.owner[0, 0, 0, 0] == 1


def test_nodes_of_a_kind_draw_together_as_often_as_not(tmp_path: Path) -> None:
    text = WORLD.replace("scene: [camera, left, right, light]", "scene: [camera, left, left, right, light]")
    grammar = load_grammar(write_sprites(tmp_path, text))
    rng = np.random.default_rng(0)
    scene = grammar.sample(rng)
    window = Window.around(Encoding(grammar), [scene])
    found = []
    for _ in range(400):
        nodes = window.scatter(Encoding(grammar), scene, rng).nodes
        found.append([node.values["x"] for node in nodes if node.kind == "left"])
    first, second = np.array(found).T
    assert np.mean(first == second) == pytest.approx(0.5, abs=0.1)
    alone = first != second
    assert np.corrcoef(first[alone], second[alone])[0, 1] == pytest.approx(0, abs=0.2)
    assert second.std() == pytest.approx(first.std(), rel=0.1)


def test_objects_and_light_are_read_and_gradients_flow(grammar: Grammar) -> None:
    readout = wide_readout(grammar, (1, 2))
    rng = np.random.default_rng(2)
    scenes = [grammar.sample(rng) for _ in range(1500)]
    images, masks = drawn(scenes)
    labels = label_cells(readout, scenes, masks)
    network = DenseFeatures(readout.column_kinds, (SIZE_PX, SIZE_PX), torch.Generator().manual_seed(0))
    network.fit(images[:1300], labels.chosen(np.arange(1300)), 10, torch.Generator().manual_seed(1))
    assert network.shown.tolist() == [True, False, True]
    read = readout.numbers(features_of(network, images[1300:]))
    truth = readout.numbers(torch.from_numpy(labels.means[1300:]))
    names = [f"{kind}.{spec.name}" for kind, spec in readout.encoding.mutable]
    for place, name in enumerate(names):
        if name == "right.yaw":
            errors = np.deg2rad(read[:, place] - truth[:, place])
            assert np.cos(errors).mean() > 0.9
        else:
            assert np.corrcoef(read[:, place], truth[:, place])[0, 1] > 0.9, name

    image = to_tensor(images[:1]).double().requires_grad_()
    network.double()
    network(image).sum().backward()
    assert image.grad is not None
    step = torch.zeros_like(image)
    step[0, 0, 15, 20] = 1e-5
    with torch.no_grad():
        difference = (network(image + step).sum() - network(image - step).sum()) / 2e-5
    assert image.grad[0, 0, 15, 20].item() == pytest.approx(difference.item(), rel=1e-3, abs=1e-6)


def test_another_scale_says_the_same(grammar: Grammar) -> None:
    encoding = Encoding(grammar)
    rng = np.random.default_rng(0)
    window = Window.around(encoding, [grammar.sample(rng) for _ in range(200)])
    before = Readout.of(encoding, window, (1, 2))
    after = Readout.of(encoding, Window(window.centre + 0.5, window.half_width * 0.3), (1, 2))
    network = DenseFeatures(before.column_kinds, (SIZE_PX, SIZE_PX), torch.Generator().manual_seed(0))
    images = np.random.default_rng(1).integers(0, 255, (3, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    said = [before.numbers(features_of(network, images), multiple) for multiple in (1, 2)]
    network.rescale(before, after)
    for multiple in (1, 2):
        found = after.numbers(features_of(network, images), multiple)
        assert found == pytest.approx(said[multiple - 1], rel=1e-4, abs=1e-4)


def test_it_is_kept_and_opened_again(grammar: Grammar) -> None:
    readout = wide_readout(grammar, (1, 2))
    network = DenseFeatures(readout.column_kinds, (SIZE_PX, 2 * SIZE_PX), torch.Generator().manual_seed(3))
    network.shown[2] = False
    again = learned_features(network.plan(), network.state_dict())
    images = np.random.default_rng(1).integers(0, 255, (3, SIZE_PX, 2 * SIZE_PX, 3), dtype=np.uint8)
    assert torch.equal(features_of(again, images), features_of(network, images))
    assert not any(parameter.requires_grad for parameter in again.parameters())
    with pytest.raises(InputError, match="an older version of metasim made this run"):
        learned_features(None, network.state_dict())
    fewer = {name: weight for name, weight in network.state_dict().items() if name != "whole.bias"}
    with pytest.raises(InputError, match="an older version of metasim made this run"):
        learned_features(network.plan(), fewer)
