"""The structure found from readings of counts: closed forms, and recovery from misread counts."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from support.grammars import FLAT, write_sprites

from trainer.grammar import load_grammar
from trainer.grammar.productions import Structure
from trainer.inference.count_channels import Channel, channels_of, draw_counts, true_counts
from trainer.inference.count_likelihood import CountLikelihood
from trainer.inference.structure_deconvolution import CONCENTRATION, StructureFit, explain

KINDS = """\
  disc: {class: disc, sprite: shapes, width: 8, height: 8}
  star: {class: star, sprite: shapes, width: 8, height: 8}
"""
PRESENCE = FLAT + KINDS + "scene: [camera, {kind: disc, count: {categorical: {0: 0.5, 1: 0.5}, mutable: true}}]\n"
OPTIONS = FLAT + KINDS + "scene: [camera, {kind: {disc: 0.5, star: 0.5}, mutable: true}]\n"
SEVERAL = (
    FLAT
    + KINDS
    + "scene: [camera, {kind: {disc: 0.5, star: 0.5}, mutable: true, count: {poisson: [3, 10], mutable: true}}]\n"
)
SCENARIOS = (
    FLAT
    + KINDS
    + """\
  town: {children: [{kind: disc, count: {integers: [0, 5], mutable: true}}]}
  country: {children: [{kind: disc, count: {integers: [0, 5], mutable: true}}]}
scene: [camera, {kind: {country: 0.5, town: 0.5}, mutable: true}]
"""
)
ROW = (
    FLAT
    + KINDS
    + """\
  road: {children: [{kind: disc, along: {end: 19, spacing: 2, keep: {uniform: [0, 1], mutable: true}}}]}
scene: [camera, road]
"""
)
PLACES = (
    FLAT
    + KINDS
    + """\
  left: {x: -8, children: [{kind: disc, count: {categorical: {0: 0.5, 1: 0.5}, mutable: true}}]}
  right: {x: 8, children: [{kind: disc, count: {categorical: {0: 0.5, 1: 0.5}, mutable: true}}]}
scene: [camera, left, right]
"""
)


@pytest.fixture
def load(tmp_path):
    return lambda text: load_grammar(write_sprites(tmp_path, text))


def sampled(grammar, count, seed=0):
    rng = np.random.default_rng(seed)
    return [grammar.sample(rng) for _ in range(count)]


def table(confusion, readings):
    """The likelihood of one channel's readings by a confusion matrix [true, read]."""
    log = np.log(np.maximum(np.asarray(confusion, dtype=float), 1e-12))
    return lambda counts: log[counts[:, 0]][:, readings].T


def misread(counts, rng, miss=0.15, false=0.3):
    """Counts with misses and imagined objects."""
    return rng.binomial(counts, 1 - miss) + rng.poisson(false, counts.shape)


def recovered(grammar, truth, count=1500, seed=0):
    """The fit to misread scenes of a known structure, with confusions from scenes of a uniform one."""
    rng = np.random.default_rng([seed, 1])
    wide = sampled(grammar.with_structure(Structure.uniform(grammar.productions)), 1500, seed)
    channels = channels_of(grammar, wide)
    true = true_counts(wide, channels)
    errors = CountLikelihood.of(true, misread(true, rng))
    read = misread(true_counts(sampled(grammar.with_structure(truth), count, seed + 100), channels), rng)
    return explain(grammar, channels, lambda counts: errors.log_likelihood(read, counts), count, rng)


def test_exact_readings_give_the_dirichlet_posterior_mode(load):
    grammar = load(PRESENCE)
    likelihood = table(np.eye(2), np.array([1] * 73 + [0] * 27))
    fit = explain(grammar, (Channel("disc"),), likelihood, 100, np.random.default_rng(0))
    # The outliers' share bends the closed form by less than 0.003.
    assert fit.structure.probabilities["scene.1.count"][1] == pytest.approx(
        (73 + CONCENTRATION / 2) / (100 + CONCENTRATION), abs=0.003
    )
    assert fit.errors["scene.1.count"][1] == pytest.approx(np.sqrt(0.73 * 0.27 / 100), rel=0.5)


def test_a_known_confusion_is_inverted(load):
    """P(read 1) = 0.1 + (0.8 - 0.1) p, so p = (0.59 - 0.1) / 0.7 = 0.7."""
    grammar = load(PRESENCE)
    likelihood = table([[0.9, 0.1], [0.2, 0.8]], np.array([1] * 5900 + [0] * 4100))
    fit = explain(grammar, (Channel("disc"),), likelihood, 10_000, np.random.default_rng(0))
    assert fit.structure.probabilities["scene.1.count"][1] == pytest.approx(0.7, abs=0.01)


