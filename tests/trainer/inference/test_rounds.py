"""The rounds of inference on a painted world."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from support.painted import Painted, painted_problem

from trainer.inference.rounds import Rounds, begin, infer_round

SMALL = {"inference": {"rounds": 2, "simulations": 1200, "epochs": [3, 1]}}


@dataclass(frozen=True)
class Learned:
    """A problem, its rounds, and their state after the first of two."""

    problem: Painted
    rounds: Rounds
    state: dict[str, Any]
    tensors: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    torch.set_num_threads(1)
    problem, _ = painted_problem(tmp_path_factory.mktemp("painted"), [60.0, -50.0], [0.65, 0.35], **SMALL)
    rounds = begin(problem, 0, {})
    infer_round(problem, rounds)
    state, tensors = copy.deepcopy(rounds.state())
    infer_round(problem, rounds)
    return Learned(problem, rounds, state, tensors)


def test_the_rounds_find_both_parts_of_the_target(learned: Learned):
    rounds = learned.rounds
    [population] = rounds.populations.values()
    names = [number.name for number in population.variables.numbers]
    x, yaw = population.means[:, names.index("x")], population.means[:, names.index("yaw")]
    heavy = population.weights > 0.1
    near = [np.abs((yaw - wanted + 180) % 360 - 180) < 8 for wanted in (60.0, -50.0)]
    assert population.weights[near[0] & heavy].sum() == pytest.approx(0.65, abs=0.12)
    assert population.weights[near[1] & heavy].sum() == pytest.approx(0.35, abs=0.12)
    assert x[heavy] == pytest.approx(4.0, abs=0.5)


def test_the_proposal_narrows_from_round_to_round(learned: Learned):
    rounds = learned.rounds
    backgrounds = [proposal["thing"].background for proposal in rounds.proposals]
    assert backgrounds[0] == 1.0
    assert backgrounds[1:] == [0.1, 0.1]
    assert np.std([row[0] for row in rounds.renders[1].numbers]) < np.std([row[0] for row in rounds.renders[0].numbers])


def test_rounds_go_on_from_what_was_kept_to_the_same_bits(learned: Learned):
    again = begin(learned.problem, 0, {})
    again.restore(learned.state, learned.tensors)
    infer_round(learned.problem, again)
    rounds = learned.rounds
    assert again.populations["thing"].to_json() == rounds.populations["thing"].to_json()
    for name, value in again.estimator.state_dict().items():
        assert torch.equal(value, rounds.estimator.state_dict()[name]), name
