"""The population that explains readings whose errors are known: deconvolution by expectation-maximisation.

A reading is a posterior q(a, c | x) under the proposal π that the estimator has learned from. Its samples, weighted by
p / π, are samples of the posterior under the population p; the weighted maximum-likelihood fit of p to the samples of
all readings is the M-step (empirical Bayes with a learned likelihood: Louppe et al., Neural Empirical Bayes, 2019;
where posteriors are normal it is extreme deconvolution: Bovy, Hogg & Roweis, Annals of Applied Statistics, 2011).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from trainer.inference.population import Population
from trainer.inference.selection import Count, Rates, Selection, evidence_of
from trainer.inference.variables import Variables

#: Most components, iterations of a fit, and starts of a component.
MOST, ITERATIONS, STARTS, SHORT = 8, 80, 4, 8
#: Readings on which starts are tried.
TRIED = 500
#: A fit has converged when the mean log-likelihood of a reading grows by less.
TOLERANCE = 4e-5
#: A component must raise the mean log-likelihood of a reading by more than this, beside what BIC asks for.
LEAST_GAIN = 0.01
#: Components that weigh less are taken for misread images.
LIGHTEST = 0.06
#: Most and least weight of the background.
BACKGROUND = 0.15, 1e-3
#: Smallest standard deviation of a component, as a fraction of an attribute's range.
NARROWEST = 1e-3
#: How far a spread is expected from the prior's: standard deviation of the logarithm of their ratio.
EXPECTED = 0.35
#: Fewer readings tell nothing.
FEWEST = 10.0


@dataclass(frozen=True)
class Readings:
    """Posterior samples of the variables of one kind, S of each of n readings.

    Attributes:
        numbers: [n, S, d].
        categories: int [n, S, F].
        log_proposal: [n, S], log density of the samples under what the estimator has learned from.
        weights: [n]: how much each reading counts; of a detection the probability that it would be true on renders.
        selection: what is detected; default: there is a reading of every node.
    """

    numbers: np.ndarray
    categories: np.ndarray
    log_proposal: np.ndarray
    weights: np.ndarray
    selection: Selection | None = None

    def of(self, index: np.ndarray) -> "Readings":
        """Return some of the readings, as if from as many fewer images."""
        selection = self.selection
        if selection is not None:
            selection = replace(selection, images=selection.images * len(index) / max(len(self.weights), 1))
        return Readings(
            self.numbers[index], self.categories[index], self.log_proposal[index], self.weights[index], selection
        )


@dataclass(frozen=True)
class Fit:
    """A population, and how well it explains the readings.

    Attributes:
        log_likelihood: the mean of a reading.
        unexplained: [n], the part of each reading that the background explains, if the reading is true.
        information: [M, d], the part of a component's variance that readings tell; the rest is taken from the
            population itself.
        count: of a kind that may repeat, how many nodes an image of the target has; None: exactly one.
    """

    population: Population
    log_likelihood: float
    unexplained: np.ndarray
    information: np.ndarray
    count: Count | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all fields, as JSON."""
        return {
            "population": self.population.to_json(),
            "log_likelihood": self.log_likelihood,
            "unexplained": self.unexplained.tolist(),
            "information": self.information.tolist(),
            "count": None if self.count is None else asdict(self.count),
        }

    @classmethod
    def from_json(cls, variables: Variables, content: Mapping[str, Any]) -> "Fit":
        """Return the fit that `to_json` has described."""
        population = Population.from_json(variables, content["population"])
        information = np.array(content["information"]).reshape(population.means.shape)
        count = None if content["count"] is None else Count(**content["count"])
        return cls(population, content["log_likelihood"], np.array(content["unexplained"]), information, count)


