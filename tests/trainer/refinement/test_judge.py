"""The judge's features see a dependence between what a thing is and how it is turned."""

import numpy as np
import pytest
import torch
from PIL import Image

from trainer.assets.mnist import sklearn_digits
from trainer.features import features_of
from trainer.features.natural import NaturalFeatures, available
from trainer.metrics.two_sample import two_sample_test
from trainer.refinement.judge import PIXELS, STRIDES

COUNT = 250


def turned(rng: np.random.Generator, *, by_class: bool) -> np.ndarray:
    """Digits 0 to 4 turned by 60 degrees and 5 to 9 by -60, or, with the same marginals, whatever they are."""
    digits = sklearn_digits("digits", "train")
    chosen = rng.choice(len(digits), COUNT, replace=False)
    low = np.array([int(str(digits.label(int(index)))) < 5 for index in chosen])
    yaws = np.where(low, 60, -60) + rng.normal(0, 8, COUNT)
    images = []
    for index, yaw in zip(chosen, yaws if by_class else rng.permutation(yaws), strict=True):
        frame = Image.new("L", (32, 32))
        frame.paste(Image.fromarray(digits.images[index]), (2, 2))
        images.append(np.asarray(frame.rotate(float(yaw), Image.Resampling.BICUBIC)))
    return np.repeat(np.stack(images)[..., None], 3, 3)


@pytest.mark.skipif(not available(), reason="the extra `natural` is not installed")
def test_a_dependence_on_the_class_is_found_in_images() -> None:
    torch.set_num_threads(1)
    space = NaturalFeatures(STRIDES, pixels=PIXELS)
    rng = np.random.default_rng(1)
    target, alike, apart = (features_of(space, turned(rng, by_class=by_class)) for by_class in (True, True, False))
    assert not two_sample_test(target, alike, rng, layers=space.layers).rejected
    assert two_sample_test(target, apart, rng, layers=space.layers).rejected
