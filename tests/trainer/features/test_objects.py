"""The objects that renders show."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.grammars import FLAT, write_sprites
from support.readouts import wide_readout

from trainer.features.objects import LEAST_HEIGHT_PX, label_objects, matched
from trainer.grammar import load_grammar

WORLD = (
    FLAT
    + """\
  box: &box
    sprite: shapes
    width: 6
    height: 6
    x: {uniform: [-1, 1], mutable: true, range: [-1, 1]}
  crate: {<<: *box}
scene: [camera, box, box, crate]
"""
)
HEIGHT_PX, WIDTH_PX = 40, 96


def test_objects_are_what_the_mask_shows(tmp_path: Path) -> None:
    grammar = load_grammar(write_sprites(tmp_path, WORLD))
    readout = wide_readout(grammar)
    scene = grammar.sample(np.random.default_rng(1))
    boxes = [number for number, node in enumerate(scene.nodes) if node.kind == "box"]
    mask = np.zeros((HEIGHT_PX, WIDTH_PX), dtype=np.uint16)
    mask[3:15, 10:30] = boxes[1] + 1
    mask[20 : 20 + LEAST_HEIGHT_PX - 1, :90] = boxes[0] + 1  # Too low
    found = label_objects(readout, ["box"], scene, mask)
    assert found.boxes.tolist() == [[10, 3, 30, 15]]
    assert found.nodes.tolist() == [boxes[1]]
    assert [readout.kinds[kind] for kind in found.kinds] == ["box"]
    assert found.codes[0] == pytest.approx(readout.codes("box", [scene.nodes[boxes[1]]])[0])
    assert not len(label_objects(readout, ["crate"], scene, mask).boxes)


def test_the_nearest_box() -> None:
    found = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10]])
    best, overlap = matched(found, torch.tensor([[100.0, 0, 110, 10], [0, 0, 10, 5], [20, 0, 30, 10]]))
    assert best.tolist() == [1, 2]
    assert overlap.tolist() == pytest.approx([0.5, 1.0])
    assert matched(found, torch.zeros(0, 4))[1].tolist() == [-1, -1]
