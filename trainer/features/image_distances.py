"""Distances between image sets and the target, in the run's last feature space."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.errors import InputError
from trainer.features import FeatureSpace, features_of
from trainer.metrics.kid import BLOCK, kid
from trainer.metrics.mmd import MMD
from trainer.randomness import EvaluationStream, Purpose, generator

#: Maximum number of images compared per set.
MOST_IMAGES = 1_000
#: Minimum number of images per set, needed for the KID's standard error.
FEWEST_IMAGES = 4


def image_distances(
    space: FeatureSpace, sets: Mapping[str, np.ndarray], target: np.ndarray, seed: int
) -> dict[str, Any]:
    """MMD² and KID of each set of images to the target's.

    Args:
        sets: images uint8 [N, H, W, 3] by name; `MOST_IMAGES` of each are taken, in random order.
        target: uint8 [M, H, W, 3].

    Raises:
        InputError: a set has fewer than `FEWEST_IMAGES` images, or all target images are equal.
    """
    for name, images in {**sets, "target": target}.items():
        if len(images) < FEWEST_IMAGES:
            raise InputError(f"{len(images)} images ({name}) are too few to compare; {FEWEST_IMAGES} are needed")
    features = {name: _features(space, images, seed) for name, images in sets.items()}
    wanted = _features(space, target, seed)
    mmd = MMD(wanted, space.layers)
    found: dict[str, Any] = {"features": space.name, "target_images": len(wanted)}
    for name, each in features.items():
        distance = kid(each, wanted, min(BLOCK, len(each) // 2, len(wanted) // 2))
        found[name] = {
            "images": len(each),
            "mmd": mmd(each).item(),
            "kid": distance.value,
            "kid_standard_error": distance.standard_error,
        }
    return found


def _features(space: FeatureSpace, images: np.ndarray, seed: int) -> Tensor:
    order = generator(seed, Purpose.EVALUATION, EvaluationStream.ORDER).permutation(len(images))[:MOST_IMAGES]
    with torch.no_grad():
        return features_of(space, images[order])
