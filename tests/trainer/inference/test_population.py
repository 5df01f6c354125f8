import json

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from trainer.inference.deconvolution import Readings, deconvolve
from trainer.inference.population import Population, proposal_log_density
from trainer.inference.selection import Selection
from trainer.inference.variables import Factor, Number, Variables


def number(name="x", low=-10.0, high=10.0, is_angle=False, mean=0.0, std=1.0):
    return Number(name, "deg" if is_angle else "m", low, high, is_angle, mean, std)


def angle(name="yaw", mean=0.0, std=10.0):
    return number(name, -180.0, 180.0, True, mean, std)


def readings(variables, truth, noise, rng, categories=None, samples=64):
    """Return posteriors under a uniform proposal, where the truth [n, d] is read with normal errors."""
    n, d = truth.shape
    noise = np.asarray(noise, dtype=float)
    seen = truth + noise * rng.standard_normal((n, d))
    drawn = variables.inside(seen[:, None] + noise * rng.standard_normal((n, samples, d)))
    if categories is None:
        categories = np.zeros((n, samples, len(variables.factors)), dtype=np.int64)
    proposal = Population.uniform(variables)
    log = proposal_log_density([proposal], [1.0], drawn, categories)
    return Readings(drawn, categories, log, np.ones(n))


def test_deconvolution_removes_normal_errors_of_a_normal_population():
    rng = np.random.default_rng(0)
    variables = Variables("thing", (number(std=2.0),), ())
    truth = rng.normal(3.0, 0.8, (1500, 1))
    fit = deconvolve(readings(variables, truth, [1.2], rng), Population.prior(variables), rng)
    assert len(fit.population.weights) == 1
    assert fit.population.means[0, 0] == pytest.approx(3.0, abs=0.15)
    assert np.sqrt(fit.population.covariances[0, 0, 0]) == pytest.approx(0.8, rel=0.15)


def test_deconvolution_finds_a_mixture_on_the_circle_across_its_seam():
    rng = np.random.default_rng(1)
    variables = Variables("thing", (angle(),), ())
    first = rng.random(2000) < 0.6
    truth = np.where(first, rng.normal(175, 8, 2000), rng.normal(40, 8, 2000))[:, None]
    fit = deconvolve(readings(variables, truth, [12.0], rng), Population.prior(variables), rng)
    population = fit.population
    assert len(population.weights) == 2
    order = np.argsort(np.abs(population.variables.residual(population.means, np.array([175.0])))[:, 0])
    assert abs(population.variables.residual(population.means[order[0]], np.array([175.0]))[0]) < 2
    assert abs(population.means[order[1], 0] - 40) < 2
    assert population.weights[order[0]] == pytest.approx(0.6, abs=0.05)
    assert np.sqrt(population.covariances[:, 0, 0]) == pytest.approx([8, 8], rel=0.25)


def test_a_population_that_depends_on_the_class_is_split_and_one_that_does_not_is_not():
    rng = np.random.default_rng(2)
    labels = tuple("0123456789")
    variables = Variables("digit", (angle(),), (Factor("class", labels, False, (0.1,) * 10),))
    classes = rng.integers(10, size=2000)
    seen = np.tile(classes[:, None, None], (1, 64, 1))
    depends = np.where(classes < 5, rng.normal(60, 8, 2000), rng.normal(-60, 8, 2000))[:, None]
    fit = deconvolve(readings(variables, depends, [12.0], rng, seen), Population.prior(variables), rng)
    shares = fit.population.responsibilities_given(np.arange(10)[:, None])
    own = [int(np.argmin(np.abs(fit.population.means[:, 0] - (60 if c < 5 else -60)))) for c in range(10)]
    assert min(shares[c, own[c]] / shares[c, :-1].sum() for c in range(10)) > 0.97
    assert any("given class 7" in line for line in fit.population.lines())

    alike = np.where(rng.random(2000) < 0.5, rng.normal(60, 8, 2000), rng.normal(-60, 8, 2000))[:, None]
    fit = deconvolve(readings(variables, alike, [12.0], rng, seen), Population.prior(variables), rng)
    assert not any("given" in line for line in fit.population.lines())


def test_a_linear_dependence_between_numbers_is_recovered():
    rng = np.random.default_rng(3)
    variables = Variables("digit", (number("x", -22, 22, std=2.0), angle()), ())
    x = rng.normal(-4, 6, 2000)
    truth = np.stack([x, 3 * x + rng.normal(0, 8, 2000)], 1)
    fit = deconvolve(readings(variables, truth, [1.0, 10.0], rng), Population.prior(variables), rng)
    assert len(fit.population.weights) == 1
    covariance = fit.population.covariances[0]
    assert covariance[0, 1] / covariance[0, 0] == pytest.approx(3.0, rel=0.1)
    rest = covariance[1, 1] - covariance[0, 1] ** 2 / covariance[0, 0]
    assert np.sqrt(rest) == pytest.approx(8.0, rel=0.2)


def test_an_attribute_that_is_not_seen_keeps_the_prior():
    rng = np.random.default_rng(4)
    variables = Variables("thing", (number(std=0.5),), ())
    drawn = rng.normal(1, 1.5, (1000, 64, 1))
    categories = np.zeros((1000, 64, 0), dtype=np.int64)
    log = norm.logpdf(drawn[..., 0], 1, 1.5)
    fit = deconvolve(Readings(drawn, categories, log, np.ones(1000)), Population.prior(variables), rng)
    assert abs(fit.population.means[0, 0]) < 1.0
    assert np.sqrt(fit.population.covariances[0, 0, 0]) == pytest.approx(0.5, rel=0.3)