def test_a_confusion_of_kinds_is_inverted(load):
    """A disc is read as a star in 30 % of the images, a star as a disc in 10 %: 0.62 = 0.7 p + 0.1 (1 - p)."""
    likelihood = table([[0.9, 0.1], [0.3, 0.7]], np.array([1] * 6200 + [0] * 3800))
    fit = explain(load(OPTIONS), (Channel("disc"),), likelihood, 10_000, np.random.default_rng(0))
    assert fit.structure.probabilities["scene.1.kind"][0] == pytest.approx(0.52 / 0.6, abs=0.01)


def test_few_images_lean_to_the_prior_and_none_give_it(load):
    grammar = load(PRESENCE)
    fit = explain(grammar, (Channel("disc"),), table(np.eye(2), np.array([1])), 1, np.random.default_rng(0))
    assert 0.5 < fit.structure.probabilities["scene.1.count"][1] < 0.7


@pytest.mark.parametrize("seed", range(3))
def test_counts_and_shares_of_kinds_are_recovered_from_misread_counts(load, seed):
    grammar = load(SEVERAL)
    six = np.array([6.0**k / np.prod(np.arange(1, k + 1)) for k in range(11)])
    truth = Structure({"scene.1.count": tuple(six / six.sum()), "scene.1.kind": (0.8, 0.2)})
    fit = recovered(grammar, truth, seed=seed)
    count, _ = grammar.productions
    found = count.moments(fit.structure.probabilities["scene.1.count"])[0]
    assert found == pytest.approx(count.moments(truth.probabilities["scene.1.count"])[0], rel=0.05)
    assert fit.structure.probabilities["scene.1.kind"][0] == pytest.approx(0.8, abs=0.03)
    assert fit.unexplained < 0.02


def test_counts_depend_on_the_scenario(load):
    grammar = load(SCENARIOS)
    truth = Structure(
        {
            "scene.1.kind": (0.3, 0.7),
            "country.children.0.count": (0.6, 0.4, 0.0, 0.0, 0.0, 0.0),
            "town.children.0.count": (0.0, 0.0, 0.0, 0.0, 0.5, 0.5),
        }
    )
    rng = np.random.default_rng(3)
    wide = sampled(grammar, 1500)
    channels = channels_of(grammar, wide)
    assert [each.name for each in channels] == ["country", "disc", "town"]
    true = true_counts(wide, channels)

    def read(counts):
        noise = np.array([0.1, 0.5, 0.1])
        return counts + noise * rng.standard_normal(counts.shape)

    errors = CountLikelihood.of(true, read(true))
    target = read(true_counts(sampled(grammar.with_structure(truth), 800, 9), channels))
    fit = explain(grammar, channels, lambda counts: errors.log_likelihood(target, counts), 800, rng)
    found = fit.structure.probabilities
    country, town = (each for each in grammar.productions if each.part == "count")
    assert found["scene.1.kind"][0] == pytest.approx(0.3, abs=0.05)
    assert country.moments(found[country.name])[0] == pytest.approx(0.4, abs=0.15)
    assert town.moments(found[town.name])[0] == pytest.approx(4.5, abs=0.15)


def test_how_full_a_row_is_is_found_from_its_counts(load):
    grammar = load(ROW)
    [keep] = grammar.productions
    truth = Structure({keep.name: (0, 0, 0.5, 0.5, 0, 0, 0, 0, 0, 0)})
    fit = recovered(grammar, truth)
    assert keep.moments(fit.structure.probabilities[keep.name])[0] == pytest.approx(0.3, abs=0.03)


