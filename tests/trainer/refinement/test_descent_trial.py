"""Descent after the inference ends early, unless held-out images say that it helps."""

from typing import Any

import pytest
import torch
from torch import nn

from trainer.refinement.descent_trial import TRIAL, DescentTrial


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


class Descending:
    """A model whose weight is 1 after the inference and 2 after descent, and its trial."""

    def __init__(self, judge: Judge | None) -> None:
        self._judge = judge
        self._trial = DescentTrial({"weight": torch.ones(1, 1)})
        self._average = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self._average.weight, 2.0)

    @property
    def weight(self) -> float:
        return self._average.weight.item()

    def after(self, epoch: int, *, last: bool) -> tuple[bool, dict[str, Any] | None]:
        return self._trial.after_epoch(epoch, self._average, lambda: ([], []), self._judge, last=last)  # type: ignore[arg-type]


@pytest.mark.parametrize("last", [False, True])
def test_descent_that_does_not_help_ends_after_the_trial_and_is_dropped(last: bool) -> None:
    model = Descending(Judge(kept=False))
    ends, found = model.after(TRIAL, last=last)
    assert ends
    assert found is not None
    assert (found["kept"], found["epochs"], model.weight) == (False, TRIAL, 1.0)


def test_descent_that_helps_goes_on_to_its_last_epoch_and_is_kept() -> None:
    model = Descending(Judge(kept=True))
    assert model.after(TRIAL, last=False) == (False, None)
    ends, found = model.after(8, last=True)
    assert ends
    assert found is not None
    assert (found["verdict"], model.weight) == ({"outcome": "matches"}, 2.0)


@pytest.mark.parametrize("epoch", [TRIAL - 1, TRIAL + 1])
def test_epochs_before_and_after_the_trial_are_not_judged(epoch: int) -> None:
    assert Descending(Judge(kept=False)).after(epoch, last=False) == (False, None)


def test_without_a_judge_descent_is_kept_to_its_end() -> None:
    model = Descending(None)
    assert model.after(TRIAL, last=False) == (False, None)
    assert model.after(8, last=True) == (True, None)
    assert model.weight == 2.0
