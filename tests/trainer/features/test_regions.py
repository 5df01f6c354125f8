"""Features read object by object."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.grammars import FLAT, write_sprites
from support.readouts import wide_readout

from trainer.features import features_of, to_tensor
from trainer.features.learned import learned_features
from trainer.features.objects import Objects
from trainer.features.readout import Readout, Window
from trainer.features.regions import REACH, RegionFeatures, Sightings
from trainer.grammar import Grammar, SceneGraph, load_grammar
from trainer.inference.sightings import read_renders, read_target
from trainer.model.encoding import Encoding

WORLD = (
    FLAT
    + """\
  box: &box # its bar goes from one side to the other as x says
    sprite: shapes
    width: 6
    height: 6
    x: {uniform: [-1, 1], mutable: true, range: [-1, 1]}
  crate: {<<: *box}
  light: # without pixels; here its height is the image's brightness
    z: {uniform: [0, 1], mutable: true, range: [0, 1]}
scene: [camera, box, box, crate, light]
"""
)
HEIGHT_PX, WIDTH_PX = 40, 96


@pytest.fixture
def grammar(tmp_path: Path) -> Grammar:
    return load_grammar(write_sprites(tmp_path, WORLD))


def network_of(readout: Readout, seed: int = 0) -> RegionFeatures:
    regions = [readout.kinds.index(kind) for kind in ("box", "crate")]
    return RegionFeatures(readout.column_kinds, (HEIGHT_PX, WIDTH_PX), torch.Generator().manual_seed(seed), regions)


def drawn(scenes: list[SceneGraph], seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Each thing in a slot of its own, of any size and place there; the bar in it says where its x is."""
    rng = np.random.default_rng(seed)
    images, masks = [], []
    for scene in scenes:
        light = next(node for node in scene.nodes if node.kind == "light").values["z"]
        image = 20 + 60 * light + rng.normal(0, 4, (HEIGHT_PX, WIDTH_PX))
        mask = np.zeros((HEIGHT_PX, WIDTH_PX), dtype=np.uint16)
        things = [number for number, node in enumerate(scene.nodes) if node.kind in ("box", "crate")]
        for number, slot in zip(things, rng.permutation(3), strict=True):
            side = int(rng.integers(10, 25))
            left, top = 32 * slot + int(rng.integers(0, 33 - side)), int(rng.integers(0, HEIGHT_PX - side))
            image[top : top + side, left : left + side] = 220 if scene.nodes[number].kind == "box" else 150
            middle = left + side * (0.5 + 0.35 * scene.nodes[number].values["x"])
            across = np.clip(1 - np.abs(np.arange(left, left + side) + 0.5 - middle) / (0.1 * side), 0, 1)
            image[top : top + side, left : left + side] -= 100 * across
            mask[top : top + side, left : left + side] = number + 1
        images.append(np.clip(image, 0, 255).astype(np.uint8))
        masks.append(mask)
    return np.repeat(np.stack(images)[..., None], 3, axis=3), masks


def test_objects_are_found_told_apart_and_read(grammar: Grammar) -> None:
    readout = wide_readout(grammar)
    rng = np.random.default_rng(2)
    scenes = [grammar.sample(rng) for _ in range(500)]
    images, masks = drawn(scenes, 3)
    network = network_of(readout)
    labels = network.label(readout, scenes, masks)
    network.fit(images[:400], labels.chosen(np.arange(400)), 16, torch.Generator().manual_seed(1))

    class Rendered:
        def masked(self, *_: Any) -> tuple[np.ndarray, list[np.ndarray]]:
            return images[400:], masks[400:]

    problem: Any = Rendered()
    known = read_renders(problem, network, readout, scenes[400:], 0, "")
    names = [f"{kind}.{spec.name}" for kind, spec in readout.encoding.mutable]
    for kind, count in (("box", 200), ("crate", 100)):
        place = names.index(f"{kind}.x")
        right = known[kind].modes == 0
        assert right.sum() > 0.8 * count
        assert np.corrcoef(known[kind].truth[right, place], known[kind].read[right, place])[0, 1] > 0.9
    assert len(known["light"].read) == 100
    assert len(read_target(network, readout, images[400:])["box"]) == len(known["box"].read)

    # The image's features are the means over its objects, and of the squares.
    features = features_of(network, images[400:])
    place = names.index("box.x")
    truth = np.array([[node.values["x"] for node in scene.nodes if node.kind == "box"] for scene in scenes[400:]])
    said = network.said(images[400:])
    assert np.corrcoef(readout.numbers(said)[:, place], truth.mean(1))[0, 1] > 0.85
    own = readout.column_kinds.index(readout.kinds.index("box"))
    squares = features[:, len(readout.column_kinds) + network._columns.index(own)].numpy()
    assert np.corrcoef(squares, (truth**2).mean(1))[0, 1] > 0.8

    # They are deviations from the middle, in standard deviations. A small network sees a little in an empty image:
    # 0.002 and 0.07 with one and with two threads.
    assert features[:, : said.shape[1]].numpy() == pytest.approx((said - network.middle).clamp(-REACH, REACH), abs=1e-5)
    nothing = features_of(network, np.full_like(images[:1], 20))[0]
    for kind in ("box", "crate"):
        columns = [i for i, number in enumerate(readout.column_kinds) if readout.kinds[number] == kind]
        assert nothing[columns].numpy() == pytest.approx(0, abs=0.25)
    assert nothing[said.shape[1] :].numpy() == pytest.approx(0, abs=0.25)

    # Gradients flow through what is shown in the regions; where these are is fixed.
    image = to_tensor(images[400:401]).requires_grad_()
    network(image)[:, len(readout.column_kinds) :].sum().backward()
    assert image.grad is not None
    row, at = (masks[400] > 0).nonzero()
    assert image.grad[0, :, row, at].abs().max() > 0

    again = learned_features(network.plan(), network.state_dict())
    assert torch.equal(features_of(again, images[400:]), features)


