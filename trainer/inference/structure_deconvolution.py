"""Deconvolution of the structure: the productions that explain counted objects, by expectation-maximisation.

    p(d) = Σ_z p_θ(z) p(d | n(z)),    p_θ(z) = Π θ[production, category], over the draws of the scene z

d are the read numbers of objects in an image, by count channel, and n the true numbers. p(d | n) is estimated on
renders, so it accounts for misses, double detections and hidden objects. The sum over z runs over scenes that are drawn
from a proposal and weighted by p_θ / p_proposal. Expectation-maximisation (Dempster, Laird & Rubin, 1977) finds θ. It
starts from the grammar's own probabilities, which are also the mean of a Dirichlet prior. It stops early, because
further iterations would fit the noise of the readings, as in the Richardson-Lucy algorithm.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from trainer.grammar import Grammar
from trainer.grammar.productions import Production, Structure
from trainer.inference.count_channels import Channel, draw_counts, true_counts

#: Pseudo-counts of the prior for each production, and the fraction of them that is uniform over the categories.
CONCENTRATION, EVEN = 4.0, 0.1
#: Largest number of iterations; a fit stops earlier if the log-likelihood of all images gains less.
ITERATIONS, TOLERANCE = 400, 0.1
#: Fraction of the images that are assumed to be misread.
OUTLIERS = 0.01
#: Scenes drawn from each proposal, number of successive proposals, and the uniform fraction of a proposal.
SCENES, PROPOSALS, WIDE = 2000, 2, 0.2
#: Iterations of raking.
RAKED = 8
#: Resamples of the images for standard errors.
RESAMPLES = 12


#: Log-likelihoods [T, A] of all images for true counts [A, J].
Likelihood = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class StructureFit:
    """A structure, and how well it explains the readings.

    Attributes:
        errors: standard error of each probability, by production; from resampled images.
        log_likelihood: mean log-likelihood of an image.
        unexplained: fraction of the images that no scene explains.
    """

    structure: Structure
    errors: dict[str, tuple[float, ...]]
    log_likelihood: float
    unexplained: float

    def to_json(self) -> dict[str, Any]:
        """Return all fields, as JSON."""
        return {
            "structure": self.structure.to_json(),
            "errors": {name: list(row) for name, row in self.errors.items()},
            "log_likelihood": self.log_likelihood,
            "unexplained": self.unexplained,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "StructureFit":
        """Return the fit that `to_json` has described."""
        return cls(
            Structure.from_json(content["structure"]),
            {name: tuple(row) for name, row in content["errors"].items()},
            content["log_likelihood"],
            content["unexplained"],
        )


@dataclass(frozen=True)
class Atoms:
    """The distinct scenes among the draws of a proposal.

    Attributes:
        draws: [A, C], see `draw_counts`.
        counts: int [A, J], see `true_counts`.
        weights: [A], the weight of each distinct scene.
        log_proposal: [C], log probabilities of the categories in the proposal.
    """

    draws: np.ndarray
    counts: np.ndarray
    weights: np.ndarray
    log_proposal: np.ndarray

    @classmethod
    def drawn(
        cls, grammar: Grammar, proposal: Structure, channels: Sequence[Channel], rng: np.random.Generator, count: int
    ) -> "Atoms":
        """Draw scenes from a grammar with the proposal's probabilities."""
        drawing = grammar.with_structure(proposal)
        scenes = [drawing.sample(rng) for _ in range(count)]
        productions = grammar.productions
        draws, counts = draw_counts(scenes, productions), true_counts(scenes, channels)
        rows, multiples = np.unique(np.hstack([draws, counts]), axis=0, return_counts=True)
        draws, counts = rows[:, : draws.shape[1]], rows[:, draws.shape[1] :].astype(np.int64)
        wanted = _flat(productions, proposal)
        return cls(draws, counts, _raked(productions, draws, multiples.astype(float), wanted), np.log(wanted))


