"""The population of all objects, from readings of those that are detected."""

from dataclasses import replace

import numpy as np
import pytest

from trainer.inference.correction import corrected
from trainer.inference.deconvolution import Fit, Readings, deconvolve
from trainer.inference.population import Population
from trainer.inference.selection import Selection
from trainer.inference.variables import Number, Variables

DISC = Variables("disc", (Number("x", "px", -10.0, 10.0, False, 0.0, 2.0),), ())
#: Expected discs in an image of the target, their places, and the standard error of a reading.
PER_IMAGE, MEAN, STD, ERROR = 4.0, 2.0, 1.0, 0.5
#: Those of renders stand anywhere. False detections in an image of either.
OF_RENDERS, FALSE = 3.0, 0.1
IMAGES, RENDERS, SAMPLES = 300, 2500, 24


def chance(x: np.ndarray) -> np.ndarray:
    """Discs to the left are missed."""
    return np.asarray(0.9 / (1 + np.exp(1.5 - x)))


def posterior_samples(read: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return samples [n, SAMPLES] of where detected discs stand that were read at `read` [n], under the renders."""
    grid = np.linspace(-10, 10, 1001)
    shares = np.exp(-0.5 * ((read[:, None] - grid) / ERROR) ** 2) * chance(grid)
    cumulative = shares.cumsum(1) / shares.sum(1, keepdims=True)
    drawn = rng.random((len(read), SAMPLES))
    return np.stack([np.interp(row, of, grid) for row, of in zip(drawn, cumulative, strict=True)])


def sample(seed: int) -> Readings:
    """Readings of images, false ones among them; neither scores nor places tell which, on renders."""
    rng = np.random.default_rng(seed)
    nodes = rng.uniform(-10, 10, round(OF_RENDERS * RENDERS))
    selected = rng.random(len(nodes)) < chance(nodes)
    true = selected.sum() / (selected.sum() + FALSE * RENDERS)
    x = rng.normal(MEAN, STD, rng.poisson(PER_IMAGE * IMAGES))
    x = np.concatenate([x[rng.random(len(x)) < chance(x)], rng.choice(nodes[selected], rng.poisson(FALSE * IMAGES))])
    numbers = posterior_samples(x + rng.normal(0, ERROR, len(x)), rng)[..., None]
    none, log = np.zeros((len(nodes), 0), dtype=np.int64), np.full((len(x), SAMPLES), -np.log(20))
    selection = Selection(nodes[:, None], none, np.full(len(nodes), -np.log(20)), selected, RENDERS, IMAGES)
    categories = np.zeros((len(x), SAMPLES, 0), dtype=np.int64)
    return Readings(numbers, categories, log, np.full(len(x), true), selection)


def fitted(readings: Readings, seed: int) -> Fit:
    return deconvolve(readings, Population.prior(DISC), np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(3))
def test_missed_and_false_objects_bias_neither_population_nor_count(seed: int):
    fit = fitted(sample(seed), seed)
    heaviest = int(fit.population.weights.argmax())
    assert fit.population.weights[heaviest] > 0.8
    assert fit.population.means[heaviest, 0] == pytest.approx(MEAN, abs=0.3)
    assert np.sqrt(fit.population.covariances[heaviest, 0, 0]) == pytest.approx(STD, abs=0.25)
    assert fit.count is not None
    assert fit.count.value == pytest.approx(PER_IMAGE, abs=4 * fit.count.error)
    assert 0.02 < fit.count.error < 0.3
    assert fit.count.detected == pytest.approx(0.54, abs=0.06)


def test_without_the_selection_the_population_is_that_of_detected_objects():
    fit = fitted(replace(sample(0), selection=None), 0)
    heaviest = int(fit.population.weights.argmax())
    assert fit.population.means[heaviest, 0] > MEAN + 0.3
    assert fit.count is None


def test_what_is_always_detected_is_counted_as_it_is():
    readings = sample(1)
    assert readings.selection is not None
    always = replace(readings.selection, detected=np.ones(len(readings.selection.detected), dtype=bool))
    sure = np.full(len(readings.weights), 1.0)
    count = fitted(replace(readings, weights=sure, selection=always), 1).count
    assert count is not None
    assert count.detected == pytest.approx(1.0)
    assert count.value == pytest.approx(len(sure) / IMAGES, rel=1e-3)
    assert count.error == pytest.approx(np.sqrt(len(sure)) / IMAGES, rel=0.05)


def test_few_renders_near_the_population_leave_the_rate_at_that_of_all():
    selection = sample(2).selection
    assert selection is not None
    far = replace(selection, numbers=np.where(selection.numbers > 0, -9.0, selection.numbers))
    prior = Population.prior(DISC)
    rates = far.rates(replace(prior, means=np.array([[6.0]]), covariances=np.array([[[0.01]]])))
    assert rates.trust[0] < 0.3
    assert rates.value == pytest.approx(selection.detected.mean(), abs=0.1)
    assert rates.error > 0.05


def test_few_readings_leave_the_prior():
    fit = fitted(sample(0).of(np.arange(5)), 0)
    assert fit.population.to_json() == Population.prior(DISC).to_json()


def test_a_fit_with_its_count_survives_being_kept():
    fit = fitted(sample(0).of(np.arange(200)), 0)
    again = Fit.from_json(DISC, fit.to_json())
    assert again.count == fit.count
    assert again.population.to_json() == fit.population.to_json()


def test_the_correction_takes_the_bias_off_the_number_of_nodes():
    """Readings of the population's own nodes, of which the renders find a fifth fewer than they should."""
    readings = sample(0)
    fit = fitted(readings, 0)
    assert fit.count is not None
    assert readings.selection is not None
    rng = np.random.default_rng(3)
    numbers, categories = fit.population.sample(np.zeros((round(1.25 * fit.count.value * IMAGES), 0), int), rng)
    count = corrected(fit, Population.prior(DISC), numbers, categories, readings).count
    assert count is not None
    assert count.value == pytest.approx(1.25 * fit.count.value, rel=0.05)


def test_few_readings_are_not_corrected():
    readings = sample(0).of(np.arange(5))
    fit = fitted(readings, 0)
    none = np.zeros((0, 1)), np.zeros((0, 0), dtype=np.int64)
    assert corrected(fit, Population.prior(DISC), *none, readings) is fit
