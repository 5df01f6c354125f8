"""Correction of a population for the remaining errors of the estimator, by the parametric bootstrap.

Scenes are drawn from the population, rendered, and read as the target's images. The fit to these readings differs from
the population by the bias of reading and fitting. The correction subtracts this bias
(indirect inference: Gourieroux, Monfort & Renault, Journal of Applied Econometrics, 1993; bootstrap estimate of bias:
Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 10). Differences within their standard error are
shrunk to zero (James & Stein, 1961).
"""

from dataclasses import replace

import numpy as np

from trainer.inference.deconvolution import FEWEST, Fit, Readings, refit
from trainer.inference.population import Population

#: Largest correction of a mean, in standard deviations, and of a standard deviation, as a factor.
MOST_SHIFT, MOST_SCALE = 1.0, 2.0


def corrected(fit: Fit, prior: Population, numbers: np.ndarray, categories: np.ndarray, readings: Readings) -> Fit:
    """Return the fit without its bias, also in the number of nodes. With few readings or nodes it is unchanged.

    Args:
        numbers: [n, d], true numbers of nodes that were drawn from the population of the fit, without its background.
        categories: int [n, F], their true categories.
        readings: readings of the renders of these nodes.
    """
    if readings.weights.sum() < FEWEST or len(numbers) < FEWEST:
        return fit
    old, again = fit.population, refit(readings, fit.population, prior)
    variables, found = old.variables, again.population
    true = _of_components(old, numbers, categories)
    means, covariances = old.means.copy(), old.covariances.copy()
    frequencies = [rows.copy() for rows in old.frequencies]
    total = np.maximum(old.weights.sum(), 1e-12)
    weights = np.maximum(old.weights + true.weights * total - found.weights / found.weights.sum() * total, 1e-6)
    for m in range(len(weights)):
        count = max(true.weights[m] * len(numbers), 1e-12)
        if count < 2:
            continue
        if variables.numbers:
            information = again.information[m]
            stds = np.sqrt(np.diagonal(old.covariances[m]))
            shift = np.clip(variables.residual(true.means[m], found.means[m]) / stds, -MOST_SHIFT, MOST_SHIFT)
            shift = _shrunk(shift, np.sqrt((1 / information - 1) / count))
            means[m] = variables.inside(old.means[m] + shift * stds)
            # The triangular map from the found to the true distribution; it is applied to the population.
            wanted, given = np.linalg.cholesky(true.covariances[m]), np.linalg.cholesky(found.covariances[m])
            ratio = np.sqrt(np.diagonal(true.covariances[m]) / np.diagonal(found.covariances[m]))
            log_ratio = np.log(np.clip(ratio, 1 / MOST_SCALE, MOST_SCALE))
            errors = np.sqrt((1 / information**2 - 1) / (2 * count))
            change = wanted @ np.linalg.inv(given) - np.eye(len(stds))
            trust = np.clip(1 - errors**2, 0, 1)
            change = change * trust[:, None]
            moved = (np.eye(len(stds)) + change) @ np.linalg.cholesky(old.covariances[m])
            covariance = moved @ moved.T
            scale = stds * np.exp(_shrunk(log_ratio, errors)) / np.sqrt(np.diagonal(covariance))
            covariances[m] = covariance * np.outer(scale, scale)
        for f, factor in enumerate(variables.factors):
            if factor.mutable:
                errors = np.sqrt(true.frequencies[f][m] / count)
                change = _shrunk(true.frequencies[f][m] - found.frequencies[f][m], errors)
                row = np.maximum(old.frequencies[f][m] + change, 1e-6)
                frequencies[f][m] = row / row.sum()
    weights = weights * (total / weights.sum())
    count = fit.count
    if count is not None and again.count is not None and readings.selection is not None:
        ratio = len(numbers) / readings.selection.images / max(again.count.value, 1e-12)
        ratio = float(np.clip(ratio, 1 / MOST_SCALE, MOST_SCALE))
        count = replace(count, value=count.value * ratio, error=count.error * ratio)
    return replace(
        fit,
        count=count,
        population=replace(old, weights=weights, means=means, covariances=covariances, frequencies=tuple(frequencies)),
    )


def _of_components(population: Population, numbers: np.ndarray, categories: np.ndarray) -> Population:
    """Return the moments of each component in nodes that were drawn from the population; weights sum to one."""
    variables = population.variables
    log = population.component_log_densities(numbers, categories)[:, :-1]
    parts = np.exp(log - np.logaddexp.reduce(log, 1, keepdims=True))
    sums = np.maximum(parts.sum(0), 1e-12)
    means, covariances = population.means.copy(), population.covariances.copy()
    for m in range(len(sums)):
        residual = variables.residual(numbers, population.means[m])
        step = parts[:, m] @ residual / sums[m]
        means[m] = population.means[m] + step
        spread = (parts[:, m, None] * residual).T @ residual / sums[m] - np.outer(step, step)
        # One pseudo-observation of the old covariance keeps the estimate regular with few nodes.
        covariances[m] = (sums[m] * spread + population.covariances[m]) / (sums[m] + 1)
    frequencies = tuple(
        np.stack([np.bincount(categories[:, f], part, len(factor.categories)) for part in parts.T]) / sums[:, None]
        for f, factor in enumerate(variables.factors)
    )
    return replace(population, weights=sums / sums.sum(), means=means, covariances=covariances, frequencies=frequencies)


def _shrunk(values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return the positive part of values (1 - error² / value²)."""
    return values * np.clip(1 - np.square(errors) / np.maximum(np.square(values), 1e-12), 0, 1)
