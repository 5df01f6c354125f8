"""The trial of descent after an inference: it is kept only if it brings images nearer to held-out ones."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from trainer.grammar import SceneGraph
from trainer.refinement.judge import Judge

#: Epochs after which descent from an inferred start must have brought images nearer to held-out ones.
TRIAL = 2


@dataclass
class DescentTrial:
    """Compares descent with the inference that it starts from.

    Attributes:
        inferred: the weights of G_θ that the inference has found; None: there is no trial.
    """

    inferred: dict[str, Tensor] | None = None

    def begin(self, model: nn.Module) -> None:
        """Start a trial of descent from the weights of a model."""
        self.inferred = copy.deepcopy(model.state_dict())

    def after_epoch(
        self,
        epoch: int,
        average: nn.Module,
        scenes: Callable[[], tuple[list[SceneGraph], list[SceneGraph]]],
        judge: Judge | None,
        *,
        last: bool,
    ) -> tuple[bool, dict[str, Any] | None]:
        """Return whether the stage ends after an epoch, and what the trial has found if it is decided.

        A trial is decided after the stage's last epoch, and after `TRIAL` epochs if they have not brought images nearer
        to the held-out ones. If descent has not helped, `average` gets the weights of the inference back.

        Args:
            epoch: number of finished epochs of the stage.
            average: G_θ with averaged weights.
            scenes: returns scenes of the prior, and the same as `average` changes them.
            judge: None: there are too few images to judge by, and descent is kept.
            last: whether this is the stage's last epoch.
        """
        if self.inferred is None or judge is None:
            self.inferred = None if last else self.inferred
            return last, None
        if not last and epoch != TRIAL:
            return False, None
        descended = copy.deepcopy(average.state_dict())
        _, after = scenes()
        average.load_state_dict(self.inferred)
        prior, before = scenes()
        found = judge.improves(before, after)
        if found["kept"]:
            average.load_state_dict(descended)
            if not last:
                return False, None
            found["verdict"] = judge.verdict(prior, after, {})
        self.inferred = None
        return True, {**found, "epochs": epoch}