def _raked(productions: Sequence[Production], draws: np.ndarray, weights: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return weights with which the scenes' categories have the wanted frequencies.

    This removes sampling noise from the frequencies (raking; Deming & Stephan, 1940).
    """
    for _ in range(RAKED):
        present = weights @ draws
        ratio = np.ones(len(wanted))
        for part in _parts(productions):
            total = present[part].sum()
            if total > 0:
                share = present[part] / total
                step = np.where(share > 0, wanted[part] / np.maximum(share, 1e-12), 1.0)
                ratio[part] = step ** (1 / max(1.0, total / weights.sum()))
        weights = weights * np.exp(draws @ np.log(ratio))
    return weights


def explain(
    grammar: Grammar, channels: Sequence[Channel], likelihood: Likelihood, count: int, rng: np.random.Generator
) -> StructureFit:
    """Return the structure that explains the readings of `count` images.

    Args:
        grammar: the grammar; its own structure is the mean of the Dirichlet prior.
        likelihood: returns log p(d | n) [count, A], up to a constant of each image, for true counts [A, J].
    """
    productions = grammar.productions
    wide = Structure.uniform(productions)
    structure, proposal = grammar.structure, wide
    for _ in range(PROPOSALS):
        atoms = Atoms.drawn(grammar, proposal, channels, rng, SCENES)
        problem = _Deconvolution(grammar, likelihood(atoms.counts), atoms)
        structure, mean, unexplained = problem.fitted(np.ones(count), grammar.structure)
        proposal = structure.mixed(wide, WIDE)
    resampled = []
    for _ in range(RESAMPLES):
        weights = np.bincount(rng.integers(count, size=count), minlength=count).astype(float)
        resampled.append(_flat(productions, problem.fitted(weights, grammar.structure)[0]))
    errors = _rows(productions, np.std(resampled, axis=0, ddof=1))
    return StructureFit(structure, errors, mean, unexplained)


class _Deconvolution:
    """Expectation-maximisation for one set of scenes and weights of the images."""

    def __init__(self, grammar: Grammar, log_likelihood: np.ndarray, atoms: Atoms) -> None:
        self._productions, self._atoms = grammar.productions, atoms
        self._likelihood = np.exp(log_likelihood - log_likelihood.max(1, keepdims=True))
        # Likelihood of an outlier: that under the proposal's mean scene, but at least that of a badly fitting scene.
        self._outlier = OUTLIERS * (self._likelihood @ atoms.weights / atoms.weights.sum() + OUTLIERS)
        self._prior = _flat(self._productions, grammar.structure)

    @cached_property
    def _pseudo(self) -> np.ndarray:
        """Return the pseudo-counts of the prior [C]."""
        even = _flat(self._productions, Structure.uniform(self._productions))
        return CONCENTRATION * ((1 - EVEN) * self._prior + EVEN * even)

    def fitted(self, weights: np.ndarray, start: Structure) -> tuple[Structure, float, float]:
        """Return the structure, the mean log-likelihood and the fraction of outliers.

        Args:
            weights: of the images [T].
        """
        theta, before = self._opened(_flat(self._productions, start)), -np.inf
        mean = unexplained = 0.0
        for _ in range(ITERATIONS):
            of_atoms = self._of_atoms(theta)
            explained = (1 - OUTLIERS) * (self._likelihood @ of_atoms)
            total = explained + self._outlier
            sum_of_logs = float(weights @ np.log(total))
            mean, unexplained = sum_of_logs / weights.sum(), float(weights @ (self._outlier / total) / weights.sum())
            if sum_of_logs - before < TOLERANCE:
                break
            before = sum_of_logs
            parts = (1 - OUTLIERS) * ((weights / total) @ self._likelihood) * of_atoms
            theta = self._normalised(parts @ self._atoms.draws + self._pseudo)
        return Structure(_rows(self._productions, theta)), mean, unexplained

    def _opened(self, theta: np.ndarray) -> np.ndarray:
        """Return probabilities without zeros, because expectation-maximisation cannot change a zero."""
        even = _flat(self._productions, Structure.uniform(self._productions))
        return (1 - EVEN) * theta + EVEN * even

    def _of_atoms(self, theta: np.ndarray) -> np.ndarray:
        """Return p_θ of each atom, estimated by self-normalised importance sampling [A]."""
        with np.errstate(divide="ignore"):
            ratio = np.where(theta > 0, np.log(np.maximum(theta, 1e-300)), -690.0) - self._atoms.log_proposal
        log = self._atoms.draws @ ratio + np.log(self._atoms.weights)
        found = np.exp(log - log.max())
        return np.asarray(found / found.sum())

    def _normalised(self, draws: np.ndarray) -> np.ndarray:
        return np.concatenate([draws[part] / draws[part].sum() for part in _parts(self._productions)])


def _parts(productions: Sequence[Production]) -> list[slice]:
    """Return the slice of each production's categories."""
    ends = np.cumsum([len(each.categories) for each in productions]).tolist()
    return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _flat(productions: Sequence[Production], structure: Structure) -> np.ndarray:
    return np.concatenate([np.asarray(structure.probabilities[each.name]) for each in productions])


def _rows(productions: Sequence[Production], flat: np.ndarray) -> dict[str, tuple[float, ...]]:
    parts = zip(productions, _parts(productions), strict=True)
    return {each.name: tuple(flat[part].tolist()) for each, part in parts}
