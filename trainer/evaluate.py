"""Evaluation: is data from the learned model worth more than data from the prior (paper, tables 1 to 3)?

The task network is trained from scratch on each of the two, and both are scored on the same fresh target images, which
neither training nor the distribution matching has seen.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from trainer.errors import InputError
from trainer.grammar import Grammar, SceneGraph
from trainer.learning.learner import transformed
from trainer.loading import open_run
from trainer.model.transformer import DistributionTransformer
from trainer.pool import PoolSettings, open_pool
from trainer.progress import Progress, Silent
from trainer.randomness import Purpose, generator, integer
from trainer.rendering import Renderer
from trainer.run import Json
from trainer.tasks.classifier import ClassifierSettings, DigitClassifier

#: Which data set a random stream is for.
_PRIOR, _LEARNED, _TEST = 1, 2, 3


@dataclass(frozen=True)
class EvaluateOptions:
    """What `metasim evaluate` takes."""

    run: Path
    renderer: str = "local"
    engine: str | None = None  # None: the run's
    workers: int | None = None
    mnist: Path | None = None
    #: Images that each task network is trained on, and images that both are tested on.
    train_images: int = 60_000
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
    torch.set_num_threads(loaded.settings.threads)
    network = DigitClassifier(ClassifierSettings(classes=len(experiment.grammar.classes)))
    scores = {}
    with open_pool(
        options.renderer,
        assets=experiment.asset_source,
        engine=options.engine or loaded.config.engine,
        workers=options.workers,
        settings=options.pool,
    ) as pool:
        test = experiment.target.evaluation
        test_images, test_labels = labelled(
            Renderer(pool, test), test, options.test_images, seed, _TEST, progress, "render the test images"
        )
        renderer = Renderer(pool, experiment.grammar)
        for name, purpose, transformer in (("prior", _PRIOR, None), ("learned", _LEARNED, loaded.transformer)):
            images, labels = labelled(
                renderer,
                experiment.grammar,
                options.train_images,
                seed,
                purpose,
                progress,
                f"render {name} data",
                transformer,
            )
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
        "train_images": options.train_images,
        "test_images": options.test_images,
        "seconds": time.monotonic() - began_s,
    }
    loaded.run.update_summary({"evaluation": evaluation})
    return evaluation


def labelled(
    renderer: Renderer,
    grammar: Grammar,
    count: int,
    seed: int,
    purpose: int,
    progress: Progress,
    stage: str,
    transformer: DistributionTransformer | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [count, H, W, 3] of a grammar's scenes, changed by a transformer if given, and class labels [count].

    Raises:
        InputError: a scene has not exactly one node with a class.
    """
    advance = progress.stage(stage)
    rng = generator(seed, Purpose.EVALUATION, purpose)
    images, labels = [], []
    for first in range(0, count, 512):
        scenes = [grammar.sample(rng) for _ in range(min(512, count - first))]
        labels += [scene_class(grammar, scene) for scene in scenes]
        changed = scenes if transformer is None else transformed(transformer, scenes)
        images.append(renderer.images(changed, integer(seed, Purpose.EVALUATION, purpose, first)))
        advance(first + len(scenes), count)
    return np.concatenate(images), np.array(labels, dtype=np.int64)


def scene_class(grammar: Grammar, scene: SceneGraph) -> int:
    """The class of a scene's one object, as its index in the grammar's classes.

    Raises:
        InputError: the scene has not exactly one node with a class.
    """
    classes = [node.class_name for node in scene.nodes if node.class_name]
    if len(classes) != 1:
        raise InputError(
            f"a scene of {grammar.path} has {len(classes)} nodes with a class; classification needs exactly one"
        )
    return grammar.classes.index(classes[0])
