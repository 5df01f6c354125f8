"""Correction by the parametric bootstrap, of readings whose bias is known."""

from dataclasses import replace

import numpy as np
import pytest

from trainer.inference.correction import corrected
from trainer.inference.deconvolution import Fit, Readings, deconvolve
from trainer.inference.population import Population, proposal_log_density
from trainer.inference.variables import Factor, Number, Variables

YAW = Number("yaw", "deg", -180.0, 180.0, True, 0.0, 10.0)
X = Number("x", "m", -20.0, 20.0, False, 0.0, 2.0)
TURNED = Variables("thing", (YAW,), ())


def misread(variables: Variables, truth: np.ndarray, rng: np.random.Generator, *, off: list[float]) -> Readings:
    """Readings with errors of a 60th of the range that say a third of that, and are off: biased and overconfident."""
    n, d = truth.shape
    error = (variables.high - variables.low) / 60
    seen = truth + np.array(off) + error * rng.standard_normal((n, d))
    drawn = variables.inside(seen[:, None] + error / 3 * rng.standard_normal((n, 64, d)))
    categories = np.zeros((n, 64, len(variables.factors)), dtype=np.int64)
    log = proposal_log_density([Population.uniform(variables)], [1.0], drawn, categories)
    return Readings(drawn, categories, log, np.ones(n))


def inferred(variables: Variables, truth: np.ndarray, off: list[float], seed: int) -> tuple[Fit, Fit]:
    """The fit to misread nodes, and the same corrected by its own nodes."""
    rng = np.random.default_rng(seed)
    prior = Population.prior(variables)
    fit = deconvolve(misread(variables, truth, rng, off=off), prior, rng)
    context = np.zeros((1000, len(variables.factors)), dtype=np.int64)
    numbers, categories = replace(fit.population, background=0.0).sample(context, rng)
    own = misread(variables, numbers, rng, off=off)
    return fit, corrected(fit, prior, numbers, categories, own)


def test_mean_and_spread_are_freed_from_the_bias_of_readings():
    truth = np.random.default_rng(7).normal(175, 8, (1000, 1))  # Across the seam
    fit, better = inferred(TURNED, truth, [6.0], 1)

    def errors(population: Population) -> tuple[float, float]:
        mean = TURNED.residual(population.means[0], truth.mean(0))[0]
        return abs(mean), abs(np.sqrt(population.covariances[0, 0, 0]) - truth.std())

    assert errors(fit.population)[0] > 4
    assert errors(fit.population)[1] > 1
    assert errors(better.population)[0] < 1
    assert errors(better.population)[1] < 0.7


def test_a_slope_is_right_where_both_numbers_are_misread():
    rng = np.random.default_rng(2)
    x = rng.normal(2, 6, 1000)
    truth = np.stack([x, 2 * x + rng.normal(0, 8, 1000)], 1)
    variables = Variables("thing", (X, YAW), ())
    _, better = inferred(variables, truth, [1.0, -4.0], 3)

    covariance = better.population.covariances[0]
    assert covariance[0, 1] / covariance[0, 0] == pytest.approx(2, rel=0.1)
    rest = covariance[1, 1] - covariance[0, 1] ** 2 / covariance[0, 0]
    assert rest**0.5 == pytest.approx(8, rel=0.15)
    assert better.population.means[0] == pytest.approx(truth.mean(0), abs=1)


def test_a_number_that_is_not_seen_is_left_as_it_is():
    rng = np.random.default_rng(4)
    variables = Variables("thing", (X,), ())
    prior = Population.prior(variables)
    drawn = rng.normal(0, 2, (800, 64, 1))
    categories = np.zeros((800, 64, 0), dtype=np.int64)
    blind = Readings(drawn, categories, prior.log_density(drawn, categories), np.ones(800))
    fit = Fit(prior, 0.0, np.zeros(800), np.full((1, 1), 1e-3))
    numbers, labels = prior.sample(np.zeros((800, 0), dtype=np.int64), rng)
    better = corrected(fit, prior, numbers, labels, blind).population
    assert better.means[0, 0] == pytest.approx(0, abs=0.2)
    assert np.sqrt(better.covariances[0, 0, 0]) == pytest.approx(2, rel=0.05)


def test_frequencies_are_freed_from_confusions():
    rng = np.random.default_rng(5)
    variables = Variables("thing", (), (Factor("sprite", ("a", "b", "c"), True, (1 / 3,) * 3),))
    prior, wanted = Population.prior(variables), np.array([0.6, 0.3, 0.1])

    def seen(truth: np.ndarray) -> Readings:  # A fifth of "a" is taken for "c", with certainty
        read = np.where((truth == 0) & (rng.random(len(truth)) < 0.2), 2, truth)
        samples = np.tile(read[:, None, None], (1, 16, 1))
        log = np.full((len(truth), 16), -np.log(3))
        return Readings(np.zeros((len(truth), 16, 0)), samples, log, np.ones(len(truth)))

    fit = deconvolve(seen(rng.choice(3, 3000, p=wanted)), prior, rng)
    assert fit.population.frequencies[0][0, 0] < 0.52
    truth = rng.choice(3, 3000, p=fit.population.frequencies[0][0])
    numbers = np.zeros((3000, 0))
    better = corrected(fit, prior, numbers, truth[:, None], seen(truth)).population
    assert better.frequencies[0][0] == pytest.approx(wanted, abs=0.05)
