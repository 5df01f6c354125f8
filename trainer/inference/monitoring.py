"""Monitoring of a run while it learns. It does not influence learning."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from metasim.v1 import render_pb2 as pb
from torch import Tensor

from trainer.features import FeatureSpace, features_of
from trainer.grammar import SceneGraph
from trainer.inference.problem import Problem
from trainer.metrics import visibility
from trainer.metrics.kid import BLOCK, kid
from trainer.metrics.mmd import MMD
from trainer.randomness import Purpose, integer

#: The user gets a note if a larger fraction of a kind's objects is out of sight.
LOST = 0.5


class Monitor:
    """Measures renders of learned scenes, and notes each problem once."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._told: set[str] = set()

    def images(
        self, learned: Sequence[SceneGraph], epoch: int, space: FeatureSpace | None, target: Tensor | None
    ) -> dict[str, Any]:
        """Return the distance of renders of the learned scenes from the target, and the fraction of hidden objects.

        Args:
            target: features of the target in the space; None: distances are left out.
        """
        count = min(self._problem.settings.monitor_images, len(learned))
        if not count:
            return {}
        seed = integer(self._problem.seed, Purpose.MONITOR)
        frames = self._problem.renderer.render(learned[:count], seed, (pb.OUTPUT_IMAGE_U8, *visibility.OUTPUTS))
        hidden = visibility.out_of_sight(learned[:count], frames)
        for kind, fraction in hidden.items():
            if fraction > LOST:
                self._tell(
                    kind,
                    f"{fraction:.0%} of {kind} cannot be seen any more after epoch {epoch}: hidden, or out of the "
                    "picture; narrower ranges of its position would keep it there",
                )
        found: dict[str, Any] = {"out_of_sight": hidden}
        if space is not None and target is not None:
            found |= _distances(space, np.stack([frame.image for frame in frames]), target)
        return found

    def prior(self, scenes: Sequence[SceneGraph], space: FeatureSpace, target: Tensor) -> dict[str, Any]:
        """Return the same for scenes of the prior, under keys that end in `_prior`."""
        count = min(self._problem.settings.monitor_images, len(scenes))
        if not count:
            return {}
        seed = integer(self._problem.seed, Purpose.MONITOR)
        frames = self._problem.renderer.render(scenes[:count], seed, (pb.OUTPUT_IMAGE_U8, *visibility.OUTPUTS))
        found: dict[str, Any] = {"out_of_sight": visibility.out_of_sight(scenes[:count], frames)}
        found |= _distances(space, np.stack([frame.image for frame in frames]), target)
        return {f"{name}_prior": value for name, value in found.items()}

    def audits(self) -> dict[str, Any]:
        """Return the results of the probes' audits since the last call; empty without audits."""
        found = self._problem.renderer.audits.take()
        if found is None:
            return {}
        if found.warning is not None:
            self._tell("audits", found.warning)
        total = found.total
        return {
            "audit": {"cosine": total.cosine, "norm_ratio": total.norm_ratio, "columns": total.count},
            "audit_worst": found.worst,
        }

    def _tell(self, topic: str, text: str) -> None:
        if topic not in self._told:
            self._told.add(topic)
            self._problem.progress.note(text)


def _distances(space: FeatureSpace, images: np.ndarray, target: Tensor) -> dict[str, float]:
    """Return MMD² and KID between images [N, H, W, 3] and the target's features [M, D], if there are enough images."""
    if len(images) < 2:
        return {}
    features = features_of(space, images)
    found = {"mmd": MMD(target, space.layers)(features).item()}
    if min(len(images), len(target)) >= 2 * BLOCK:
        distance = kid(features, target)
        found |= {"kid": distance.value, "kid_standard_error": distance.standard_error}
    return found
