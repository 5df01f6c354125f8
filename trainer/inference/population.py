"""The population: the distribution of the attributes of a kind of node, given its context.

    p(a, c) = Σ_m ω_m N(a; μ_m, Σ_m) Π_f ρ_mf(c_f) + ω_0 U(a, c)

a are the numbers of a node and c its categories: mutable ones, and the context (class, parent, assets). Each component
has its own frequencies of categories, so the density of the numbers depends on the context. Differences of angles are
taken modulo a full turn. U is uniform over the ranges.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from trainer.inference.variables import Variables

#: The summary leaves out components with a smaller weight in a context.
_SHOWN = 0.02


@dataclass(frozen=True)
class Population:
    """The distribution of the variables of one kind; M components.

    Attributes:
        weights: [M]; weights and `background` sum to one.
        means: [M, d].
        covariances: [M, d, d].
        frequencies: [M, categories] for each factor.
        background: weight of the uniform density over the ranges.
    """

    variables: Variables
    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    frequencies: tuple[np.ndarray, ...]
    background: float = 0.0

    @classmethod
    def uniform(cls, variables: Variables) -> "Population":
        """Return the uniform distribution over the ranges and the mutable categories; the context is the grammar's."""
        d = len(variables.numbers)
        empty = tuple(np.zeros((0, len(factor.categories))) for factor in variables.factors)
        return cls(variables, np.zeros(0), np.zeros((0, d)), np.zeros((0, d, d)), empty, 1.0)

    @classmethod
    def prior(cls, variables: Variables) -> "Population":
        """Return one component with the means, spreads and frequencies of the grammar."""
        stds = np.array([number.std for number in variables.numbers])
        return cls(
            variables,
            np.ones(1),
            np.array([[number.mean for number in variables.numbers]]).reshape(1, -1),
            np.diag(stds**2)[None],
            tuple(np.array([factor.frequencies]) for factor in variables.factors),
        )

    def component_log_densities(self, numbers: np.ndarray, categories: np.ndarray) -> np.ndarray:
        """Return log ω_m p_m(a, c) [..., M + 1]; the last is the background's.

        Args:
            numbers: [..., d].
            categories: int [..., F].
        """
        variables, parts = self.variables, []
        d = numbers.shape[-1]
        with np.errstate(divide="ignore"):
            for m, weight in enumerate(self.weights):
                log = np.full(numbers.shape[:-1], np.log(weight))
                if d:
                    factor = np.linalg.cholesky(self.covariances[m])
                    inverse = np.linalg.inv(factor)
                    whitened = variables.residual(numbers, self.means[m]).reshape(-1, d) @ inverse.T
                    log = log - 0.5 * np.square(whitened).sum(1).reshape(log.shape)
                    log = log + np.log(np.diag(inverse)).sum() - 0.5 * d * np.log(2 * np.pi)
                for f, frequencies in enumerate(self.frequencies):
                    log = log + np.log(frequencies[m])[categories[..., f]]
                parts.append(log)
            uniform = np.full(numbers.shape[:-1], np.log(self.background))
            uniform = uniform - sum(np.log(number.width) for number in variables.numbers)
            for f, factor_of in enumerate(variables.factors):
                uniform = uniform + np.log(_background(factor_of.mutable, factor_of.frequencies))[categories[..., f]]
        return np.stack([*parts, uniform], -1)

    def log_density(self, numbers: np.ndarray, categories: np.ndarray) -> np.ndarray:
        """Return log p(a, c) [...]."""
        return np.asarray(np.logaddexp.reduce(self.component_log_densities(numbers, categories), -1))

    def responsibilities_given(self, categories: np.ndarray, *, mutable: bool = False) -> np.ndarray:
        """Return p(component | context) [n, M + 1] of nodes whose categories are int [n, F].

        Args:
            mutable: whether to condition on the mutable categories too.
        """
        log = np.tile(np.log(np.maximum(np.append(self.weights, self.background), 1e-300)), (len(categories), 1))
        for f, factor in enumerate(self.variables.factors):
            if mutable or not factor.mutable:
                rows = np.vstack([self.frequencies[f], _background(factor.mutable, factor.frequencies)])
                log += np.log(np.maximum(rows, 1e-12))[:, categories[:, f]].T
        log -= log.max(1, keepdims=True)
        found = np.exp(log)
        return np.asarray(found / found.sum(1, keepdims=True))

    def conditional_log_density(self, numbers: np.ndarray, categories: np.ndarray) -> np.ndarray:
        """Return log p(a, mutable categories | context) [...]."""
        joint = self.log_density(numbers, categories)
        return joint - self._log_context(categories)

    def sample(self, categories: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return numbers [n, d] and categories [n, F] of nodes, given the context in `categories` [n, F]."""
        variables = self.variables
        shares = self.responsibilities_given(categories)
        chosen = (rng.random((len(categories), 1)) > shares.cumsum(1)).sum(1).clip(max=shares.shape[1] - 1)
        d = len(variables.numbers)
        normal, uniform = rng.standard_normal((len(categories), d)), rng.random((len(categories), d))
        numbers = variables.low + (variables.high - variables.low) * uniform
        drawn = categories.copy()
        picks = rng.random((len(categories), len(variables.factors)))
        for m in range(len(self.weights) + 1):
            own = np.flatnonzero(chosen == m)
            if m < len(self.weights) and d:
                spread = normal[own] @ np.linalg.cholesky(self.covariances[m]).T
                numbers[own] = variables.inside(self.means[m] + spread)
            for f, factor in enumerate(variables.factors):
                if factor.mutable:
                    uniform_row = _background(True, factor.frequencies)
                    row = self.frequencies[f][m] if m < len(self.weights) else uniform_row
                    drawn[own, f] = np.searchsorted(np.cumsum(row) / row.sum(), picks[own, f]).clip(max=len(row) - 1)
        return numbers, drawn

    def widened(self, factor: float | np.ndarray, least: float, background: float) -> "Population":
        """Return the population with standard deviations times `factor`, and a background.

        Args:
            factor: a number, or [M, d].
            least: smallest standard deviation, as a fraction of an attribute's range.
        """
        floors = least * (self.variables.high - self.variables.low)
        factors = np.broadcast_to(factor, self.means.shape)
        most = (self.variables.high - self.variables.low) / 3
        covariances = self.covariances.copy()
        for m, covariance in enumerate(self.covariances):
            stds = np.sqrt(np.diagonal(covariance))
            wide = np.clip(factors[m] * stds, floors, np.maximum(most, stds))
            covariances[m] = covariance * np.outer(wide / stds, wide / stds)
        total = self.weights.sum()
        weights = self.weights * ((1 - background) / total) if total > 0 else self.weights
        smooth = tuple(
            (0.5 * rows + 0.5 * np.asarray(_background(True, f.frequencies))) if f.mutable else rows
            for rows, f in zip(self.frequencies, self.variables.factors, strict=True)
        )
        return replace(
            self,
            weights=weights,
            covariances=covariances,
            frequencies=smooth,
            background=background if total > 0 else 1.0,
        )

    def lines(self) -> list[str]:
        """Return a plain-text summary, a line for each number and context that has its own distribution."""
        found: list[str] = []
        for f, factor in enumerate(self.variables.factors):
            if factor.mutable:
                row = self.weights @ self.frequencies[f] / max(self.weights.sum(), 1e-12)
                named = zip(factor.categories, row, strict=True)
                listed = ", ".join(f"{category} {100 * share:.0f} %" for category, share in named)
                found.append(f"{self.variables.kind}.{factor.name}: {listed}")
        if not self.variables.numbers:
            return found
        for context, shares in self._contexts():
            given = f" given {context}" if context else ""
            for i, number in enumerate(self.variables.numbers):
                parts = [
                    (f"{100 * share:.0f} % " if (shares > _SHOWN).sum() > 1 else "")
                    + f"{self.means[m, i]:.4g} ± {np.sqrt(self.covariances[m, i, i]):.3g}"
                    for m, share in enumerate(shares)
                    if share > _SHOWN
                ]
                unit = "" if number.unit == "1" else f" {number.unit}"
                found.append(f"{self.variables.kind}.{number.name}{given}: {', '.join(parts)}{unit}")
        found += self._correlations()
        return found

    def to_json(self) -> dict[str, Any]:
        """Return all learned values, as JSON."""
        return {
            "kind": self.variables.kind,
            "numbers": [number.name for number in self.variables.numbers],
            "factors": [factor.name for factor in self.variables.factors],
            "weights": self.weights.tolist(),
            "means": self.means.tolist(),
            "covariances": self.covariances.tolist(),
            "frequencies": [rows.tolist() for rows in self.frequencies],
            "background": self.background,
        }

    @classmethod
    def from_json(cls, variables: Variables, content: Mapping[str, Any]) -> "Population":
        """Return the population that `to_json` has described."""
        d, m = len(variables.numbers), len(content["weights"])
        return cls(
            variables,
            np.array(content["weights"]),
            np.array(content["means"]).reshape(m, d),
            np.array(content["covariances"]).reshape(m, d, d),
            tuple(
                np.array(rows).reshape(m, len(factor.categories))
                for rows, factor in zip(content["frequencies"], variables.factors, strict=True)
            ),
            content["background"],
        )

    def _contexts(self) -> list[tuple[str, np.ndarray]]:
        """Return (description of the context, p(component | context) [M]); similar contexts are merged."""
        factors = self.variables.factors
        pooled = self.weights / max(self.weights.sum(), 1e-12)
        split = []
        for f, factor in enumerate(factors):
            if factor.mutable or len(self.weights) < 2:
                continue
            posterior = pooled[:, None] * self.frequencies[f]
            posterior = (posterior / np.maximum(posterior.sum(0), 1e-12)).T
            if np.abs(posterior - pooled).max() > 0.05:
                split.append((factor, posterior))
        if not split:
            return [("", pooled)]
        return [
            (f"{factor.name} {category}", row)
            for factor, posterior in split
            for category, row in zip(factor.categories, posterior, strict=True)
        ]

    def _correlations(self) -> list[str]:
        names = [number.name for number in self.variables.numbers]
        found = []
        for m, covariance in enumerate(self.covariances):
            stds = np.sqrt(np.diagonal(covariance))
            for i in range(len(names)):
                for j in range(i):
                    correlation = covariance[i, j] / (stds[i] * stds[j])
                    if abs(correlation) > 0.3 and self.weights[m] > _SHOWN:
                        found.append(
                            f"{self.variables.kind}.{names[i]} with {names[j]}: correlation {correlation:.2f}, "
                            f"slope {covariance[i, j] / covariance[j, j]:.3g} (component {m + 1})"
                        )
        return found

    @cached_property
    def _context_rows(self) -> tuple[np.ndarray, ...]:
        """Return frequencies [M + 1, categories] of each factor, the background last; ones for mutable factors."""
        return tuple(
            np.ones((len(self.weights) + 1, len(factor.categories)))
            if factor.mutable
            else np.vstack([rows, factor.frequencies])
            for rows, factor in zip(self.frequencies, self.variables.factors, strict=True)
        )

    def _log_context(self, categories: np.ndarray) -> np.ndarray:
        """Return the log probability [...] of the context of nodes, int [..., F]."""
        weights = np.append(self.weights, self.background)
        found = np.broadcast_to(weights, (*categories.shape[:-1], len(weights)))
        for f, rows in enumerate(self._context_rows):
            found = found * rows.T[categories[..., f]]
        return np.log(np.maximum(found.sum(-1), 1e-300))


def log_context_of(variables: Variables, categories: np.ndarray) -> np.ndarray:
    """Return the log probability [...] of the context in the grammar; categories are int [..., F]."""
    found = np.zeros(categories.shape[:-1])
    for f, factor in enumerate(variables.factors):
        if not factor.mutable:
            found = found + np.log(np.maximum(factor.frequencies, 1e-12))[categories[..., f]]
    return found


def proposal_log_density(
    proposals: Sequence[Population], shares: Sequence[float], numbers: np.ndarray, categories: np.ndarray
) -> np.ndarray:
    """Return the log density [...] of nodes of the grammar whose mutable variables come from several proposals.

    Args:
        shares: fraction of the simulated nodes that come from each proposal.
    """
    parts = [
        np.log(share) + proposal.conditional_log_density(numbers, categories)
        for proposal, share in zip(proposals, shares, strict=True)
    ]
    context = log_context_of(proposals[0].variables, categories)
    return np.asarray(np.logaddexp.reduce(parts, 0)) + context


def divergence(one: Population, other: Population, rng: np.random.Generator, count: int = 2000) -> float:
    """Return Jeffreys' divergence KL(one, other) + KL(other, one) in nats, given the context, estimated from samples.

    It is δ² / σ² for two normal distributions with the same σ and means that differ by δ.
    """
    found = 0.0
    for p, q in ((one, other), (other, one)):
        factors = p.variables.factors
        rows = [np.asarray(factor.frequencies) for factor in factors]
        drawn = [rng.choice(len(row), count, p=row / row.sum()) for row in rows]
        context = np.stack(drawn, 1) if drawn else np.zeros((count, 0), dtype=np.int64)
        own = replace(p, background=0.0) if len(p.weights) else p
        numbers, categories = own.sample(context, rng)
        ratio = p.conditional_log_density(numbers, categories) - q.conditional_log_density(numbers, categories)
        found += float(np.clip(ratio, -20, 20).mean())
    return found


def _background(mutable: bool, frequencies: Sequence[float]) -> np.ndarray:
    """Return the background's frequencies: uniform for mutable categories, those of the grammar for the context."""
    row = np.asarray(frequencies, dtype=np.float64)
    return np.full(len(row), 1 / len(row)) if mutable else row