def test_frequencies_are_corrected_for_confusions():
    rng = np.random.default_rng(5)
    variables = Variables("digit", (), (Factor("sprite", ("a", "b", "c"), True, (1 / 3,) * 3),))
    wanted = np.array([0.7, 0.25, 0.05])
    confusion = np.array([[0.7, 0.2, 0.1], [0.15, 0.7, 0.15], [0.1, 0.2, 0.7]])  # p(read | true)
    truth = rng.choice(3, 3000, p=wanted)
    read = np.array([rng.choice(3, p=confusion[t]) for t in truth])
    posterior = confusion.T / confusion.T.sum(1, keepdims=True)  # p(true | read), uniform prior
    samples = np.stack([rng.choice(3, 256, p=posterior[r]) for r in read])[..., None]
    log = np.full(samples.shape[:2], -np.log(3))
    some = Readings(np.zeros((3000, 256, 0)), samples, log, np.ones(3000))
    fit = deconvolve(some, Population.prior(variables), rng)
    assert fit.population.frequencies[0][0] == pytest.approx(wanted, abs=0.04)


def test_readings_that_no_component_explains_go_to_the_background():
    rng = np.random.default_rng(6)
    variables = Variables("thing", (number(std=1.0),), ())
    truth = np.concatenate([rng.normal(2, 1, 1900), rng.uniform(-10, 10, 100)])[:, None]
    fit = deconvolve(readings(variables, truth, [0.3], rng), Population.prior(variables), rng)
    assert fit.population.means[0, 0] == pytest.approx(2, abs=0.1)
    assert np.sqrt(fit.population.covariances[0, 0, 0]) == pytest.approx(1, rel=0.15)
    assert fit.unexplained[np.abs(truth[:, 0] - 2) > 5].mean() > 0.8


def test_density_equals_an_independent_one_and_integrates_to_one():
    variables = Variables("thing", (number("x"), number("y")), (Factor("class", ("a", "b"), False, (0.5, 0.5)),))
    covariances = np.array([[[1.0, 0.3], [0.3, 0.5]], [[0.4, 0.0], [0.0, 2.0]]])
    means = np.array([[0.0, 1.0], [-2.0, 0.5]])
    frequencies = (np.array([[0.2, 0.8], [0.6, 0.4]]),)
    population = Population(variables, np.array([0.3, 0.6]), means, covariances, frequencies, 0.1)
    at, category = np.array([[0.4, 0.1]]), np.array([[1]])
    wanted = 0.3 * 0.8 * multivariate_normal(means[0], covariances[0]).pdf(at[0])
    wanted += 0.6 * 0.4 * multivariate_normal(means[1], covariances[1]).pdf(at[0]) + 0.1 * 0.5 / 400
    assert population.log_density(at, category)[0] == pytest.approx(np.log(wanted))
    grid = np.stack(np.meshgrid(np.linspace(-10, 10, 201), np.linspace(-10, 10, 201)), -1).reshape(-1, 2)
    total = sum(np.exp(population.log_density(grid, np.full((len(grid), 1), c))).sum() * 0.1**2 for c in range(2))
    assert total == pytest.approx(1, abs=0.02)


def test_samples_follow_the_conditional_density():
    rng = np.random.default_rng(7)
    factors = (Factor("class", ("a", "b"), False, (0.5, 0.5)),)
    variables = Variables("thing", (angle(),), factors)
    population = Population(
        variables,
        np.array([0.5, 0.5]),
        np.array([[90.0], [-90.0]]),
        np.array([[[100.0]], [[400.0]]]),
        (np.array([[0.9, 0.1], [0.1, 0.9]]),),
    )
    context = np.zeros((20000, 1), dtype=np.int64)
    values, _ = population.sample(context, rng)
    assert (values > 0).mean() == pytest.approx(0.9, abs=0.01)
    own = values[values > 0]
    assert own.std() == pytest.approx(10, rel=0.05)
    at = np.array([[95.0]])
    wanted = 0.9 * norm.pdf(95, 90, 10)
    assert population.conditional_log_density(at, context[:1])[0] == pytest.approx(np.log(wanted), rel=1e-3)


def test_a_population_survives_json():
    variables = Variables("thing", (number(), angle()), (Factor("color", ("red", "blue"), True, (0.5, 0.5)),))
    population = Population.prior(variables)
    again = Population.from_json(variables, json.loads(json.dumps(population.to_json())))
    assert again.to_json() == population.to_json()
    assert again.lines() == population.lines()


def test_a_category_that_no_reading_shows_keeps_the_share_of_one_image():
    """The Dirichlet posterior mean, with all nodes of an image as one observation, in closed form."""
    rng = np.random.default_rng(0)
    variables = Variables("coin", (), (Factor("sprite", ("a", "b", "c"), True, (0.5, 0.25, 0.25)),))
    images, each = 20, 30
    seen = np.arange(images * each) % 10 >= 7
    categories = np.repeat(seen.astype(np.int64)[:, None, None], 16, 1)
    none, log = np.zeros((len(seen), 16, 0)), np.full((len(seen), 16), -np.log(3))
    shown, all_found = rng.integers(0, 3, (300, 1)), np.ones(300, bool)
    selection = Selection(np.zeros((300, 0)), shown, np.full(300, -np.log(3)), all_found, 10, images)
    fit = deconvolve(Readings(none, categories, log, np.ones(len(seen)), selection), Population.prior(variables), rng)
    expected = (images * np.array([0.7, 0.3, 0]) + 3 * np.array([0.5, 0.25, 0.25])) / (images + 3)
    assert fit.population.frequencies[0][0] == pytest.approx(expected, abs=0.005)