def test_a_kind_below_several_parents_has_a_channel_for_each(load):
    grammar = load(PLACES)
    scenes = sampled(grammar, 100)
    channels = channels_of(grammar, scenes)
    assert [each.name for each in channels] == ["left > disc", "right > disc"]
    counts, draws = true_counts(scenes, channels), draw_counts(scenes, grammar.productions)
    assert (draws[:, [1, 3]] == counts).all()
    assert (draws.sum(1) == 2).all()


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_right_where_kinds_are_hardly_told_apart(load, seed):
    """Of a disc 0.55 are read as a disc and 0.45 as a star, and the other way round, under noise."""
    grammar = load(SEVERAL)
    truth = Structure({"scene.1.count": (0,) * 5 + (0.5, 0.5) + (0,) * 4, "scene.1.kind": (0.8, 0.2)})
    rng = np.random.default_rng([seed, 7])
    mixing = np.array([[0.55, 0.45], [0.45, 0.55]])
    channels = (Channel("disc"), Channel("star"))

    def read(counts):
        return counts @ mixing + 0.3 * rng.standard_normal(counts.shape)

    true = true_counts(sampled(grammar.with_structure(Structure.uniform(grammar.productions)), 1500, seed), channels)
    errors = CountLikelihood.of(true, read(true))
    target = read(true_counts(sampled(grammar.with_structure(truth), 2000, seed + 50), channels))
    fit = explain(grammar, channels, lambda counts: errors.log_likelihood(target, counts), 2000, rng)
    assert fit.structure.probabilities["scene.1.kind"][0] == pytest.approx(0.8, abs=0.07)
    count = grammar.productions[0]
    assert count.moments(fit.structure.probabilities[count.name])[0] == pytest.approx(5.5, rel=0.03)


def test_errors_of_readings_are_estimated_from_pairs():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 6, (20_000, 2))
    mixing, noise = np.array([[0.7, 0.2], [0.1, 0.8]]), np.array([[1.0, 0.5], [0.5, 1.0]])
    errors = rng.standard_normal(counts.shape) @ np.linalg.cholesky(noise).T
    readings = counts @ mixing + 0.4 + errors * np.sqrt(0.1 + 0.05 * counts)
    found = CountLikelihood.of(counts, readings)
    assert found.means[1:3] == pytest.approx(mixing, abs=0.03)
    assert found.means[0] == pytest.approx(0.4, abs=0.03)
    assert found.correlation[0, 1] == pytest.approx(0.5, abs=0.05)
    scenes = np.array([[0, 0], [5, 5]])
    assert found._stds(scenes) ** 2 == pytest.approx(np.array([[0.1, 0.1], [0.35, 0.35]]), abs=0.04)


def test_a_second_reading_of_a_channel_sharpens_the_likelihood():
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 8, (4000, 2))
    vague, sharp = (counts + rng.normal(0, std, counts.shape) for std in (2.0, 0.5))
    both = CountLikelihood.of(counts, np.hstack([vague, sharp[:, 1:]]), [0, 1, 1])
    one = CountLikelihood.of(counts, vague)
    assert both.means[1:3, 2] == pytest.approx([0, 1], abs=0.03)
    scenes = np.array([[4, n] for n in range(8)])
    reading = np.array([[4.0, 5.0]])
    alone = one.log_likelihood(reading, scenes)[0]
    together = both.log_likelihood(np.array([[4.0, 5.0, 3.0]]), scenes)[0]
    assert alone.argmax() == 5
    # The normal distributions' product: precisions 1/4 and 4 weigh 5 and 3.
    weights = np.exp(together - together.max())
    assert (weights @ np.arange(8)) / weights.sum() == pytest.approx((5 / 4 + 3 * 4) / (1 / 4 + 4), abs=0.15)


def test_the_likelihood_is_that_of_the_normal_distribution():
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 4, (300, 2))
    found = CountLikelihood.of(counts, counts + rng.standard_normal(counts.shape) @ np.array([[0.5, 0.2], [0.0, 0.4]]))
    scenes, readings = np.array([[0, 1], [2, 3]]), np.array([[0.2, 1.1], [1.5, 2.0], [3.0, 0.0]])
    log = found.log_likelihood(readings, scenes)
    terms = np.column_stack([np.ones(2), scenes, scenes.sum(1) ** 2 / 10])
    constants = []
    for a in range(2):
        stds = found._stds(scenes)[a]
        covariance = np.outer(stds, stds) * found.correlation
        exact = multivariate_normal((terms @ found.means)[a], covariance).logpdf(readings)
        assert np.ptp(log[:, a] - exact) < 1e-9
        constants.append(log[0, a] - exact[0])
    assert constants[0] == pytest.approx(constants[1])


def test_a_fit_survives_json(load):
    grammar = load(PRESENCE)
    fit = explain(grammar, (Channel("disc"),), table(np.eye(2), np.array([1, 0])), 2, np.random.default_rng(0))
    assert StructureFit.from_json(fit.to_json()) == fit
