"""Every distribution samples from the density that it states, and both are scipy's."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from trainer.grammar.distributions import (
    Categorical,
    Constant,
    Distribution,
    Mixture,
    Normal,
    TruncatedNormal,
    Uniform,
    VonMises,
    Wrapped,
    draw_index,
    wrap,
)

COUNT = 20_000
#: With fixed seeds a test either always passes or never; a right sampler fails one seed in a thousand.
SIGNIFICANCE = 1e-3


def draws(distribution: Distribution, count: int = COUNT, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.array([distribution.sample(rng) for _ in range(count)])


def truncated(mu: float, sigma: float, low: float, high: float):
    return stats.truncnorm((low - mu) / sigma, (high - mu) / sigma, loc=mu, scale=sigma)


ON_THE_LINE = [
    pytest.param(Uniform(-2, 5), stats.uniform(-2, 7), id="uniform"),
    pytest.param(Normal(3, 0.5), stats.norm(3, 0.5), id="normal"),
    pytest.param(TruncatedNormal(0, 2, -22, 22), truncated(0, 2, -22, 22), id="truncated far out"),
    pytest.param(TruncatedNormal(1, 2, 0, 4.5), truncated(1, 2, 0, 4.5), id="truncated on both sides"),
    pytest.param(TruncatedNormal(0, 10, 0, 1), truncated(0, 10, 0, 1), id="truncated to a sliver"),
    pytest.param(TruncatedNormal(0, 1, 0, math.inf), truncated(0, 1, 0, math.inf), id="half normal"),
]


@pytest.mark.parametrize(("distribution", "truth"), ON_THE_LINE)
def test_samples_on_the_line_pass_kolmogorov_smirnov(distribution, truth):
    assert stats.kstest(draws(distribution), truth.cdf).pvalue > SIGNIFICANCE


@pytest.mark.parametrize(("distribution", "truth"), ON_THE_LINE)
def test_density_mean_and_std_on_the_line_are_scipys(distribution, truth):
    at = np.linspace(-6, 7, 41)
    np.testing.assert_allclose(np.exp(distribution.log_prob(at)), truth.pdf(at), rtol=1e-9, atol=1e-300)
    assert distribution.mean == pytest.approx(truth.mean(), abs=1e-9)
    assert distribution.std == pytest.approx(truth.std(), rel=1e-6)


def wrapped_normal_pdf(mu: float, sigma: float):
    return lambda at: sum(stats.norm(mu + 360 * k, sigma).pdf(at) for k in range(-6, 7))


def von_mises_pdf(mu: float, kappa: float):
    return lambda at: np.deg2rad(1) * stats.vonmises(kappa).pdf(np.deg2rad(at - mu))


ON_THE_CIRCLE = [
    pytest.param(Wrapped(Normal(90, 10)), wrapped_normal_pdf(90, 10), id="wrapped normal"),
    pytest.param(Wrapped(Normal(175, 20)), wrapped_normal_pdf(175, 20), id="wrapped normal across the seam"),
    pytest.param(Wrapped(Normal(0, 200)), wrapped_normal_pdf(0, 200), id="wrapped normal, nearly uniform"),
    pytest.param(Wrapped(Normal(350, 30), low=0.0), wrapped_normal_pdf(350, 30), id="wrapped normal on 0 to 360"),
    pytest.param(VonMises(-100, 4), von_mises_pdf(-100, 4), id="von mises"),
    pytest.param(VonMises(170, 0.3, low=0.0), von_mises_pdf(170, 0.3), id="von mises on 0 to 360"),
    pytest.param(
        Wrapped(Uniform(150, 230)),
        lambda at: np.where((at >= 150) | (at <= -130), 1 / 80, 0.0),
        id="uniform across the seam",
    ),
    pytest.param(
        Wrapped(TruncatedNormal(170, 30, 150, 250)),
        lambda at: truncated(170, 30, 150, 250).pdf(np.where(at < 0, at + 360, at)),
        id="truncated normal across the seam",
    ),
    pytest.param(
        Mixture((Wrapped(Normal(0, 10)), Wrapped(Normal(90, 20))), (0.25, 0.75), low=-180.0),
        lambda at: 0.25 * wrapped_normal_pdf(0, 10)(at) + 0.75 * wrapped_normal_pdf(90, 20)(at),
        id="mixture",
    ),
]


@pytest.mark.parametrize(("distribution", "pdf"), ON_THE_CIRCLE)
def test_samples_on_the_circle_pass_chi_square(distribution, pdf):
    low, high = distribution.support
    edges = np.linspace(low, high, 73)
    centres = edges[:-1, None] + np.linspace(0, 5, 401)[None, :]
    expected = COUNT * np.trapz(pdf(centres), centres, axis=1)
    sample = draws(distribution)
    assert sample.min() >= low
    assert sample.max() < high
    observed = np.histogram(sample, edges)[0]
    kept = expected >= 5  # The rest goes into one bin.
    observed_bins = np.append(observed[kept], observed[~kept].sum())
    expected_bins = np.append(expected[kept], expected[~kept].sum())
    if expected_bins[-1] < 5:
        observed_bins, expected_bins = observed_bins[:-1], expected_bins[:-1]
    expected_bins = expected_bins * observed_bins.sum() / expected_bins.sum()
    assert stats.chisquare(observed_bins, expected_bins).pvalue > SIGNIFICANCE


@pytest.mark.parametrize(("distribution", "pdf"), ON_THE_CIRCLE)
def test_density_on_the_circle_is_scipys_and_sums_to_one(distribution, pdf):
    low, high = distribution.support
    at = np.linspace(low, high, 7201)[1:-1] + 0.013  # off the edges of the uniform one
    at = at[at < high]
    np.testing.assert_allclose(np.exp(distribution.log_prob(at)), pdf(at), rtol=1e-6, atol=1e-12)
    assert np.trapz(np.exp(distribution.log_prob(at)), at) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize(("distribution", "pdf"), ON_THE_CIRCLE)
def test_circular_mean_and_std_are_those_of_the_density(distribution, pdf):
    low, high = distribution.support
    at = np.linspace(low, high, 200_001)
    resultant = np.trapz(pdf(at) * np.exp(1j * np.deg2rad(at)), at)
    assert wrap(distribution.mean - math.degrees(np.angle(resultant))) == pytest.approx(0, abs=0.05)
    assert distribution.std == pytest.approx(math.degrees(math.sqrt(-2 * math.log(abs(resultant)))), rel=1e-3)


def test_wrapped_normal_keeps_its_parameters():
    assert Wrapped(Normal(90, 10)).mean == pytest.approx(90)
    assert Wrapped(Normal(90, 10)).std == pytest.approx(10)
    assert Wrapped(Normal(270, 10)).mean == pytest.approx(-90)


def test_categorical_passes_chi_square_and_has_its_mass():
    distribution = Categorical((-1.0, 0.0, 7.0), (0.2, 0.5, 0.3))
    observed = [np.sum(draws(distribution) == value) for value in distribution.values]
    assert stats.chisquare(observed, COUNT * np.array(distribution.probabilities)).pvalue > SIGNIFICANCE
    np.testing.assert_allclose(np.exp(distribution.log_prob(np.array([-1.0, 7.0, 3.0]))), [0.2, 0.3, 0.0])
    assert distribution.mean == pytest.approx(1.9)
    assert distribution.std == pytest.approx(math.sqrt(0.2 * 2.9**2 + 0.5 * 1.9**2 + 0.3 * 5.1**2))


def test_mixture_on_the_line_has_the_moments_of_its_parts():
    distribution = Mixture((Normal(-2, 1), Normal(4, 0.5)), (0.3, 0.7))
    sample = draws(distribution)
    assert distribution.mean == pytest.approx(2.2)
    assert distribution.std == pytest.approx(math.sqrt(0.3 * 5 + 0.7 * 16.25 - 2.2**2))
    assert sample.mean() == pytest.approx(2.2, abs=5 * distribution.std / math.sqrt(COUNT))
    truth = stats.norm(-2, 1), stats.norm(4, 0.5)
    assert stats.kstest(sample, lambda at: 0.3 * truth[0].cdf(at) + 0.7 * truth[1].cdf(at)).pvalue > SIGNIFICANCE


@pytest.mark.parametrize(("distribution", "truth"), ON_THE_LINE)
def test_a_draw_takes_one_random_number_whatever_the_parameters_are(distribution, truth):
    rng, same = np.random.default_rng(2), np.random.default_rng(2)
    levels = same.random(1_000)
    found = np.array([distribution.sample(rng) for _ in levels])
    np.testing.assert_allclose(found, truth.ppf(levels), rtol=1e-7, atol=1e-9)
    assert rng.bit_generator.state == same.bit_generator.state


@pytest.mark.parametrize("level", [0.0, 1 - 2**-53])
def test_the_outermost_draws_are_finite_and_inside(level):
    rng = SimpleNamespace(random=lambda: level)
    assert abs(Normal(0, 1).sample(rng)) < 9
    assert 0 <= TruncatedNormal(0.3, 0.1, 0, 1).sample(rng) <= 1


def test_constant_draws_nothing_from_the_generator():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    assert Constant(4.5).sample(rng) == 4.5
    assert rng.bit_generator.state == before


def test_uniform_over_the_whole_circle_has_no_spread_to_speak_of():
    assert Wrapped(Uniform(-180, 180)).std > 400  # R is 0 up to rounding


@pytest.mark.parametrize(
    ("degrees", "low", "wrapped"),
    [(190, -180, -170), (-180, -180, -180), (180, -180, -180), (-1e-17, 0, 0), (725, 0, 5), (-725, -180, -5)],
)
def test_wrap(degrees, low, wrapped):
    assert wrap(degrees, low) == pytest.approx(wrapped)
    assert low <= wrap(degrees, low) < low + 360


class AlmostOne:
    """A generator whose number is the largest below one."""

    def random(self) -> float:
        return 1 - 2**-53


def test_an_impossible_choice_is_never_drawn_even_when_rounding_leaves_a_sliver():
    assert draw_index(AlmostOne(), (0.1,) * 9 + (0.1 - 1e-15, 0.0)) == 9  # type: ignore[arg-type]
