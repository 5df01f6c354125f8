"""The rounds of inference on a painted world."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.painted import Painted, painted_problem

from trainer.inference.loop import Rounds, begin, infer_round

SMALL = {"inference": {"rounds": 2, "simulations": 1200, "epochs": [16, 8]}}


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Painted, Rounds]:
    torch.set_num_threads(1)
    problem, _ = painted_problem(tmp_path_factory.mktemp("painted"), [60.0, -50.0], [0.65, 0.35], **SMALL)
    rounds = begin(problem, 0, {})
    for _ in range(2):
        infer_round(problem, rounds)
    return problem, rounds


def test_the_rounds_find_both_parts_of_the_target(learned: tuple[Painted, Rounds]):
    _, rounds = learned
    [population] = rounds.populations.values()
    names = [number.name for number in population.variables.numbers]
    x, yaw = population.means[:, names.index("x")], population.means[:, names.index("yaw")]
    heavy = population.weights > 0.1
    near = [np.abs((yaw - wanted + 180) % 360 - 180) < 8 for wanted in (60.0, -50.0)]
    assert population.weights[near[0] & heavy].sum() == pytest.approx(0.65, abs=0.12)
    assert population.weights[near[1] & heavy].sum() == pytest.approx(0.35, abs=0.12)
    assert x[heavy] == pytest.approx(4.0, abs=0.5)


def test_the_proposal_narrows_from_round_to_round(learned: tuple[Painted, Rounds]):
    _, rounds = learned
    backgrounds = [proposal["thing"].background for proposal in rounds.proposals]
    assert backgrounds[0] == 1.0
    assert backgrounds[1:] == [0.1, 0.1]
    assert np.std([row[0] for row in rounds.renders[1].numbers]) < np.std([row[0] for row in rounds.renders[0].numbers])


def test_rounds_go_on_from_what_was_kept_to_the_same_bits(learned: tuple[Painted, Rounds], tmp_path: Path):
    problem, rounds = learned
    problem, _ = painted_problem(tmp_path, [60.0, -50.0], [0.65, 0.35], **SMALL)
    first = begin(problem, 0, {})
    infer_round(problem, first)
    state, tensors = first.state()
    again = begin(problem, 0, {})
    again.restore(state, {name: value.clone() for name, value in tensors.items()})
    infer_round(problem, again)
    assert again.populations["thing"].to_json() == rounds.populations["thing"].to_json()
    for name, value in again.estimator.state_dict().items():
        assert torch.equal(value, rounds.estimator.state_dict()[name]), name
