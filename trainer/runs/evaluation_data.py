"""The labelled images that an evaluation needs: rendered ones, and those of the target."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from trainer.datasets.fitting import chosen
from trainer.errors import InputError
from trainer.experiments import Experiment
from trainer.experiments.experiment import ImageTarget
from trainer.grammar import Grammar, SceneGraph
from trainer.metrics.scene_distances import TEST, scenes_of
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
        advance = self.progress.stage(f"render {of}")
        return labelled(
            self.renderer,
            self.network,
            scenes,
            integer(self.seed, Purpose.EVALUATION, purpose),
            lambda done: advance(done, count),
        )

    def images(self, of: str, scenes: Iterable[SceneGraph], count: int, purpose: int) -> np.ndarray:
        """Images alone."""
        advance = self.progress.stage(f"render {of}")
        noise = integer(self.seed, Purpose.EVALUATION, purpose)
        source, images, done = iter(scenes), [], 0
        while part := list(islice(source, _CHUNK)):
            images.append(self.renderer.images(part, noise + done))
            done += len(part)
            advance(done, count)
        return np.concatenate(images)


def target_images(experiment: Experiment, count: int, data: DataSets, spared: int) -> TargetImages:
    """Images of the target that all networks are scored on, without those of V, of which there are `spared`."""
    if experiment.target is not None:
        grammar = experiment.target.evaluation
        scenes = scenes_of(grammar, count, generator(data.seed, Purpose.EVALUATION, TEST))
        return TargetImages(*data.of(grammar).labelled("the test images", scenes, count, TEST))
    photos = _photos(experiment)
    data.progress.stage("read the target")
    try:
        return TargetImages(*photos.labelled(experiment.task, experiment.grammar.classes, count, spared=spared))
    except InputError as error:
        if spared:
            raise
        data.progress.note(f"{experiment.task} is not scored: {error}")
        return TargetImages(photos.images[chosen(len(photos.images), count)], None, str(error))


def validation_set(experiment: Experiment, count: int, data: DataSets) -> tuple[np.ndarray, list[Any]]:
    """V: labelled images of the target, of a synthetic one the first that the task loss sees."""
    if experiment.target is None:
        return _photos(experiment).labelled(experiment.task, experiment.grammar.classes, count)
    grammar = experiment.target.grammar
    scenes = scenes_of(grammar, count, generator(data.seed, Purpose.VALIDATION))
    return data.of(grammar).labelled("labelled images of the target", scenes, count, V)


def _photos(experiment: Experiment) -> ImageTarget:
    if experiment.photos is None:
        raise InputError(f"{experiment.path} has no target")
    return experiment.photos
