"""The judge of a stage: compares renders with held-out images in features that are not learned."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from trainer.features import FeatureSpace, features_of
from trainer.features.neutral import neutral_space
from trainer.grammar import SceneGraph
from trainer.inference.deconvolution import Fit
from trainer.inference.problem import Problem
from trainer.metrics.two_sample import gain_quantile, verdict
from trainer.randomness import Purpose, generator, integer

#: Images of each side that are compared.
MOST = 400
#: Maps of the network of natural images; the finest tells how parts of an object lie to each other.
STRIDES = (8, 16, 32)
#: Pixels to which it resizes images.
PIXELS = 96 * 96
#: A mean within this many standard deviations of the end of its range is reported.
AT_THE_END = 1.0
#: A larger fraction of unexplained readings is reported.
UNEXPLAINED = 0.1


class Judge:
    """Compares renders with held-out images of the target."""

    def __init__(self, problem: Problem, held_out: np.ndarray) -> None:
        """
        Args:
            held_out: images of the target that nothing was learned from, uint8 [M, H, W, 3].
        """
        self._problem = problem
        self.space = judging_space(problem)
        self._target = features_of(self.space, held_out[:MOST]).cpu()
        self._prior: Tensor | None = None

    def features(self, scenes: Sequence[SceneGraph]) -> Tensor:
        """Return features of renders of the first scenes, as many as there are held-out images, on the CPU."""
        seed = integer(self._problem.seed, Purpose.JUDGEMENT)
        return features_of(self.space, self._problem.renderer.images(scenes[: len(self._target)], seed)).cpu()

    def _features_of_prior(self, scenes: Sequence[SceneGraph]) -> Tensor:
        if self._prior is None:
            self._prior = self.features(scenes)
        return self._prior

    def improves(self, before: Sequence[SceneGraph], after: Sequence[SceneGraph]) -> dict[str, Any]:
        """Return whether scenes are nearer to the target than others were, and by how much at least."""
        pairs = self.features(before), self.features(after)
        rng = generator(self._problem.seed, Purpose.JUDGEMENT, 1)
        gain = gain_quantile(*pairs, self._target, rng, self.space.layers)
        return {"gain_in_mmd_at_least": gain, "kept": gain > 0}

    def verdict(
        self, prior: Sequence[SceneGraph], learned: Sequence[SceneGraph], fits: Mapping[str, Fit]
    ) -> dict[str, Any]:
        """Return the verdict of the two-sample test, and what is wrong where it does not match."""
        rng = generator(self._problem.seed, Purpose.JUDGEMENT, 2)
        found = verdict(
            self._features_of_prior(prior),
            self.features(learned),
            self._target,
            rng,
            features=self.space.name,
            layers=self.space.layers,
        )
        reasons = [] if found.outcome == "matches" else doubts(fits)
        return {
            **found.to_json(),
            "text": "; ".join([found.text, *reasons]),
            "matches": found.outcome == "matches",
            "reasons": reasons,
        }


def doubts(fits: Mapping[str, Fit]) -> list[str]:
    """Return signs of a poor fit: means at the ends of ranges, and readings that no component explains."""
    found = []
    for kind, fit in fits.items():
        population = fit.population
        share = float(np.sum(fit.unexplained > 0.5)) / max(len(fit.unexplained), 1)
        if share > UNEXPLAINED:
            found.append(f"{share:.0%} of the readings of {kind} fit no component")
        for i, number in enumerate(population.variables.numbers):
            if number.is_angle and number.width >= 360:
                continue
            for mean, covariance, weight in zip(
                population.means, population.covariances, population.weights, strict=True
            ):
                reach = AT_THE_END * np.sqrt(covariance[i, i])
                if weight > UNEXPLAINED and not number.low + reach < mean[i] < number.high - reach:
                    found.append(f"{kind}.{number.name} lies at the end of its range ({mean[i]:.3g} {number.unit})")
                    break
    return found


def judging_space(problem: Problem) -> FeatureSpace:
    """Return the features in which renders of a problem are judged: nothing has learned them."""
    settings = problem.renderer.settings
    return neutral_space((settings.height_px, settings.width_px), STRIDES, PIXELS).to(problem.device)