def deconvolve(readings: Readings, prior: Population, rng: np.random.Generator, start: Population | None = None) -> Fit:
    """Fit the population to the readings; the number of components is chosen by the Bayesian information criterion.

    Args:
        prior: one component; its spreads stand where the readings do not tell otherwise, and all of it where there are
            next to no readings.
        start: components to begin with; default: found from the readings.
    """
    if readings.weights.sum() < FEWEST:
        return Fit(prior, 0.0, np.zeros(len(readings.weights)), np.ones(prior.means.shape))
    best = _fitted(readings, _single(readings, prior, rng), prior) if start is None else _fitted(readings, start, prior)
    count = float(readings.weights.sum())
    most = MOST if readings.numbers.shape[-1] else 1
    while len(best.population.weights) < most:
        tried = _fitted(readings, _with_another(readings, best, prior, rng), prior)
        gain = tried.log_likelihood - best.log_likelihood
        more = _parameters(tried.population) - _parameters(best.population)
        if gain * count < 0.5 * more * np.log(count) + LEAST_GAIN * count:
            break
        best = tried
    return _settled(readings, _without_needless_context(readings, _pruned(readings, best, prior), prior), prior)


def refit(readings: Readings, population: Population, prior: Population) -> Fit:
    """Fit a population with the same components, from itself on."""
    return _fitted(readings, population, prior)


def _single(readings: Readings, prior: Population, rng: np.random.Generator) -> Population:
    """Return one component at the best of several places."""
    if not readings.numbers.shape[-1]:
        return prior
    first = _floored(replace(prior, background=BACKGROUND[0], weights=prior.weights * (1 - BACKGROUND[0])))
    some = _some(readings)
    starts = [replace(first, means=_place(readings, rng)[None]) for _ in range(STARTS)]
    of_prior, *tried = (_iterated(some, start, prior, SHORT) for start in (first, *starts))
    best = max(tried, key=lambda fit: fit.log_likelihood)
    return (best if best.log_likelihood > of_prior.log_likelihood + 2 * LEAST_GAIN else of_prior).population


def _with_another(readings: Readings, fit: Fit, prior: Population, rng: np.random.Generator) -> Population:
    """Return the population with a component more, at the best of several places that it explains badly."""
    readings = _some(readings)
    _, normaliser = _posterior(readings, fit.population)
    worst = np.exp(-(normaliser - normaliser.max())) if len(normaliser) else normaliser
    worst = np.minimum(worst, np.quantile(worst, 0.9)) * readings.weights
    tried = []
    old = fit.population
    for _ in range(STARTS):
        place = _place(readings, rng, worst)
        share = (1 - old.background) / (len(old.weights) + 1)
        rest = old.weights * (1 - share / max(old.weights.sum(), 1e-12))
        pooled = [row[None] for row in _pooled(old)]
        start = replace(
            old,
            weights=np.append(np.maximum(rest, 1e-6), share),
            means=np.vstack([old.means, place]),
            covariances=np.concatenate([old.covariances, prior.covariances]),
            frequencies=tuple(np.vstack([rows, row]) for rows, row in zip(old.frequencies, pooled, strict=True)),
        )
        tried.append(_iterated(readings, _floored(start), prior, SHORT))
    return max(tried, key=lambda each: each.log_likelihood).population


