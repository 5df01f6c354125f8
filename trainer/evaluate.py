"""Evaluation: is data from the learned model worth more than data from the prior (paper, tables 1 to 3)?

The task network is trained from scratch on each of the two, and both are scored on the same target images. Those of a
synthetic target are fresh: neither training nor the distribution matching has seen them. Real images are those that the
run has learned from; no loss but the task loss has seen labels of them.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.data.datasets.fitting import chosen
from trainer.distances import wasserstein
from trainer.errors import InputError
from trainer.grammar import Experiment, Grammar, SceneGraph
from trainer.image_distances import MOST_IMAGES, feature_space, image_distances
from trainer.loading import open_run
from trainer.model.drawing import transformed
from trainer.model.transformer import DistributionTransformer
from trainer.pool import PoolSettings, open_pool
from trainer.progress import Progress, Silent
from trainer.randomness import Purpose, generator, integer
from trainer.rendering import Renderer
from trainer.run import Json
from trainer.statistics import attribute_statistics
from trainer.tasks import TaskNetwork, open_task
from trainer.tasks.labelling import labelled

#: Which data set a random stream is for.
_PRIOR, _LEARNED, _TEST = 1, 2, 3
_CHUNK = 512  # Scenes that are changed at a time
#: Scenes whose attributes are compared with the target's.
_COMPARED = 2_000


@dataclass(frozen=True)
class EvaluateOptions:
    """What `metasim evaluate` takes."""

    run: Path
    renderer: str = "local"
    engine: str | None = None  # None: the run's
    workers: int | None = None
    mnist: Path | None = None
    #: Images that each task network is trained on (None: as many as the task takes), and that both are tested on.
    train_images: int | None = None
    test_images: int = 5_000
    pool: PoolSettings | None = None


def evaluate(options: EvaluateOptions, progress: Progress | None = None) -> Json:
    """Scores the task network trained on prior and on learned data, and compares both with the target.

    All of it also goes into summary.json. Where the target's images have no labels for the task, there are no scores,
    and `not_scored` says why.

    Raises:
        InputError: the run cannot be opened, its experiment has no target, or the target cannot be read.
    """
    progress = progress or Silent()
    began_s = time.monotonic()
    loaded = open_run(options.run, mnist=options.mnist)
    experiment, seed = loaded.experiment, loaded.config.seed
    for note in experiment.notes:
        progress.note(note)
    if experiment.target is None and experiment.photos is None:
        raise InputError(f"{experiment.path} has no target, so there is nothing to evaluate on")
    torch.set_num_threads(loaded.settings.threads)
    network = open_task(experiment)
    with open_pool(
        options.renderer,
        assets=experiment.asset_source,
        engine=options.engine or loaded.config.engine,
        workers=options.workers,
        settings=options.pool,
    ) as pool:
        data = _Data(Renderer(pool, experiment.grammar), network, seed, progress)
        test = _test_set(experiment, options.test_images, data)
        count = min(options.test_images, MOST_IMAGES)
        if test.labels is not None:
            count = options.train_images or network.train_images
        images, scores = {}, {}
        for name, purpose, transformer in (("prior", _PRIOR, None), ("learned", _LEARNED, loaded.transformer)):
            scenes = scenes_of(experiment.grammar, count, generator(seed, Purpose.EVALUATION, purpose), transformer)
            if test.labels is None:
                images[name] = data.images(f"{name} data", scenes, count, purpose)
                continue
            images[name], labels = data.labelled(f"{name} data", scenes, count, purpose)
            model = network.train(
                images[name],
                labels,
                integer(seed, Purpose.TASK_NETWORK, purpose),
                progress.stage(f"train the {network.name} on {name} data"),
            )
            scores[name] = network.score(model, test.images, test.labels)
            progress.figures(**{scores[name].primary: scores[name].value})
            images[name] = images[name][:MOST_IMAGES]
    progress.stage("compare with the target")
    evaluation: Json = {
        "task": network.name,
        "test_images": len(test.images),
        "unseen": experiment.target is not None,
    }
    if scores:
        evaluation |= {
            "metric": scores["prior"].primary,
            **{name: score.value for name, score in scores.items()},
            "scores": {name: dict(score.values) for name, score in scores.items()},
            "train_images": count,
        }
    else:
        evaluation["not_scored"] = test.unlabelled
    if experiment.target is not None:
        target = experiment.target.evaluation
        evaluation["distances"] = attribute_distances(experiment.grammar, target, loaded.transformer, seed)
    evaluation["image_distances"] = image_distances(feature_space(loaded), images, test.images, seed)
    evaluation["seconds"] = time.monotonic() - began_s
    progress.stop()
    loaded.run.update_summary({"evaluation": evaluation})
    return evaluation


@dataclass(frozen=True)
class _Test:
    """Images of the target, uint8 [N, H, W, 3], and their labels; None: there are none, and `unlabelled` says why."""

    images: np.ndarray
    labels: list[Any] | None
    unlabelled: str = ""


@dataclass(frozen=True)
class _Data:
    """Renders data sets."""

    renderer: Renderer
    network: TaskNetwork[Any, Any]
    seed: int
    progress: Progress

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


def _test_set(experiment: Experiment, count: int, data: _Data) -> _Test:
    """Images of the target that both networks are scored on."""
    if experiment.target is not None:
        grammar = experiment.target.evaluation
        scenes = scenes_of(grammar, count, generator(data.seed, Purpose.EVALUATION, _TEST))
        of_target = replace(data, renderer=Renderer(data.renderer.pool, grammar))
        return _Test(*of_target.labelled("the test images", scenes, count, _TEST))
    if experiment.photos is None:
        raise InputError(f"{experiment.path} has no target")
    data.progress.stage("read the target")
    images = experiment.photos.images
    try:
        return _Test(*experiment.photos.labelled(experiment.task, experiment.grammar.classes, count))
    except InputError as error:
        data.progress.note(f"{experiment.task} is not scored: {error}")
        return _Test(images[chosen(len(images), count)], None, str(error))


def scenes_of(
    grammar: Grammar, count: int, rng: np.random.Generator, transformer: DistributionTransformer | None = None
) -> Iterator[SceneGraph]:
    """Scenes of a grammar, changed by a transformer if given; sampled as they are taken."""
    for first in range(0, count, _CHUNK):
        scenes = [grammar.sample(rng) for _ in range(min(_CHUNK, count - first))]
        yield from scenes if transformer is None else transformed(transformer, scenes)


def attribute_distances(grammar: Grammar, target: Grammar, transformer: DistributionTransformer, seed: int) -> Json:
    """How far the prior's and the learned attributes are from the target's, with the unit, by "kind.name".

    These are Wasserstein-1 distances, on the circle for angles. Attributes are those of the parent's frame: the yaw of
    a car on a road is relative to the road.
    """
    values = {}
    for of, world, purpose, changed in (
        ("prior", grammar, _PRIOR, None),
        ("learned", grammar, _LEARNED, transformer),
        ("target", target, _TEST, None),
    ):
        scenes = list(scenes_of(world, _COMPARED, generator(seed, Purpose.EVALUATION, purpose), changed))
        values[of] = {f"{item.kind}.{item.name}": item for item in attribute_statistics(transformer.encoding, scenes)}
    distances: Json = {}
    for name, item in values["target"].items():
        period = 360.0 if item.is_angle else None
        distances[name] = {
            of: wasserstein(np.array(values[of][name].values), np.array(item.values), period)
            for of in ("prior", "learned")
        } | {"unit": item.unit}
    return distances
