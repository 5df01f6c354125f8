"""The labelled images that an evaluation needs: rendered ones, and those of the target."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from trainer.datasets.fitting import chosen
from trainer.errors import InputError
from trainer.experiments import Labelling, Target
from trainer.grammar import Grammar, SceneGraph
from trainer.metrics.scene_distances import TEST
from trainer.progress import Progress
from trainer.randomness import Purpose, generator, integer
from trainer.rendering import Renderer
from trainer.tasks import TaskNetwork
from trainer.tasks.labelling import labelled

#: The data set V, beside those of `trainer.metrics.scene_distances`.
V = 5
_CHUNK = 512  # Scenes that are rendered at a time


@dataclass(frozen=True)
class TargetImages:
    """Images of the target, uint8 [N, H, W, 3], and their labels; None: there are none, and `unlabelled` says why."""

    images: np.ndarray
    labels: list[Any] | None
    unlabelled: str = ""


@dataclass(frozen=True)
class DataSets:
    """Renders data sets."""

    grammar: Grammar
    renderer: Renderer
    network: TaskNetwork[Any, Any]
    seed: int
    progress: Progress

    def of(self, grammar: Grammar) -> "DataSets":
        """The same of another grammar."""
        return replace(self, grammar=grammar, renderer=Renderer(self.renderer.pool, grammar))

    def labelled(self, of: str, scenes: Iterable[SceneGraph], count: int, purpose: int) -> tuple[np.ndarray, list[Any]]:
        """Images and labels of `count` scenes."""
        advance = self.progress.step(f"render {of}")
        return labelled(
            self.renderer,
            self.network,
            scenes,
            integer(self.seed, Purpose.EVALUATION, purpose),
            lambda done: advance(done, count),
        )

    def images(self, of: str, scenes: Iterable[SceneGraph], count: int, purpose: int) -> np.ndarray:
        """Images alone."""
        advance = self.progress.step(f"render {of}")
        noise = integer(self.seed, Purpose.EVALUATION, purpose)
        source, images, done = iter(scenes), [], 0
        while part := list(islice(source, _CHUNK)):
            images.append(self.renderer.images(part, noise + done))
            done += len(part)
            advance(done, count)
        return np.concatenate(images)


def target_images(target: Target, count: int, data: DataSets, spared: int) -> TargetImages:
    """Images of the target that all networks are scored on, without those of V, of which there are `spared`."""
    data.progress.step("read the target")
    for note in target.notes(data.grammar.classes):
        data.progress.note(note)
    rng = generator(data.seed, Purpose.EVALUATION, TEST)
    labelling = _labelling(count, data, "the test images", TEST)
    try:
        return TargetImages(*target.unseen(rng, labelling, count, spared=spared))
    except InputError as error:
        if spared or target.evaluation is not None:
            raise
        data.progress.note(f"{data.network.name} is not scored: {error}")
        images, _ = target.images(
            rng, lambda grammar, scenes: data.of(grammar).images("the test images", scenes, len(scenes), TEST)
        )
        return TargetImages(images[chosen(len(images), count)], None, str(error))


def validation_set(target: Target, count: int, data: DataSets) -> tuple[np.ndarray, list[Any]]:
    """V: labelled images of the target, of a synthetic one the first that the task loss sees."""
    labelling = _labelling(count, data, "labelled images of the target", V)
    return target.labelled(generator(data.seed, Purpose.VALIDATION), labelling, count)


def _labelling(count: int, data: DataSets, of: str, purpose: int) -> Labelling:
    def render(grammar: Grammar, scenes: Iterable[SceneGraph]) -> tuple[np.ndarray, list[Any]]:
        return data.of(grammar).labelled(of, scenes, count, purpose)

    return Labelling(data.network.photo_labels, data.grammar.classes, render, data.network.label_photo)
