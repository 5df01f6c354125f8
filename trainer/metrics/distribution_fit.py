"""The distribution of the grammar language that best fits an attribute's values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from trainer.grammar import AttributeSpec
from trainer.grammar.distributions import Constant, Distribution, Mixture, Normal, TruncatedNormal, Uniform, Wrapped
from trainer.metrics.attributes import deviation, mean_of

#: Maximum number of mixture components, maximum iterations of a fit, and smallest component weight.
MOST, ITERATIONS, LIGHTEST = 4, 40, 0.02
#: Smallest standard deviation, as a fraction of a range.
NARROWEST = 1e-4


def fitted(values: np.ndarray, spec: AttributeSpec) -> Distribution:
    """Return the distribution that best fits an attribute's values; the candidates include the prior's own."""
    width = spec.high - spec.low
    if np.ptp(values) < 1e-9 * width:
        return Constant(float(values[0]))
    count = np.log(len(values))
    candidates = [(spec.distribution, 0)] if not spec.distribution.discrete else []
    if not spec.wraps:
        candidates.append((Uniform(float(values.min()), float(values.max())), 2))
    candidates += [(each, 3 * len(parts) - 1) for each, parts in _normals(values, spec)]
    scores = []
    for distribution, parameters in candidates:
        log = np.maximum(distribution.log_prob(values), -50.0 - np.log(width))
        scores.append(float(log.sum()) - 0.5 * parameters * count)
    return candidates[int(np.argmax(scores))][0]


@dataclass(frozen=True)
class _Part:
    weight: float
    mean: float
    sigma: float


def _normals(values: np.ndarray, spec: AttributeSpec) -> Iterator[tuple[Distribution, list[_Part]]]:
    """Yield a normal distribution, then mixtures with increasing numbers of normals, fitted by
    expectation-maximisation.
    """
    least = NARROWEST * (spec.high - spec.low)
    parts = [_moments(values, np.ones(len(values)), spec, least)]
    yield _normal(*_untruncated(values, parts[0], spec), spec), parts
    while len(parts) < MOST:
        log = _mixture(parts, spec).log_prob(values)
        worst = float(values[int(np.argmin(log))])
        near = np.argsort(np.abs(deviation(values, worst, spec.is_angle)))[: max(len(values) // 10, 2)]
        started = _moments(values[near], np.ones(len(near)), spec, least)
        parts = [
            *(_Part(part.weight * 0.8, part.mean, part.sigma) for part in parts),
            _Part(0.2, started.mean, started.sigma),
        ]
        for _ in range(ITERATIONS):
            logs = np.stack([np.log(p.weight) + _normal(p.mean, p.sigma, spec).log_prob(values) for p in parts])
            owns = np.exp(logs - np.logaddexp.reduce(logs, 0))
            found = [_moments(values, own, spec, least) for own in owns]
            parts = [_Part(float(own.mean()), p.mean, p.sigma) for own, p in zip(owns, found, strict=True)]
        if min(part.weight for part in parts) < LIGHTEST:
            return
        yield _mixture(parts, spec), parts


def _moments(values: np.ndarray, weights: np.ndarray, spec: AttributeSpec, least: float) -> _Part:
    total = max(float(weights.sum()), 1e-9)
    centre = mean_of(values[weights > 0.5 * weights.max()], spec.is_angle)
    for _ in range(2):
        centre = centre + float(weights @ deviation(values, centre, spec.is_angle)) / total
    variance = float(weights @ np.square(deviation(values, centre, spec.is_angle))) / total
    middle = (spec.low + spec.high) / 2
    if spec.is_angle:
        centre = middle + (centre - middle + 180) % 360 - 180
    return _Part(1.0, min(max(centre, spec.low), spec.high), max(np.sqrt(variance), least))


def _untruncated(values: np.ndarray, start: _Part, spec: AttributeSpec) -> tuple[float, float]:
    """Return the maximum-likelihood mean and sigma of a normal distribution truncated to the range."""
    reach = 3 * start.sigma
    if spec.wraps or (start.mean - reach > spec.low and start.mean + reach < spec.high):
        return start.mean, start.sigma

    def loss(parameters: np.ndarray) -> float:
        mean, sigma = float(parameters[0]), float(np.exp(parameters[1]))
        if not spec.low <= mean <= spec.high or sigma > 4 * (spec.high - spec.low):
            return 1e9
        return -float(TruncatedNormal(mean, sigma, spec.low, spec.high).log_prob(values).mean())

    found = minimize(loss, [start.mean, np.log(start.sigma)], method="Nelder-Mead", options={"maxiter": 200})
    return float(found.x[0]), float(np.exp(found.x[1]))


def _normal(mean: float, sigma: float, spec: AttributeSpec) -> Distribution:
    if spec.wraps:
        return Wrapped(Normal(mean, sigma), spec.low)
    return TruncatedNormal(mean, sigma, spec.low, spec.high)


def _mixture(parts: Sequence[_Part], spec: AttributeSpec) -> Distribution:
    total = sum(part.weight for part in parts)
    normals = tuple(_normal(part.mean, part.sigma, spec) for part in parts)
    return Mixture(normals, tuple(part.weight / total for part in parts), spec.low if spec.wraps else None)