def test_another_scale_says_the_same(grammar: Grammar) -> None:
    encoding = Encoding(grammar)
    rng = np.random.default_rng(0)
    window = Window.around(encoding, [grammar.sample(rng) for _ in range(200)])
    before = Readout.of(encoding, window)
    after = Readout.of(encoding, Window(window.centre + 0.5, window.half_width * 0.3))
    network = network_of(before)
    images = to_tensor(np.random.default_rng(1).integers(0, 255, (2, HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8))
    boxes, at = torch.tensor([[3.0, 2, 20, 17], [50, 5, 80, 33]]), torch.tensor([0, 1])
    columns = torch.tensor([before.kinds[kind] != "light" for kind in before.column_kinds])
    said = []
    for readout in (before, after):
        with torch.no_grad():
            values = network._read(images, torch.zeros(2, len(before.column_kinds)), at, boxes)[1]
        every = torch.zeros(2, len(before.column_kinds))
        every[:, columns] = values
        said.append(readout.numbers(every)[:, [kind != "light" for kind, _ in encoding.mutable]])
        network.rescale(before, after)
    assert said[1] == pytest.approx(said[0], rel=1e-4, abs=1e-4)


def test_only_sure_objects_count_and_those_of_another_kind_are_marked(grammar: Grammar) -> None:
    """Four sightings: a sure box, an unsure one, a crate that is taken for a box, and nothing that is."""
    readout = wide_readout(grammar)
    scene = grammar.sample(np.random.default_rng(1))
    box, other, crate = (number for number, node in enumerate(scene.nodes) if node.kind in ("box", "crate"))
    number_of = {kind: readout.kinds.index(kind) for kind in ("box", "crate")}
    spots = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], dtype=np.float32)
    kinds = [number_of["box"], number_of["box"], number_of["crate"]]
    nodes = [box, other, crate]
    codes = np.stack([readout.codes(scene.nodes[node].kind, [scene.nodes[node]])[0] for node in nodes])

    class Looked(RegionFeatures):
        def look(self, images: np.ndarray, batch: int = 64) -> Sightings:  # noqa: ARG002
            sure, unsure = [0.9, 0.05, 0.05], [0.6, 0.2, 0.2]
            boxes = torch.tensor([*spots.tolist(), [70.0, 20, 80, 30]])
            values = torch.arange(4.0)[:, None].expand(4, len(readout.column_kinds))
            return Sightings(torch.zeros(4, dtype=torch.int64), boxes, torch.tensor([sure, unsure, sure, sure]), values)

        def label(self, *_: Any) -> Any:
            return SimpleNamespace(
                objects=(Objects(spots, np.array(kinds), codes.astype(np.float32), np.array(nodes)),)
            )

        def said(self, images: np.ndarray, batch: int = 64) -> torch.Tensor:  # noqa: ARG002
            return torch.zeros(len(images), len(readout.column_kinds))

    regions = sorted(number_of.values())
    space = Looked(readout.column_kinds, (HEIGHT_PX, WIDTH_PX), torch.Generator(), regions)
    blank = np.zeros((1, HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8)
    problem: Any = SimpleNamespace(masked=lambda *_: (blank, [np.zeros((HEIGHT_PX, WIDTH_PX), dtype=np.uint16)]))
    known = read_renders(problem, space, readout, [scene], 0, "")["box"]
    place = [kind for kind, _ in readout.encoding.mutable].index("box")
    assert known.modes.tolist() == [0, -1, -1]
    assert known.truth[0, place] == pytest.approx(scene.nodes[box].values["x"], rel=1e-5)
    said = np.array([0, 2, 3])
    assert known.read[:, place] == pytest.approx(readout.offsets[place] + said * readout.scales[place])
    assert len(read_target(space, readout, blank)["box"]) == 3