def _some(readings: Readings) -> Readings:
    """Return at most `TRIED` of the readings, evenly chosen."""
    step = -(-len(readings.weights) // TRIED)
    return readings.of(np.arange(0, len(readings.weights), step))


def _place(readings: Readings, rng: np.random.Generator, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the numbers [d] of a random sample of a random reading."""
    weights = readings.weights if weights is None else weights
    row = rng.choice(len(weights), p=weights / weights.sum())
    return np.asarray(readings.numbers[row, rng.integers(readings.numbers.shape[1])])


def _fitted(readings: Readings, start: Population, prior: Population) -> Fit:
    return _iterated(readings, start, prior, ITERATIONS)


def _iterated(
    readings: Readings, start: Population, prior: Population, iterations: int, *, shared: bool = False
) -> Fit:
    """Iterate expectation and maximisation.

    Args:
        shared: all components keep the same frequencies of the context.
    """
    population, before = start, -np.inf
    for _ in range(iterations):
        log, normaliser = _posterior(readings, population)
        evidence = evidence_of(readings.weights, normaliser, readings.selection, population)
        if evidence.log_likelihood - before < TOLERANCE:
            break
        before = evidence.log_likelihood
        parts = np.exp(log - normaliser[:, None, None]) * evidence.true[:, None, None]
        population = _maximised(readings, population, prior, parts, shared, evidence.rates)
    return _assessed(readings, population)


def _posterior(readings: Readings, population: Population) -> tuple[np.ndarray, np.ndarray]:
    """Return log of p_m / π / S [n, S, M + 1], and its log-sum over samples and components [n]."""
    log = population.component_log_densities(readings.numbers, readings.categories)
    log = log - readings.log_proposal[..., None] - np.log(readings.log_proposal.shape[1])
    return log, np.asarray(np.logaddexp.reduce(log.reshape(len(log), -1), 1))


def _with_missed(
    readings: Readings, parts: np.ndarray, rates: Rates | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return numbers [K, d], categories [K, F] and parts [K, M + 1] of all samples, and of nodes that are missed."""
    count = readings.log_proposal.size
    numbers, categories = (each.reshape(count, each.shape[-1]) for each in (readings.numbers, readings.categories))
    flat, selection = parts.reshape(count, -1), readings.selection
    if selection is None or rates is None:
        return numbers, categories, flat
    missed = ~selection.detected
    # n detected nodes of a component stand for n / D; the others look like those that are missed on renders.
    of_missed = rates.missed[missed] * (flat.sum(0) * (1 / rates.components - 1) * rates.trust)
    return (
        np.concatenate([numbers, selection.numbers[missed]]),
        np.concatenate([categories, selection.categories[missed]]),
        np.concatenate([flat, of_missed]),
    )


def _maximised(
    readings: Readings, old: Population, prior: Population, parts: np.ndarray, shared: bool, rates: Rates | None
) -> Population:
    """Return the weighted maximum-likelihood population; the prior counts as one observation of each component.

    Args:
        parts: [n, S, M + 1], of each reading the part of each sample in each component.
        rates: what part of the old population is detected.
    """
    variables = old.variables
    numbers, categories, parts = _with_missed(readings, parts, rates)
    sums = parts.sum(0)
    most, least = BACKGROUND if variables.numbers else (0.0, 0.0)
    background = float(np.clip(sums[-1] / sums.sum(), least, most))
    weights = sums[:-1] / max(sums[:-1].sum(), 1e-12) * (1 - background)
    means, covariances = old.means.copy(), old.covariances.copy()
    for m in range(len(weights)):
        if not variables.numbers or sums[m] <= 0:
            continue
        flat = variables.residual(numbers, old.means[m])
        weighted = flat * parts[:, m : m + 1]
        step = weighted.sum(0) / sums[m]
        spread = weighted.T @ flat - sums[m] * np.outer(step, step)
        means[m] = variables.inside(old.means[m] + step)
        covariances[m] = (spread + prior.covariances[0]) / (sums[m] + 1)
    frequencies = []
    for f, factor in enumerate(variables.factors):
        size = len(factor.categories)
        counts = np.stack([np.bincount(categories[:, f], parts[:, m], size) for m in range(len(weights))])
        pooled = (counts.sum(0) + np.asarray(factor.frequencies)) / (counts.sum() + 1)
        if shared and not factor.mutable:
            frequencies.append(np.tile(pooled, (len(weights), 1)))
            continue
        rows = counts + size * pooled  # Contexts with few readings shrink towards all.
        frequencies.append(rows / rows.sum(1, keepdims=True))
    return _floored(Population(variables, weights, means, covariances, tuple(frequencies), background))


def _floored(population: Population) -> Population:
    """Return the population with no standard deviation below the narrowest."""
    variables = population.variables
    if not variables.numbers:
        return population
    floor = np.diag((NARROWEST * (variables.high - variables.low)) ** 2)
    narrow = np.diagonal(population.covariances, axis1=1, axis2=2) < np.diagonal(floor)
    if not narrow.any():
        return population
    covariances = population.covariances.copy()
    covariances[narrow.any(1)] += floor
    return replace(population, covariances=covariances)


def _assessed(readings: Readings, population: Population) -> Fit:
    log, normaliser = _posterior(readings, population)
    evidence = evidence_of(readings.weights, normaliser, readings.selection, population)
    parts = np.exp(log - normaliser[:, None, None]) * evidence.true[:, None, None]
    by_reading = parts.sum(1)
    information = np.ones(population.means.shape)
    for m in range(len(population.weights)):
        if not population.variables.numbers:
            continue
        residual = population.variables.residual(readings.numbers, population.means[m])
        part, sums = parts[..., m], np.maximum(by_reading[:, m], 1e-12)
        centre = np.einsum("ns,nsi->ni", part, residual) / sums[:, None]
        inner = np.einsum("ns,nsi->i", part, residual**2) - np.einsum("n,ni->i", sums, centre**2)
        variance = np.diagonal(population.covariances[m]) * max(sums.sum(), 1e-12)
        information[m] = np.clip(1 - inner / variance, 1e-3, 1.0)
    unexplained = by_reading[:, -1] / np.maximum(by_reading.sum(1), 1e-12)
    return Fit(population, evidence.log_likelihood, unexplained, information, evidence.count)


def _pruned(readings: Readings, fit: Fit, prior: Population) -> Fit:
    """Return the fit without components so light that misread images explain them."""
    population = fit.population
    kept = population.weights >= LIGHTEST * population.weights.sum()
    if kept.all():
        return fit
    weights = population.weights[kept] * (population.weights.sum() / population.weights[kept].sum())
    rest = replace(
        population,
        weights=weights,
        means=population.means[kept],
        covariances=population.covariances[kept],
        frequencies=tuple(rows[kept] for rows in population.frequencies),
    )
    return _iterated(readings, rest, prior, ITERATIONS // 2)


def _without_needless_context(readings: Readings, fit: Fit, prior: Population) -> Fit:
    """Return the fit whose components share the frequencies of the context, unless the data show otherwise."""
    population = fit.population
    context = population.variables.context
    if len(population.weights) < 2 or not context.any():
        return fit
    alike = tuple(
        np.tile(row, (len(population.weights), 1)) if of_context else rows
        for rows, row, of_context in zip(population.frequencies, _pooled(population), context, strict=True)
    )
    shared = _iterated(readings, replace(population, frequencies=alike), prior, ITERATIONS // 3, shared=True)
    saved = (len(population.weights) - 1) * sum(
        len(factor.categories) - 1 for factor in population.variables.factors if not factor.mutable
    )
    count = float(readings.weights.sum())
    loss = (fit.log_likelihood - shared.log_likelihood) * count
    return shared if loss < 0.5 * saved * np.log(count) else fit


def _settled(readings: Readings, fit: Fit, prior: Population) -> Fit:
    """Return the fit whose spreads, and the mean of a single component, lean to the prior as far as they are unsure.

    The logarithm of a spread over the prior's has a normal prior, and the standard error of what the readings tell.
    """
    population = fit.population
    if not population.variables.numbers:
        return fit
    stds = np.sqrt(np.diagonal(prior.covariances[0]))
    means, covariances = population.means.copy(), population.covariances.copy()
    for m, weight in enumerate(population.weights):
        count = max(weight * float(readings.weights.sum()), 1.0)
        found = np.sqrt(np.diagonal(covariances[m]))
        error = 1 / np.sqrt(2 * count * fit.information[m] ** 2)
        lean = error**2 / (EXPECTED**2 + error**2)
        scale = (stds / found) ** lean
        covariances[m] = covariances[m] * np.outer(scale, scale)
        if len(population.weights) == 1:
            step = population.variables.residual(prior.means[0], means[m])
            means[m] = population.variables.inside(means[m] + step / (count * fit.information[m] + 1))
    return replace(fit, population=_floored(replace(population, means=means, covariances=covariances)))


def _pooled(population: Population) -> Sequence[np.ndarray]:
    """Return each factor's frequencies over all components."""
    total = max(population.weights.sum(), 1e-12)
    return [population.weights @ rows / total for rows in population.frequencies]


def _parameters(population: Population) -> int:
    variables = population.variables
    d = len(variables.numbers)
    of_component = d + d * (d + 1) // 2 + 1 + sum(len(factor.categories) - 1 for factor in variables.factors)
    return len(population.weights) * of_component
