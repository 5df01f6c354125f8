"""The losses of a stage, and the figures of their steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.features import FeatureSpace
from trainer.inference.problem import Problem
from trainer.refinement.matching import DistributionMatching, Estimate
from trainer.refinement.score_function import Baseline
from trainer.refinement.task_loss import TaskLoss

#: What the progress bar shows for a stage without a name, by its losses.
DOING = {
    ("mmd",): "match the distributions",
    ("task",): "raise the score",
    ("mmd", "task"): "match the distributions and raise the score",
}

#: The figures of a step, and the norm of the gradient by mutable number.
StepRecord = tuple[dict[str, float], list[float]]


def losses_of(
    problem: Problem, stage: int, space: FeatureSpace | None, baseline: Baseline
) -> list[DistributionMatching | TaskLoss]:
    """Return the losses of a stage.

    Args:
        stage: number of the stage.
        space: the features in which distributions are compared.
        baseline: of the task loss.

    Raises:
        RuntimeError: distributions are compared, and there are no features.
    """
    losses: list[DistributionMatching | TaskLoss] = []
    for name in problem.settings.stages[stage].losses:
        if name == "mmd":
            if space is None:
                raise RuntimeError("prepare() finds the features")
            losses.append(DistributionMatching(problem, space, problem.active(stage)))
        elif problem.validation is not None:
            losses.append(TaskLoss(problem, problem.validation, baseline, problem.active(stage)))
    return losses


def step_record(estimates: Sequence[Estimate], numbers: int) -> StepRecord:
    """Return the record of a step whose gradient has been computed.

    Args:
        numbers: how many mutable numbers the grammar has.
    """
    figures = {name: value for estimate in estimates for name, value in estimate.figures.items()}
    return figures, np.sum([_norms(estimate, numbers) for estimate in estimates], axis=0).tolist()


def mean_record(records: Sequence[StepRecord], names: Sequence[str]) -> dict[str, Any]:
    """Return the mean figures of steps, and the mean norms of the gradient by attribute."""
    if not records:
        return {}
    norms = np.mean([norms for _, norms in records], axis=0).tolist()
    figures = {name: float(np.mean([figures[name] for figures, _ in records])) for name in records[0][0]}
    return {**figures, "gradient_norms": dict(zip(names, norms, strict=True))}


def _norms(estimate: Estimate, count: int) -> list[float]:
    """Return the norm of the gradient with respect to each mutable attribute of a kind."""
    gradient = estimate.values.grad
    if gradient is None:
        return [0.0] * count
    return [gradient[estimate.batch.places == place].norm().item() for place in range(count)]
