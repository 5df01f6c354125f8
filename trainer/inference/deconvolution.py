"""Deconvolution: the population that explains readings with known errors, by expectation-maximisation.

A reading is a posterior q(a, c | x) under the proposal π of the estimator's training. Its samples, weighted by
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
#: Number of readings for the comparison of starts.
TRIED = 500
#: A fit has converged when the mean log-likelihood of a reading grows by less.
TOLERANCE = 4e-5
#: A component must raise the mean log-likelihood of a reading by more than this, besides satisfying BIC.
LEAST_GAIN = 0.01
#: Components with a smaller weight count as misread images.
LIGHTEST = 0.06
#: Largest and smallest weight of the background.
BACKGROUND = 0.15, 1e-3
#: Smallest standard deviation of a component, as a fraction of an attribute's range.
NARROWEST = 1e-3
#: Prior standard deviation of the logarithm of a spread over the prior's spread.
EXPECTED = 0.35
#: With fewer readings the prior is returned.
FEWEST = 10.0


@dataclass(frozen=True)
class Readings:
    """Posterior samples of the variables of one kind, S of each of n readings.

    Attributes:
        numbers: [n, S, d].
        categories: int [n, S, F].
        log_proposal: [n, S], log density of the samples under the proposals of the estimator's training.
        weights: [n], weight of each reading. For a detection: the probability that it would be true on renders.
        selection: the detection of nodes; None: there is a reading of every node.
    """

    numbers: np.ndarray
    categories: np.ndarray
    log_proposal: np.ndarray
    weights: np.ndarray
    selection: Selection | None = None

    def of(self, index: np.ndarray) -> "Readings":
        """Return the readings at an index; the number of images is scaled accordingly."""
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
        log_likelihood: mean log-likelihood of a reading.
        unexplained: [n], responsibility of the background for each reading, if the reading is true.
        information: [M, d], fraction of a component's variance that the readings determine. The population itself
            supplies the rest.
        count: number of nodes in an image of the target, for a kind that may repeat; None: exactly one.
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
        prior: one component. Its spreads regularise the fit, and it is the result if there are fewer than `FEWEST`
            readings.
        start: initial components; default: found from the readings.
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
    """Fit a population with the same components, starting from the population itself."""
    return _fitted(readings, population, prior)


def _single(readings: Readings, prior: Population, rng: np.random.Generator) -> Population:
    """Return one component, fitted from the best of several starts."""
    if not readings.numbers.shape[-1]:
        return prior
    first = _floored(replace(prior, background=BACKGROUND[0], weights=prior.weights * (1 - BACKGROUND[0])))
    some = _some(readings)
    starts = [replace(first, means=_place(readings, rng)[None]) for _ in range(STARTS)]
    of_prior, *tried = (_iterated(some, start, prior, SHORT) for start in (first, *starts))
    best = max(tried, key=lambda fit: fit.log_likelihood)
    return (best if best.log_likelihood > of_prior.log_likelihood + 2 * LEAST_GAIN else of_prior).population


def _with_another(readings: Readings, fit: Fit, prior: Population, rng: np.random.Generator) -> Population:
    """Return the population with one more component, fitted from the best of several badly explained readings."""
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
    """Return at most `TRIED` evenly spaced readings."""
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
        shared: all components have the same frequencies of the context.
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
    """Return numbers [K, d], categories [K, F] and responsibilities [K, M + 1] of all samples and of missed nodes."""
    count = readings.log_proposal.size
    numbers, categories = (each.reshape(count, each.shape[-1]) for each in (readings.numbers, readings.categories))
    flat, selection = parts.reshape(count, -1), readings.selection
    if selection is None or rates is None:
        return numbers, categories, flat
    missed = ~selection.detected
    # n detected nodes of a component represent n / D nodes; the missed ones resemble those missed on renders.
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

    Frequencies that are learned have a Dirichlet prior: the grammar's, as one image for each category. Objects of one
    image are often misread alike, so all of them together count as one observation.

    Args:
        parts: [n, S, M + 1], responsibilities of the components for the samples of each reading.
        rates: detection rates of the old population.
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
    in_an_image = 1.0
    if readings.selection is not None:
        in_an_image = max(1.0, float(sums[:-1].sum()) / max(readings.selection.images, 1.0))
    frequencies = []
    for f, factor in enumerate(variables.factors):
        size = len(factor.categories)
        counts = np.stack([np.bincount(categories[:, f], parts[:, m], size) for m in range(len(weights))])
        of_prior, total = in_an_image * size if factor.mutable else 1.0, counts.sum()
        pooled = (counts.sum(0) + of_prior * np.asarray(factor.frequencies)) / (total + of_prior)
        if shared and not factor.mutable:
            frequencies.append(np.tile(pooled, (len(weights), 1)))
            continue
        rows = counts + size * pooled  # Contexts with few readings shrink towards the pooled frequencies.
        if factor.mutable:
            share = counts.sum(1, keepdims=True) / max(total, 1e-12)
            rows = rows + of_prior * share * np.asarray(factor.frequencies)
        frequencies.append(rows / rows.sum(1, keepdims=True))
    return _floored(Population(variables, weights, means, covariances, tuple(frequencies), background))


def _floored(population: Population) -> Population:
    """Return the population with all standard deviations at or above `NARROWEST`."""
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
    """Return the fit without components lighter than `LIGHTEST`, which misread images explain."""
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
    """Return a fit whose components share the frequencies of the context, unless BIC prefers separate ones."""
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
    """Return the fit after shrinking its spreads, and the mean of a single component, towards the prior.

    The logarithm of a spread over the prior's spread has a normal prior with standard deviation `EXPECTED`. A larger
    standard error from the readings means stronger shrinkage.
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
