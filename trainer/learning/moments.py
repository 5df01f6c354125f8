"""Means and spreads of the target, read off its images: the last step of the global stage.

The MMD sees a wrong spread poorly: a spread of 5 degrees in place of 10 hardly changes it where the features' own
errors are as large. But the simulator tells how they err. On renders whose attributes are known, what is read off, f,
is regressed on the truth, f = b a + c + e, and the target's moments follow from the renders' (primed):

    mean(a) = mean(a') + (mean(f) - mean(f')) / b          var(a) = var(a') + (var(f) - var(f')) / b²

(regression calibration; Carroll et al., Measurement Error in Nonlinear Models, 2006; compare the regression adjustment
of Beaumont et al., Approximate Bayesian Computation in Population Genetics, 2002). A spread stays as it is unless the
two variances differ significantly.
"""

from collections.abc import Sequence

import numpy as np
import torch

from trainer.features import FeatureSpace, features_of
from trainer.features.readout import Readout
from trainer.grammar import AttributeSpec, SceneGraph
from trainer.grammar.scene_graph import MODE, MODES
from trainer.learning.problem import Problem
from trainer.model.drawing import transformed
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import Purpose
from trainer.statistics import deviation, mean_of

#: Attributes that explain less of the variance of what is read off cannot be seen, and are left alone.
SEEN = 0.2
#: Most by which one round changes a spread, either way.
MOST = 4.0
#: Rounds: the regression is local, so each starts where the one before has led.
ROUNDS = 3
#: Standard errors by which variances must differ.
SIGNIFICANT = 2.0
#: Standard deviations beyond which values are pulled in.
OUTLYING = 3.0
#: Fewest values that a mean and a spread are taken from.
FEWEST = 30


def match_moments(
    problem: Problem,
    transformer: DistributionTransformer,
    space: FeatureSpace,
    readout: Readout,
    places: Sequence[int],
) -> None:
    """Moves and stretches the attributes at `places`, mode by mode, until their moments are the target's."""
    if not problem.settings.moment_images or not places:
        return
    target = readout.numbers(features_of(space, problem.target))
    for index in range(ROUNDS):
        prior = problem.scenes(Purpose.MOMENTS, problem.settings.moment_images, index)
        scenes = transformed(transformer, prior)
        images = problem.images(scenes, Purpose.MOMENTS, index, f"read the moments {index + 1}")
        read = readout.numbers(features_of(space, images))
        truth = readout.numbers(torch.from_numpy(np.stack([readout.read(scene) for scene in scenes])))
        for kind in dict.fromkeys(problem.encoding.mutable[place][0] for place in places):
            own = [place for place in places if problem.encoding.mutable[place][0] == kind]
            stretch = index > 0  # Spreads only where the means are right: errors differ from place to place.
            _match_kind(problem, transformer, kind, own, scenes, truth, read, target, stretch=stretch)


def _match_kind(
    problem: Problem,
    transformer: DistributionTransformer,
    kind: str,
    places: Sequence[int],
    scenes: Sequence[SceneGraph],
    truth: np.ndarray,
    read: np.ndarray,
    target: np.ndarray,
    *,
    stretch: bool,
) -> None:
    specs = {place: problem.encoding.mutable[place][1] for place in places}
    modes = np.array([_mode(scene, kind) for scene in scenes])
    present = [mode for mode in range(MODES) if (modes == mode).sum() >= FEWEST]
    if not present:
        return
    centres = {
        (mode, place): mean_of(truth[modes == mode, place], spec.is_angle)
        for mode in present
        for place, spec in specs.items()
    }

    def likeliest(found: np.ndarray) -> np.ndarray:
        """The mode that each image looks most like."""
        distances = np.zeros((len(present), len(found)))
        for row, mode in enumerate(present):
            for place, spec in specs.items():
                distances[row] += (
                    deviation(found[:, place], centres[mode, place], spec.is_angle) / (spec.high - spec.low)
                ) ** 2
        return np.array(present)[distances.argmin(0)]

    ours, theirs = likeliest(read), likeliest(target)
    for mode in present:
        rendered, wanted = (modes == mode) & (ours == mode), theirs == mode
        if min(rendered.sum(), wanted.sum()) < FEWEST:
            continue
        for place, spec in specs.items():
            centre = centres[mode, place]
            moments = read_moments(
                *(
                    deviation(values[chosen, place], centre, spec.is_angle)
                    for values, chosen in ((truth, rendered), (read, rendered), (target, wanted))
                )
            )
            if moments is not None:
                shift, quotient = moments
                transformer.shift[mode, place] = inside(float(transformer.shift[mode, place]) + shift, spec)
                if stretch:
                    transformer.stretch[mode, place] *= quotient


def read_moments(truth: np.ndarray, read: np.ndarray, target: np.ndarray) -> tuple[float, float] | None:
    """By how much the mean differs from the target's, and the quotient of the spreads.

    Args:
        truth: the attribute in renders [N].
        read: what is read off these renders [N].
        target: what is read off the target's images [M].

    Returns:
        (target's mean - renders' mean, target's spread / renders' spread); None where the attribute cannot be seen.
    """
    truth, read, target = (_without_outliers(values) for values in (truth, read, target))
    if not truth.std() > 0:
        return None
    slope = float(np.cov(truth, read)[0, 1] / truth.var(ddof=1))
    if not slope > 0 or (slope * truth.std()) ** 2 < SEEN * read.var():
        return None
    shift = float(target.mean() - read.mean()) / slope
    difference = float(target.var() - read.var())
    error = np.sqrt(2 / len(target) * target.var() ** 2 + 2 / len(read) * read.var() ** 2)
    if abs(difference) < SIGNIFICANT * error:
        return shift, 1.0
    variance = max(truth.var() + difference / slope**2, 0.0)
    return shift, float(np.clip(np.sqrt(variance / truth.var()), 1 / MOST, MOST))


def _without_outliers(values: np.ndarray) -> np.ndarray:
    """The values with those pulled in that lie far outside: images that were misread."""
    middle = np.median(values)
    reach = OUTLYING * np.median(np.abs(values - middle)) / 0.6745  # Of a normal: standard deviations
    return np.clip(values, middle - reach, middle + reach)


def _mode(scene: SceneGraph, kind: str) -> int:
    """The mode of a scene's nodes of a kind; -1 where there is none, or they differ."""
    found = {node.choices[MODE.name] for node in scene.nodes if node.kind == kind}
    return found.pop() if len(found) == 1 else -1


def inside(shift: float, spec: AttributeSpec) -> float:
    """The shift within those that keep the prior's mean inside the range."""
    if spec.wraps:
        return (shift + 180) % 360 - 180
    return float(np.clip(shift, spec.low - spec.distribution.mean, spec.high - spec.distribution.mean))
