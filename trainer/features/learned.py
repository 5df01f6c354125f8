"""The feature spaces that are learned from the simulator, kept with a run and opened again."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trainer.errors import InputError
from trainer.features.dense import DenseFeatures
from trainer.features.regions import RegionFeatures
from trainer.features.simulator import SimulatorFeatures

LearnedFeatures = SimulatorFeatures | DenseFeatures | RegionFeatures


def learned_features(plan: Mapping[str, Any] | None, weights: Mapping[str, Tensor]) -> LearnedFeatures:
    """A space as it was kept.

    Args:
        plan: what the space's `plan` gave; None: the run does not say.

    Raises:
        InputError: an older version kept it.
    """
    older = "an older version of metasim made this run, and its feature space cannot be read: train anew"
    if plan is None or "size" not in plan:
        raise InputError(older)
    kind = {space.name: space for space in (SimulatorFeatures, DenseFeatures, RegionFeatures)}[plan["name"]]
    more = {key: value for key, value in plan.items() if key not in ("name", "columns", "size")}
    space = kind(plan["columns"], tuple(plan["size"]), torch.Generator(), **more)
    try:
        space.load_state_dict(weights)
    except RuntimeError as error:  # Other names or shapes of weights.
        raise InputError(older) from error
    return space.requires_grad_(False)
