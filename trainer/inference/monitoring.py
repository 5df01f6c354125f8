"""What is watched while a run learns; nothing of it goes back into the learning."""

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

#: Fraction of a kind's objects out of sight from which the user is told.
LOST = 0.5


class Monitor:
    """Looks at renders of what has been learned, and tells the user once of each thing that is wrong."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._told: set[str] = set()

    def images(
        self, learned: Sequence[SceneGraph], epoch: int, space: FeatureSpace | None, target: Tensor | None
    ) -> dict[str, Any]:
        """How far renders of the learned scenes are from the target, and which objects are hidden.

        Args:
            target: its features in the space; None: no distance is wanted.
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
        """What the audits of the probes have found since the last call; nothing if there were none."""
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
    """MMD² and KID, as far as the images [N, H, W, 3] and the target's features [M, D] are enough for them."""
    if len(images) < 2:
        return {}
    features = features_of(space, images)
    found = {"mmd": MMD(target, space.layers)(features).item()}
    if min(len(images), len(target)) >= 2 * BLOCK:
        distance = kid(features, target)
        found |= {"kid": distance.value, "kid_standard_error": distance.standard_error}
    return found
