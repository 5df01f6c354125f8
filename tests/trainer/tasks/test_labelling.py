"""Labelled images for task networks, and how an experiment's network is opened."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from metasim.v1 import render_pb2 as pb
from support.grammars import SPRITES, write_sprites
from support.worlds import sampled

from trainer.errors import GrammarError, InputError
from trainer.experiments import load_experiment
from trainer.grammar import SceneGraph, load_grammar, schema
from trainer.rendering import Frame, Renderer
from trainer.tasks import TASKS, open_task
from trainer.tasks.classifier import DigitClassifier
from trainer.tasks.labelling import labelled

#: Two kinds of things, one of them behind a probability.
TWO = SPRITES.replace("scene: [camera, thing]", "  other: {class: other, sprite: shapes, width: 8, height: 8}\n") + (
    "scene: [camera, {kind: {thing: 0.5, other: 0.5}}]\n"
)
EMPTY = Frame({})


class Recorded(Renderer):
    """Images whose pixels are the seed that each is rendered with."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, tuple[int, ...]]] = []

    def render(self, scenes: Sequence[SceneGraph], seed: int, outputs: Sequence[int] = ()) -> list[Frame]:
        self.asked.append((len(scenes), seed, tuple(outputs)))
        return [Frame({pb.OUTPUT_IMAGE_U8: np.full((2, 3, 3), seed + i, np.uint8)}) for i in range(len(scenes))]


def test_scenes_become_images_and_labels_whatever_the_chunks(tmp_path: Path) -> None:
    scenes = sampled(load_grammar(write_sprites(tmp_path, TWO)), 10)
    task = DigitClassifier()
    task.outputs = (pb.OUTPUT_CLASS_MASK,)
    renderer, done = Recorded(), []
    images, labels = labelled(renderer, task, iter(scenes), 7, done.append, chunk=4)
    outputs = (pb.OUTPUT_IMAGE_U8, pb.OUTPUT_CLASS_MASK)
    assert renderer.asked == [(4, 7, outputs), (4, 11, outputs), (2, 15, outputs)]
    assert (images.shape, images[:, 0, 0, 0].tolist()) == ((10, 2, 3, 3), list(range(7, 17)))
    assert labels == [["other", "thing"].index(scene.nodes[1].class_name) for scene in scenes]
    assert set(labels) == {0, 1}
    assert done == [4, 8, 10]


def test_no_scenes_are_an_error() -> None:
    with pytest.raises(InputError, match=r"^there are no scenes to render for classification; at least one is needed$"):
        labelled(Recorded(), DigitClassifier(), [], 0)


@pytest.mark.parametrize("count", [0, 2])
def test_classification_needs_one_object(tmp_path: Path, count: int) -> None:
    text = SPRITES.replace("thing]", f"{{kind: thing, count: {count}}}]")
    scene = sampled(load_grammar(write_sprites(tmp_path, text)), 1)[0]
    with pytest.raises(
        InputError, match=rf"^a scene has {count} nodes with a class; classification needs exactly one$"
    ):
        DigitClassifier().label(scene, EMPTY)


@pytest.mark.parametrize("task", sorted(set(TASKS) - {"detection-mask-rcnn"}))  # That one needs torchvision
def test_an_experiment_names_its_task(tmp_path: Path, task: str) -> None:
    text = TWO.replace("class: other", "class: car") + f"task: {task}\n"
    experiment = load_experiment(write_sprites(tmp_path, text))
    full, quick = open_task(experiment), open_task(experiment, budget="quick")
    assert full.name == quick.name
    assert full.train_images >= quick.train_images


def test_classification_is_the_default_and_other_tasks_are_named(tmp_path: Path) -> None:
    network = open_task(load_experiment(write_sprites(tmp_path, TWO)))
    assert isinstance(network, DigitClassifier)
    assert network.settings.classes == 2
    names = get_args(schema.WorldFile.model_fields["task"].annotation)
    assert sorted(names) == sorted(TASKS)
    with pytest.raises(GrammarError, match=r"world.yaml:17: task is 'sleeping'; it must be 'classification', '"):
        load_experiment(write_sprites(tmp_path, TWO + "task: sleeping\n"))
