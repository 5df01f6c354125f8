"""Evaluation: is data from the learned model worth more than data from the prior (paper, tables 1 to 3)?

The task network is trained from scratch on each of the two, and both are scored on the same fresh target images, which
neither training nor the distribution matching has seen.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.distances import wasserstein
from trainer.errors import InputError
from trainer.grammar import Grammar, SceneGraph
from trainer.loading import open_run
from trainer.model.drawing import transformed
from trainer.model.transformer import DistributionTransformer
from trainer.pool import PoolSettings, open_pool
from trainer.progress import Progress, Silent
from trainer.randomness import Purpose, generator, integer
from trainer.rendering import Renderer
from trainer.run import Json
from trainer.statistics import attribute_statistics
from trainer.tasks import open_task
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
    """Scores the task network trained on prior and on learned data; also writes the scores into summary.json.

    Raises:
        InputError: the run cannot be opened, or its experiment has no synthetic target to test on.
    """
    progress = progress or Silent()
    began_s = time.monotonic()
    loaded = open_run(options.run, mnist=options.mnist)
    experiment, seed = loaded.experiment, loaded.config.seed
    for note in experiment.notes:
        progress.note(note)
    if experiment.target is None:
        raise InputError(f"{experiment.path} has no target, so there is nothing to evaluate on")
    test = experiment.target.evaluation
    torch.set_num_threads(loaded.settings.threads)
    network = open_task(experiment)
    train_images = options.train_images or network.train_images
    scores = {}
    with open_pool(
        options.renderer,
        assets=experiment.asset_source,
        engine=options.engine or loaded.config.engine,
        workers=options.workers,
        settings=options.pool,
    ) as pool:

        def data(
            of: str, grammar: Grammar, count: int, purpose: int, transformer: DistributionTransformer | None = None
        ) -> tuple[np.ndarray, list[Any]]:
            advance = progress.stage(f"render {of}")
            return labelled(
                Renderer(pool, grammar),
                network,
                scenes_of(grammar, count, generator(seed, Purpose.EVALUATION, purpose), transformer),
                integer(seed, Purpose.EVALUATION, purpose),
                lambda done: advance(done, count),
            )

        test_images, test_labels = data("the test images", test, options.test_images, _TEST)
        for name, purpose, transformer in (("prior", _PRIOR, None), ("learned", _LEARNED, loaded.transformer)):
            images, labels = data(f"{name} data", experiment.grammar, train_images, purpose, transformer)
            model = network.train(
                images,
                labels,
                integer(seed, Purpose.TASK_NETWORK, purpose),
                progress.stage(f"train the {network.name} on {name} data"),
            )
            scores[name] = network.score(model, test_images, test_labels)
            progress.figures(**{scores[name].primary: scores[name].value})
    progress.stop()
    evaluation: Json = {
        "task": network.name,
        "metric": scores["prior"].primary,
        **{name: score.value for name, score in scores.items()},
        "scores": {name: dict(score.values) for name, score in scores.items()},
        "distances": attribute_distances(experiment.grammar, test, loaded.transformer, seed),
        "train_images": train_images,
        "test_images": options.test_images,
        "seconds": time.monotonic() - began_s,
    }
    loaded.run.update_summary({"evaluation": evaluation})
    return evaluation


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
