"""The rounds of inference where nodes of a kind repeat, beside a camera."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from support.scattered import Scattered, scattered_problem

from trainer.inference import rounds as inference_rounds
from trainer.inference.estimator import Estimator
from trainer.inference.rounds import Rounds, begin, infer_round

SMALL = {"inference": {"rounds": 1, "simulations": 200, "epochs": [4]}}
#: Shares of one, two, three and four discs; all are seen at times.
COUNTS = (0.5, 0.3, 0.15, 0.05)


@dataclass(frozen=True)
class Learned:
    """A problem, and its rounds."""

    problem: Scattered
    rounds: Rounds


@pytest.fixture(scope="module", autouse=True)
def few_renders_correct() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(inference_rounds, "CORRECTED_BY", 150)
        yield


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("scattered")
    problem = scattered_problem(folder, COUNTS, (6.5, 0.6), (57.0, 4.0), **SMALL)
    rounds = begin(problem, 0, {})
    infer_round(problem, rounds)
    return Learned(problem, rounds)


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


def test_rounds_that_were_kept_read_and_detect_to_the_same_bits(learned: Learned):
    again = begin(learned.problem, 0, {})
    again.restore(*copy.deepcopy(learned.rounds.state()))
    assert {kind: fit.to_json() for kind, fit in again.fits.items()} == {
        kind: fit.to_json() for kind, fit in learned.rounds.fits.items()
    }
    images = learned.problem.target[:20]
    wanted, found = (
        inference_rounds.read(learned.problem, each, images, 7)["disc"] for each in (learned.rounds, again)
    )
    assert np.array_equal(found.numbers, wanted.numbers)
    assert np.array_equal(found.log_proposal, wanted.log_proposal)
    assert np.array_equal(found.weights, wanted.weights)
    assert found.selection is not None
    assert wanted.selection is not None
    assert np.array_equal(found.selection.numbers, wanted.selection.numbers)
    assert np.array_equal(found.selection.detected, wanted.selection.detected)


def test_its_features_survive_being_kept(learned: Learned):
    estimator = learned.rounds.estimator
    space = Estimator.restored(estimator.plan(), estimator.state_dict())
    images = torch.from_numpy(learned.problem.target[:3].copy()).float().permute(0, 3, 1, 2) / 255
    features = space(images)
    assert torch.equal(features, estimator(images))
    assert np.isfinite(features.detach().numpy()).all()
