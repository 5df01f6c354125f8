"""The feature space that a run has learned, the estimator's among them, opened again."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from trainer.errors import InputError
from trainer.features.learned import LearnedFeatures, learned_features
from trainer.inference.estimator import Estimator

LearnedSpace = LearnedFeatures | Estimator


def learned_space(plan: Mapping[str, Any] | None, weights: Mapping[str, Tensor]) -> LearnedSpace:
    """Return a feature space as a run has kept it.

    Args:
        plan: what the space's `plan` gave; None: the run does not say.

    Raises:
        InputError: an older version kept it.
    """
    if plan is None or plan.get("name") != Estimator.name:
        return learned_features(plan, weights)
    space = Estimator.from_plan(plan)
    try:
        space.load_state_dict(dict(weights))
    except RuntimeError as error:  # Other names or shapes of weights.
        raise InputError(
            "an older version of metasim made this run, and its estimator cannot be read: train again"
        ) from error
    return space.requires_grad_(False)
