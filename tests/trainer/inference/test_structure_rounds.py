"""The structure found from painted images of a world whose things come in two kinds."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.grammars import FLAT, write_sprites

from trainer.grammar import SceneGraph, load_grammar
from trainer.grammar.productions import Structure
from trainer.inference.count_channels import Channel
from trainer.inference.count_reader import density_of
from trainer.inference.problem import Problem
from trainer.inference.structure_rounds import StructureRounds
from trainer.inference.training_settings import TrainingSettings

SIZE_PX = 32
WORLD = (
    FLAT
    + """\
  disc: &thing {class: disc, sprite: shapes, width: 8, height: 8, x: {uniform: [-12, 12]}, y: {uniform: [-12, 12]}}
  star: {<<: *thing, class: star}
scene:
  - camera
  - {kind: {disc: 0.5, star: 0.5}, mutable: true, count: {integers: [0, 4], mutable: true}}
"""
)
TRUTH = Structure({"scene.1.count": (0.05, 0.05, 0.1, 0.3, 0.5), "scene.1.kind": (0.8, 0.2)})


@dataclass(frozen=True)
class Dotted(Problem):
    """Scenes as red and green dots."""

    def masked(self, scenes: Sequence[SceneGraph], *_: Any) -> tuple[np.ndarray, list[np.ndarray]]:
        """See `dotted`."""
        return dotted(scenes)


def dotted(scenes):
    """Images uint8 [N, SIZE_PX, SIZE_PX, 3] and instance masks; later dots hide earlier ones."""
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX] - (SIZE_PX - 1) / 2
    images = np.full((len(scenes), SIZE_PX, SIZE_PX, 3), 30, dtype=np.uint8)
    masks = []
    for image, scene in zip(images, scenes, strict=True):
        mask = np.zeros((SIZE_PX, SIZE_PX), dtype=np.int64)
        for number, node in enumerate(scene.nodes, 1):
            if node.kind in ("disc", "star"):
                inside = (x - node.values["x"]) ** 2 + (y + node.values["y"]) ** 2 < 3.0**2
                mask[inside] = number
                image[inside] = (220, 60, 60) if node.kind == "disc" else (60, 220, 60)
        masks.append(mask)
    return images, masks


@pytest.fixture
def problem(tmp_path):
    torch.set_num_threads(1)
    grammar = load_grammar(write_sprites(tmp_path, WORLD))
    rng = np.random.default_rng(1)
    target = grammar.with_structure(TRUTH)
    images, _ = dotted([target.sample(rng) for _ in range(400)])
    settings = TrainingSettings.parse({"inference": {"simulations": 700}})
    renderer: Any = SimpleNamespace(settings=SimpleNamespace(width_px=SIZE_PX, height_px=SIZE_PX))
    return Dotted(grammar, settings, 0, renderer, images)


def test_counts_and_kinds_are_read_off_images(problem):
    rounds = StructureRounds(problem)
    fit = rounds.run()
    count, kind = problem.grammar.productions
    assert count.moments(fit.structure.probabilities[count.name])[0] == pytest.approx(3.15, rel=0.08)
    assert fit.structure.probabilities[kind.name][0] == pytest.approx(0.8, abs=0.06)
    assert fit.errors[kind.name][0] == pytest.approx(np.sqrt(0.16 / (400 * 3.15)), rel=0.8)
    again = StructureRounds(problem).run()
    assert again == fit


def test_detections_are_a_second_reading_of_their_channel(problem):
    rounds = StructureRounds(problem)
    images = problem.target[:3]
    detected = np.array([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0]])
    kinds = [SimpleNamespace(kind="star"), SimpleNamespace(kind="tree")]
    rounds._objects = SimpleNamespace(kinds=kinds, counts=lambda _: detected)  # type: ignore[assignment]
    channels, readings = rounds._read(images)
    assert [rounds.channels[each].kind for each in channels] == ["disc", "star", "star"]
    assert (readings[:, :2] == rounds.reader.read(images)).all()
    assert (readings[:, 2] == [1, 2, 3]).all()


def test_density_counts_visible_nodes(problem):
    rng = np.random.default_rng(0)
    scenes = [problem.grammar.sample(rng) for _ in range(20)]
    _, masks = dotted(scenes)
    density = density_of(scenes, masks, (Channel("disc"), Channel("star"))).astype(float).sum((2, 3))
    for row, scene, mask in zip(density, scenes, masks, strict=True):
        shown = [scene.nodes[number - 1].kind for number in np.unique(mask) if number]
        assert row == pytest.approx([shown.count("disc"), shown.count("star")], abs=0.01)
