"""Descent after the inference ends early, unless held-out images say that it helps."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from trainer.progress import Silent
from trainer.refinement.learner import TRIAL, Learner


class Judge:
    """Finds what it is told to."""

    def __init__(self, *, kept: bool) -> None:
        self.kept = kept

    def improves(self, before: Any, after: Any) -> dict[str, Any]:
        del before, after
        return {"gain_in_mmd_at_least": 0.1 if self.kept else -0.1, "kept": self.kept}

    def verdict(self, prior: Any, learned: Any, fits: Any) -> dict[str, Any]:
        del prior, learned, fits
        return {"outcome": "matches"}


def descending(judge: Judge | None, epoch: int) -> Learner:
    """A learner whose weights are 1 after the inference and 2 after descent, at the end of an epoch of its stage."""
    learner = Learner.__new__(Learner)
    learner.__dict__["_judge"] = judge
    learner.problem = SimpleNamespace(progress=Silent())  # type: ignore[assignment]
    learner.findings = [{}]
    learner.average = nn.Linear(1, 1, bias=False)  # type: ignore[assignment]
    nn.init.constant_(learner.average.weight, 2.0)  # type: ignore[arg-type]
    learner._inferred = {"weight": torch.ones(1, 1)}
    learner._epoch_of_stage = epoch
    learner.statistics = lambda: ([], [], [])  # type: ignore[method-assign]
    return learner


@pytest.mark.parametrize("last", [False, True])
def test_descent_that_does_not_help_ends_after_the_trial_and_is_dropped(last: bool) -> None:
    learner = descending(Judge(kept=False), TRIAL)
    assert learner._ends(last=last)
    assert learner.average.weight.item() == 1.0  # type: ignore[operator]
    assert learner.findings[0]["descent"]["kept"] is False
    assert learner.findings[0]["descent"]["epochs"] == TRIAL


def test_descent_that_helps_goes_on_to_its_last_epoch_and_is_kept() -> None:
    learner = descending(Judge(kept=True), TRIAL)
    assert not learner._ends(last=False)
    assert "descent" not in learner.findings[0]
    learner._epoch_of_stage = 8
    assert learner._ends(last=True)
    assert learner.average.weight.item() == 2.0  # type: ignore[operator]
    assert learner.findings[0]["descent"]["verdict"] == {"outcome": "matches"}


def test_epochs_before_and_after_the_trial_are_not_judged() -> None:
    for epoch in (TRIAL - 1, TRIAL + 1):
        assert not descending(Judge(kept=False), epoch)._ends(last=False)


def test_without_a_judge_descent_is_kept_to_its_end() -> None:
    learner = descending(None, TRIAL)
    assert not learner._ends(last=False)
    assert learner._ends(last=True)
    assert learner.average.weight.item() == 2.0  # type: ignore[operator]
