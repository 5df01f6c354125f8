"""Evaluation: is data from the learned model worth more than data from the prior (paper, tables 1 to 3 and 5)?

The task network is trained from scratch on each of the two, and both are scored on the same target images. Those of a
synthetic target are fresh: neither training nor the distribution matching has seen them. Real images are those that the
run has learned from; no loss but the task loss has seen labels of them.

On request also on what each stage of the training has ended with (table 3), and again after each network has gone on
with labelled images of the target, V (table 5). These are not among those that are tested on.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.device import open_device
from trainer.errors import InputError
from trainer.features.image_distances import MOST_IMAGES, image_distances
from trainer.metrics.layout import Places, layout_distances, places_of_labels, places_of_scenes
from trainer.metrics.scene_distances import LEARNED, PRIOR, attribute_distances, compared_scenes, scenes_of
from trainer.model.transformer import DistributionTransformer
from trainer.pool import PoolOptions, open_pool
from trainer.progress import Progress, Silent
from trainer.randomness import Purpose, generator, integer
from trainer.rendering import Renderer
from trainer.runs.evaluation_data import DataSets, TargetImages, V, target_images, validation_set
from trainer.runs.loading import LoadedRun, feature_space, open_run, open_stages
from trainer.tasks import Scores, open_task


@dataclass(frozen=True)
class EvaluateOptions:
    """What `metasim evaluate` takes."""

    run: Path
    mnist: Path | None = None
    #: Images that each task network is trained on (None: as many as the task takes), and that both are tested on.
    train_images: int | None = None
    test_images: int = 5_000
    #: Networks that are trained on the same images, with random numbers of their own; their scores are averaged.
    networks: int = 1
    #: Scores what each stage of the training has ended with, too.
    stages: bool = False
    #: Scores each network again after it has gone on with so many labelled images of the target.
    fine_tune: int | None = None
    #: Of the task networks: auto, cpu, cuda or mps.
    device: str = "auto"
    pool: PoolOptions = field(default_factory=PoolOptions)


def evaluate(options: EvaluateOptions, progress: Progress | None = None) -> dict[str, Any]:
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
    for note in loaded.notes:
        progress.note(note)
    target = experiment.target
    if target is None:
        raise InputError(f"{experiment.path} has no target, so there is nothing to evaluate on")
    torch.set_num_threads(loaded.settings.threads)
    network = open_task(experiment, device=open_device(options.device))
    models = _models(loaded, stages=options.stages)
    with open_pool(options.pool.with_default_engine(loaded.config.engine), assets=experiment.asset_source) as pool:
        progress.watch(pool)
        data = DataSets(experiment.grammar, Renderer(pool, experiment.grammar), network, seed, progress)
        test = target_images(target, options.test_images, data, spared=options.fine_tune or 0)
        count = min(options.test_images, MOST_IMAGES)
        if test.labels is not None:
            count = options.train_images or network.train_images
        tuning = None
        if options.fine_tune and test.labels is not None:
            tuning = _Tuning(*validation_set(target, options.fine_tune, data), test, data)
        found = _measured(models, count, options.networks, data, test, tuning)
    progress.step("compare with the target")
    evaluation: dict[str, Any] = {
        "task": network.name,
        "test_images": len(test.images),
        "unseen": target.evaluation is not None,
    }
    if found.scores:
        metric, every = found.scores["prior"][0].primary, summaries(found.scores, ("prior", "learned"))
        evaluation |= {
            "metric": metric,
            **{name: scores[metric] for name, scores in every["scores"].items()},
            **every,
            "train_images": count,
            "networks": options.networks,
        }
    else:
        evaluation["not_scored"] = test.unlabelled
    if found.tuned:
        evaluation["fine_tuned"] = {
            "images": options.fine_tune,
            **summaries(found.tuned, ("target", "prior", "learned")),
        }
    if target.evaluation is not None:
        scenes = compared_scenes(experiment.grammar, target.evaluation, loaded.transformer, seed)
        evaluation["distances"] = attribute_distances(loaded.transformer.encoding, scenes)
        settings = experiment.grammar.render_settings()
        places = {of: places_of_scenes(each, settings) for of, each in scenes.items()}
    else:
        places = found.places | {"target": places_of_labels(test.labels or ())}
    layout = layout_distances({of: places.get(of, {}) for of in ("prior", "learned")}, places["target"])
    if layout:
        evaluation["layout"] = layout
    apart = image_distances(feature_space(loaded), found.images, test.images, seed)
    if options.stages:
        evaluation["stages"] = [
            {"name": model.title, "image_distances": apart[name], **found.scores_of(name)}
            for name, model in models.items()
            if model.transformer is not None
        ]
    evaluation["image_distances"] = {name: item for name, item in apart.items() if not name.isdigit()}
    evaluation["seconds"] = time.monotonic() - began_s
    progress.stop()
    loaded.run.update_summary({"evaluation": evaluation})
    return evaluation


@dataclass(frozen=True)
class _Model:
    """What makes data; without a transformer it is the prior."""

    title: str
    transformer: DistributionTransformer | None


def _models(loaded: LoadedRun, *, stages: bool) -> dict[str, _Model]:
    """What is compared: "prior", on request earlier stages by their number from 1 on, "learned"."""
    if not stages:
        return {"prior": _Model("prior", None), "learned": _Model("learned", loaded.transformer)}
    planned, kept = loaded.settings.stages, open_stages(loaded)
    models = {"prior": _Model("prior", None)}
    for number, (stage, transformer) in enumerate(zip(planned[:-1], kept, strict=False), 1):
        models[str(number)] = _Model(stage.title, transformer)
    finished = len(kept) == len(planned)
    title = planned[-1].title if finished else f"{planned[len(kept)].title}, not finished"
    return models | {"learned": _Model(title, loaded.transformer)}


@dataclass
class _Found:
    """What was found of each model: images, uint8 [N, H, W, 3], scores, and scores after fine-tuning.

    `places`: where its labels have objects. There is a score of each network.
    """

    images: dict[str, np.ndarray] = field(default_factory=dict)
    places: dict[str, Places] = field(default_factory=dict)
    scores: dict[str, list[Scores]] = field(default_factory=dict)
    tuned: dict[str, list[Scores]] = field(default_factory=dict)

    def scores_of(self, name: str) -> dict[str, Any]:
        """All scores of a model, where there are any."""
        found: dict[str, Any] = {}
        for key, scores in (("scores", self.scores), ("fine_tuned", self.tuned)):
            if name in scores:
                every = summaries(scores, (name,))
                found[key] = every["scores"][name]
                if "deviations" in every:
                    found[f"{key}_deviations"] = every["deviations"][name]
        return found


def summaries(found: Mapping[str, Sequence[Scores]], names: Sequence[str]) -> dict[str, Any]:
    """Means over networks: `scores` by model and score; of several networks also their standard `deviations`."""
    values = {
        name: {score: [one.values[score] for one in found[name]] for score in found[name][0].values} for name in names
    }
    means = {name: {score: float(np.mean(each)) for score, each in scores.items()} for name, scores in values.items()}
    if len(found[names[0]]) == 1:
        return {"scores": means}
    deviations = {
        name: {score: float(np.std(each, ddof=1)) for score, each in scores.items()} for name, scores in values.items()
    }
    return {"scores": means, "deviations": deviations}


def _measured(
    models: Mapping[str, _Model],
    count: int,
    networks: int,
    data: DataSets,
    test: TargetImages,
    tuning: "_Tuning | None",
) -> _Found:
    """Renders `count` images of each model; trains and scores networks on them where the test images have labels."""
    found, network, progress = _Found(), data.network, data.progress
    for name, model in models.items():
        purpose = PRIOR if model.transformer is None else LEARNED  # All stages change the same scenes.
        rng = generator(data.seed, Purpose.EVALUATION, purpose)
        scenes, of = scenes_of(data.grammar, count, rng, model.transformer), f"{model.title} data"
        if test.labels is None:
            found.images[name] = data.images(of, scenes, count, purpose)
            continue
        images, labels = data.labelled(of, scenes, count, purpose)
        for index in range(networks):
            advance = progress.step(f"train the {network.name} on {of}{_which(index)}")
            trained = network.train(images, labels, _network_seed(data.seed, purpose, index), advance)
            score = network.score(trained, test.images, test.labels)
            found.scores.setdefault(name, []).append(score)
            progress.figures(**{score.primary: score.value})
            if tuning is not None:
                found.tuned.setdefault(name, []).append(tuning.score(trained, f"after {of}", index))
        found.images[name], found.places[name] = images[:MOST_IMAGES], places_of_labels(labels)
    if tuning is not None:
        found.tuned["target"] = [tuning.score(None, "alone", index) for index in range(networks)]
    return found


def _network_seed(seed: int, purpose: int, index: int) -> int:
    """Random numbers of a network: the first one's do not depend on how many there are."""
    return integer(seed, Purpose.TASK_NETWORK, purpose, *([index] if index else []))


def _which(index: int) -> str:
    return f", network {index + 1}" if index else ""


@dataclass(frozen=True)
class _Tuning:
    """Fine-tuning on V, uint8 [N, H, W, 3] with labels."""

    images: np.ndarray
    labels: list[Any]
    test: TargetImages
    data: DataSets

    def score(self, model: Any | None, of: str, index: int) -> Scores:
        """Scores a network, one of several, after it has gone on with V; None: one that has seen nothing else."""
        network, which = self.data.network, _which(index)
        advance = self.data.progress.step(f"train the {network.name} on labelled images of the target, {of}{which}")
        seed = _network_seed(self.data.seed, V, index)
        if model is None:
            tuned = network.train(self.images, self.labels, seed, advance)
        else:
            tuned = network.fine_tune(model, self.images, self.labels, seed, advance)
        return network.score(tuned, self.test.images, self.test.labels or [])
