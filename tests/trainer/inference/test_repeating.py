"""The rounds of inference where nodes of a kind repeat, beside a camera."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from support.scattered import Scattered, scattered_problem

from trainer.inference.learned_space import learned_space
from trainer.inference.loop import Rounds, begin, infer_round

SMALL = {"inference": {"rounds": 2, "simulations": 216, "epochs": [10, 5]}}
#: Shares of one, two, three and four discs; all are seen at times.
COUNTS = (0.5, 0.3, 0.15, 0.05)


@dataclass(frozen=True)
class Learned:
    """A problem, its rounds, and their state after the first of two."""

    problem: Scattered
    rounds: Rounds
    state: dict[str, Any]
    tensors: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("scattered")
    problem = scattered_problem(folder, COUNTS, (6.5, 0.6), (57.0, 4.0), **SMALL)
    rounds = begin(problem, 0, {})
    infer_round(problem, rounds)
    state, tensors = copy.deepcopy(rounds.state())
    infer_round(problem, rounds)
    return Learned(problem, rounds, state, tensors)


def test_what_repeats_is_detected_and_the_camera_is_read_off_the_whole_image(learned: Learned):
    estimator = learned.rounds.estimator
    assert [variables.kind for variables in estimator.repeating] == ["disc"]
    assert [variables.kind for variables in estimator.layout.kinds] == ["camera"]


def test_the_population_and_the_number_of_discs_are_the_target_s(learned: Learned):
    fit = learned.rounds.fits["disc"]
    weights = fit.population.weights / fit.population.weights.sum()
    mean = float(weights @ fit.population.means[:, 0])
    assert mean == pytest.approx(6.5, abs=0.6)
    assert fit.count is not None
    assert fit.count.value == pytest.approx(sum(n * share for n, share in enumerate(COUNTS, 1)), rel=0.12)
    assert fit.count.detected > 0.7
    camera = learned.rounds.fits["camera"]
    assert camera.count is None
    assert camera.population.means[0, 0] == pytest.approx(57.0, abs=2.5)


def test_rounds_go_on_from_what_was_kept_to_the_same_bits(learned: Learned):
    again = begin(learned.problem, 0, {})
    again.restore(learned.state, learned.tensors)
    infer_round(learned.problem, again)
    rounds = learned.rounds
    assert {kind: fit.to_json() for kind, fit in again.fits.items()} == {
        kind: fit.to_json() for kind, fit in rounds.fits.items()
    }
    for name, value in again.estimator.state_dict().items():
        assert torch.equal(value, rounds.estimator.state_dict()[name]), name


def test_its_features_survive_being_kept(learned: Learned):
    estimator = learned.rounds.estimator
    space = learned_space(estimator.plan(), estimator.state_dict())
    images = torch.from_numpy(learned.problem.target[:3].copy()).float().permute(0, 3, 1, 2) / 255
    features = space(images)
    assert torch.equal(features, estimator(images))
    assert np.isfinite(features.detach().numpy()).all()
