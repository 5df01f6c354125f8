"""Checks before a run starts: settings, files, the target and the task."""

from collections.abc import Mapping
from fnmatch import fnmatchcase

import numpy as np

from trainer.errors import InputError
from trainer.experiments import Experiment
from trainer.grammar import Grammar
from trainer.grammar.nodes import MODE, Camera, NodeKind
from trainer.grammar.structure_checks import node_bounds
from trainer.inference.training_settings import TrainingSettings
from trainer.tasks import open_task
from trainer.tasks.kitti_rules import has_cars

#: Tasks that label one object of a scene.
_OF_ONE_OBJECT = ("classification", "pose")
#: Number of scenes drawn from each grammar.
_SCENES = 20


def check_run(experiment: Experiment, settings: TrainingSettings) -> None:
    """Read everything that training on the experiment needs except what needs a renderer.

    Raises:
        InputError: a setting, a file or the target is wrong, or the task does not suit the grammar.
    """
    target = experiment.target
    grammars = [experiment.grammar]
    if target is not None:
        grammars += [other for other in (target.grammar, target.evaluation) if other is not None]
    for grammar in grammars:
        for asset_set in grammar.asset_sets.values():
            asset_set.check_files()
            asset_set.data(0)
        rng = np.random.default_rng(0)
        for _ in range(_SCENES):
            grammar.sample(rng)
    scored = [stage for stage in settings.stages if "task" in stage.losses]
    _check_stages(experiment, settings)
    if experiment.task_stated or scored:
        problem = task_problem(experiment)
        if problem is not None:
            raise InputError(f"{experiment.path}: {problem}")
    if target is None:
        return
    task, classes = open_task(experiment, "quick").photo_labels, experiment.grammar.classes
    target.check(task, classes, None)
    if scored:
        try:
            target.check(task, classes, settings.validation_images)
        except InputError as error:
            raise InputError(
                f"{error}; the stage {scored[0].title!r} learns from such labels: add them, or state training.stages "
                "without it"
            ) from error


def task_problem(experiment: Experiment) -> str | None:
    """Return why the experiment's task does not suit its grammar, in one line; None if it does."""
    grammar, task = experiment.grammar, experiment.task
    if task in _OF_ONE_OBJECT:
        least, most = node_bounds(grammar.kinds, grammar.roots, lambda kind: bool(kind.class_name))
        if (least, most) != (1, 1):
            found = f"{least}" if least == most else f"{least} to {most}"
            return (
                f"task {task} needs exactly one node with a class in each scene, and there are {found}: "
                "change the classes, or state task: detection or segmentation"
            )
    try:
        open_task(experiment, "quick")
    except InputError as error:
        return f"task {task}: {error}"
    if task.startswith("detection") and has_cars(grammar.classes) and not _perspective(grammar):
        return (
            f"task {task} of cars follows KITTI's rules, which need a perspective camera; the grammar's is orthographic"
        )
    if task == "segmentation" and not grammar.classes:
        return "task segmentation needs classes, and no kind has one: add `class: NAME`"
    return None


def _perspective(grammar: Grammar) -> bool:
    cameras = [kind.content for kind in grammar.kinds.values() if isinstance(kind.content, Camera)]
    return all(camera.projection == "perspective" for camera in cameras)


def _check_stages(experiment: Experiment, settings: TrainingSettings) -> None:
    """
    Raises:
        InputError: a stage learns attributes that the grammar does not have, or a score of a target that is missing.
    """
    known = _mutable_names(experiment.grammar.kinds)
    for number, stage in enumerate(settings.stages):
        for pattern in stage.attributes:
            if known and not any(fnmatchcase(name, pattern) for name in known):
                raise InputError(
                    f"{experiment.path}: training.stages[{number}].attributes: no mutable attribute is called "
                    f"{pattern!r}; there are: {', '.join(known)}"
                )


def _mutable_names(kinds: Mapping[str, NodeKind]) -> list[str]:
    names = []
    for kind in kinds.values():
        names += [f"{kind.name}.{spec.name}" for spec in kind.mutable_specs]
        names += [f"{kind.name}.{choice.name}" for choice in kind.choices if choice is not MODE]
    return names
