"""Distributions written down from values: families, moments, and the file's own where it still holds."""

import math

import numpy as np
import pytest
from metasim.v1 import scene_pb2 as pb

from trainer.grammar import AttributeSpec
from trainer.grammar.distributions import Constant, Mixture, Normal, TruncatedNormal, Uniform, Wrapped
from trainer.grammar.write_distribution import shares, written
from trainer.metrics.distribution_fit import fitted

LINE = AttributeSpec("x", pb.ATTRIBUTE_X, -10.0, 10.0, "m", False, True, None, TruncatedNormal(0.0, 2.0, -10.0, 10.0))
ANGLE = AttributeSpec("yaw", pb.ATTRIBUTE_YAW, -180.0, 180.0, "deg", True, True, None, Wrapped(Normal(0.0, 10.0)))


def drawn(distribution, count=3000, seed=0):
    rng = np.random.default_rng(seed)
    return np.array([distribution.sample(rng) for _ in range(count)])


@pytest.mark.parametrize(
    ("spec", "distribution"),
    [
        (LINE, TruncatedNormal(3.0, 1.5, -10.0, 10.0)),
        (LINE, TruncatedNormal(9.0, 3.0, -10.0, 10.0)),
        (LINE, Uniform(-4.0, 6.0)),
        (ANGLE, Wrapped(Normal(175.0, 20.0))),
        (
            LINE,
            Mixture((TruncatedNormal(-5.0, 1.0, -10.0, 10.0), TruncatedNormal(4.0, 1.5, -10.0, 10.0)), (0.3, 0.7)),
        ),
        (ANGLE, Mixture((Wrapped(Normal(-90.0, 8.0)), Wrapped(Normal(170.0, 15.0))), (0.5, 0.5), -180.0)),
    ],
    ids=["normal", "cut off", "uniform", "wrapped", "mixture", "mixture on the circle"],
)
def test_the_family_and_the_moments_are_found(spec, distribution):
    found = fitted(drawn(distribution), spec)
    assert type(found) is type(distribution)
    spread = distribution.std
    difference = found.mean - distribution.mean
    if spec.is_angle:
        difference = (difference + 180) % 360 - 180
    assert abs(difference) < 0.1 * spread
    assert found.std == pytest.approx(spread, rel=0.08)
    assert len(getattr(found, "components", ())) == len(getattr(distribution, "components", ()))


def test_the_files_own_distribution_is_kept_where_it_holds():
    assert fitted(drawn(LINE.distribution), LINE) is LINE.distribution
    assert fitted(drawn(ANGLE.distribution), ANGLE) is ANGLE.distribution


def test_equal_values_are_a_constant():
    assert fitted(np.full(10, 2.5), LINE) == Constant(2.5)


def test_distributions_are_written_in_the_language():
    mixture = Mixture((Wrapped(Normal(1.23456789, 2.0)), Wrapped(Normal(90.0, 3.0))), (1 / 3, 2 / 3), -180.0)
    assert written(mixture) == {
        "mixture": [{"weight": 0.3333, "normal": [1.2346, 2]}, {"weight": 0.6667, "normal": [90, 3]}]
    }
    assert written(Uniform(0.1, 0.30000001)) == {"uniform": [0.1, 0.3]}


def test_written_shares_sum_to_one():
    for count in (3, 7, 11):
        row = shares(np.full(count, 1 / count))
        assert math.fsum(row) == pytest.approx(1, abs=1e-9)
