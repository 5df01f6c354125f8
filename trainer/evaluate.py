"""Evaluation of a run by the scores of task networks that are trained on its data (paper, tables 1 to 3 and 5).

A task network is trained from scratch on each model's data, and all networks are scored on the same test images. Test
images of a synthetic target are new: neither training nor distribution matching used them. Test photographs are the
unlabelled images that the run learned from, unless `test` names others.

Options also score the model at the end of each stage (table 3), each network after fine-tuning on labelled images of
the target, V (table 5), and a network trained on such images alone, the ceiling. These images exclude all test images.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from trainer.device import open_device
from trainer.errors import InputError
from trainer.features.image_distances import MOST_IMAGES, image_distances
from trainer.metrics.layout import layout_distances, layout_of_labels, layout_of_scenes
from trainer.metrics.scene_distances import attribute_distances, compared_scenes
from trainer.pool import PoolOptions, open_pool
from trainer.progress import Progress, Silent
from trainer.rendering import Renderer
from trainer.runs.evaluation_data import DataSets, EvaluationImages
from trainer.runs.loading import LoadedRun, feature_space, open_run, open_stages
from trainer.runs.planned_steps import evaluation_steps
from trainer.runs.task_scores import DataModel, Measurement, stage_scores, summarised, without_stages
from trainer.tasks import open_task
from trainer.translation import open_translator


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of `metasim evaluate`."""

    run: Path
    mnist: Path | None = None
    #: Training images of each task network (None: the task's own number), and test images.
    train_images: int | None = None
    test_images: int = 5_000
    #: Networks that are trained on the same images with different seeds; their scores are averaged.
    networks: int = 1
    #: Whether to score the model at the end of each stage, too.
    stages: bool = False
    #: Also scores each network after fine-tuning on this number of labelled images of the target.
    fine_tune: int | None = None
    #: Labelled test images in any layout, never used in learning; None: images of the target.
    test: Path | None = None
    #: Labelled images of the target for fine-tuning and for the row "real"; None: those of the target.
    validation: Path | None = None
    #: Also trains networks on labelled images of the target alone. None: if there are photographs outside the test set.
    real: bool | None = None
    #: A model of `metasim translate fit`: also scores the learned data after translating its appearance.
    translate: Path | None = None
    #: Device of the task networks: auto, cpu, cuda or mps.
    device: str = "auto"
    #: Settings of the task network that replace those of the experiment.
    task_settings: Mapping[str, object] = field(default_factory=dict)
    pool: PoolOptions = field(default_factory=PoolOptions)


def evaluate(options: EvaluateOptions, progress: Progress | None = None) -> dict[str, Any]:
    """Score the task network trained on prior and on learned data, and compare both with the target.

    The result is also stored in summary.json. Without labels of the target for the task there are no scores, and
    `not_scored` states the reason.

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
    device = open_device(options.device)
    network = open_task(experiment, device=device, settings=options.task_settings)
    models = _models(loaded, stages=options.stages)
    translator = None if options.translate is None else open_translator(options.translate, device)
    if translator is not None:
        models["translated"] = replace(models["learned"], title="translated learned", translator=translator)
    with open_pool(options.pool.with_default_engine(loaded.config.engine), assets=experiment.asset_source) as pool:
        progress.watch(pool)
        data = DataSets(experiment.grammar, Renderer(pool, experiment.grammar), network, seed, progress)
        progress.plan(
            evaluation_steps(
                [model.title for model in models.values()],
                network.name,
                options.networks,
                images=options.train_images or network.train_images,
                test_images=options.test_images,
                fine_tune=options.fine_tune is not None,
            )
        )
        images = EvaluationImages.of(experiment, options.test, options.validation, data)
        test = images.test(options.test_images, spared=options.fine_tune or 0)
        count = min(options.test_images, MOST_IMAGES)
        real = tuning = None
        if test.labels is not None:
            count = options.train_images or network.train_images
            real = images.real(count, wanted=options.real)
            tuning = images.validation(options.fine_tune) if options.fine_tune else None
        unlabelled = images.unlabelled() if options.test is not None else None
        found = Measurement(data, test, count, options.networks, real, tuning, unlabelled).run(models)
    progress.step("compare with the target")
    evaluation: dict[str, Any] = {
        "task": network.name,
        "test_images": len(test.images),
        "unseen": target.evaluation is not None or options.test is not None,
    }
    if found.results:
        every = summarised(
            found.results,
            ("prior", *(name for name in models if name.isdigit()), "learned", "translated", "real"),
            seed,
            len(test.images),
        )
        scores = found.results["prior"][0].scores()
        ends = {key: without_stages(of) for key, of in every.items()}
        evaluation |= {
            "metric": scores.primary,
            "errors": scores.errors,
            **{name: of[scores.primary] for name, of in ends["scores"].items()},
            **ends,
            "train_images": count,
            "networks": options.networks,
        }
        if real is not None:
            evaluation["real_images"] = len(real.images)
        if "learned" in found.counts:
            evaluation["counts"] = {
                name: {of: found.counts[of][name] for of in ("prior", "learned", "photographs") if found.counts.get(of)}
                for name in found.counts["learned"]
            }
    else:
        evaluation["not_scored"] = test.unlabelled
    if found.tuned:
        tuned = summarised(found.tuned, ("target", *models), seed, len(test.images))
        evaluation["fine_tuned"] = {
            "images": options.fine_tune,
            **{key: without_stages(of) for key, of in tuned.items()},
        }
    if target.evaluation is not None:
        scenes = compared_scenes(experiment.grammar, loaded.grammar, target.evaluation, loaded.transformer, seed)
        evaluation["distances"] = attribute_distances(loaded.transformer.encoding, scenes)
        settings = experiment.grammar.render_settings()
        places = {of: layout_of_scenes(each, settings) for of, each in scenes.items()}
    else:
        places = found.places | {"target": layout_of_labels(test.labels or ())}
    layout = layout_distances({of: places.get(of, {}) for of in ("prior", "learned")}, places["target"])
    if layout:
        evaluation["layout"] = layout
    apart = image_distances(feature_space(loaded), found.images, test.images, seed)
    if options.stages:
        evaluation["stages"] = [
            {
                "name": model.title,
                "image_distances": apart[name],
                **(stage_scores(every, "scores", name) if found.results else {}),
                **(stage_scores(tuned, "fine_tuned", name) if found.tuned else {}),
            }
            for name, model in models.items()
            if model.transformer is not None and model.translator is None
        ]
    if translator is not None:
        evaluation["translation"] = translator.description
    evaluation["image_distances"] = {name: item for name, item in apart.items() if not name.isdigit()}
    evaluation["seconds"] = time.monotonic() - began_s
    progress.stop()
    loaded.run.update_summary({"evaluation": evaluation})
    return evaluation


def _models(loaded: LoadedRun, *, stages: bool) -> dict[str, DataModel]:
    """Return the models to compare: "prior", on request earlier stages by their number from 1 on, "learned"."""
    if not stages:
        return {"prior": DataModel("prior", None), "learned": DataModel("learned", loaded.transformer, loaded.grammar)}
    planned, kept = loaded.settings.stages, open_stages(loaded)
    models = {"prior": DataModel("prior", None)}
    for number, (stage, transformer) in enumerate(zip(planned[:-1], kept, strict=False), 1):
        models[str(number)] = DataModel(stage.title, transformer, loaded.grammar)
    finished = len(kept) == len(planned)
    title = planned[-1].title if finished else f"{planned[len(kept)].title}, not finished"
    return models | {"learned": DataModel(title, loaded.transformer, loaded.grammar)}
