"""How far sets of images are from the target's, in the feature space that a run has compared images in."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.errors import InputError
from trainer.features import FeatureSpace, features_of
from trainer.features.pyramid import PixelPyramid
from trainer.loading import LoadedRun
from trainer.losses.kid import BLOCK, kid
from trainer.losses.mmd import MMD
from trainer.randomness import Purpose, generator
from trainer.run import Json

#: Images of each set that are compared at most.
MOST_IMAGES = 1_000
#: A set needs as many, so that the KID's standard error can be told.
FEWEST_IMAGES = 4


def feature_space(loaded: LoadedRun) -> FeatureSpace:
    """The feature space that the run has compared images in last; pixels at several scales where it had none."""
    if loaded.features is not None:
        return loaded.features
    if loaded.run.summary.get("features") == "inception":
        from trainer.features.inception import InceptionFeatures

        weights = loaded.config.inception_weights
        return InceptionFeatures(weights=Path(weights) if weights else None, layers=loaded.settings.layers)
    return PixelPyramid()


def image_distances(space: FeatureSpace, sets: Mapping[str, np.ndarray], target: np.ndarray, seed: int) -> Json:
    """MMD² and KID of each set of images to the target's.

    Args:
        sets: images uint8 [N, H, W, 3] by name; `MOST_IMAGES` of each are taken, in random order.
        target: uint8 [M, H, W, 3].

    Raises:
        InputError: a set has less than `FEWEST_IMAGES`, or the target's images are all the same.
    """
    for name, images in {**sets, "target": target}.items():
        if len(images) < FEWEST_IMAGES:
            raise InputError(f"{len(images)} images ({name}) are too few to compare; {FEWEST_IMAGES} are needed")
    features = {name: _features(space, images, seed) for name, images in sets.items()}
    wanted = _features(space, target, seed)
    mmd = MMD(wanted, space.layers)
    found: Json = {"features": space.name, "target_images": len(wanted)}
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
    order = generator(seed, Purpose.EVALUATION, 4).permutation(len(images))[:MOST_IMAGES]
    with torch.no_grad():
        return features_of(space, images[order])
