"""The global stage: finds the valley of the MMD in which gradient descent then starts.

The MMD between images has local minima: digits that should turn by +90 degrees also match rather well at -90. So before
any gradient is followed, one shift per mutable attribute, shared by all nodes of a kind, is searched for over the whole
range. It starts with a scrambled Sobol sequence (Owen, 1997) and refines the best candidates of all generations with
Gaussian steps that halve each time: an evolution strategy of the (μ + λ) kind (Beyer & Schwefel, 2002) whose parents
must lie in different valleys (niching by clearing, Pétrowski, 1996). Halfway every attribute of the best candidate is
swept over its whole range, which finds the valleys beside it, the mirrored one for instance. All candidates move the
same scenes (common random numbers): they differ by their shifts alone. Which of the valleys is the right one is then
decided by `trainer.learning.learner`.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from trainer.grammar import AttributeSpec
from trainer.model.encoding import Encoding
from trainer.progress import Advance, ignore

#: Valleys that are followed.
VALLEYS = 4
#: Candidates that differ by less than this fraction of the range in every attribute lie in one valley.
VALLEY_WIDTH = 0.15
#: Valleys that stay in the running at the end lie within this fraction of the way from the best score to the median.
CONTENDER = 0.25
#: Values of each attribute in the sweep.
SWEPT = 12

Score = Callable[[np.ndarray], float]


def find_valleys(
    encoding: Encoding,
    score: Score,
    rng: np.random.Generator,
    *,
    first: int,
    later: int,
    generations: int,
    progress: Advance = ignore,
) -> tuple[list[np.ndarray], list[tuple[np.ndarray, float]]]:
    """Searches the shifts with the lowest scores.

    Args:
        score: the loss at a shift [len(encoding.mutable)], in the attributes' units. Lower is better.
        first: candidates of the Sobol sequence, in addition to no shift at all.
        later: candidates of each generation that follows.
        generations: how many of these.

    Returns:
        The best shift of each valley, the best valley first (one shift at least, VALLEYS at most), and every candidate
        with its score, in the order of evaluation.
    """
    box = _Box(encoding)
    if not len(box.low):
        return [np.zeros(0)], []
    sobol = torch.quasirandom.SobolEngine(len(box.low), scramble=True, seed=int(rng.integers(2**31)))
    candidates = [np.zeros(len(box.low)), *(box.low + box.width * sobol.draw(first).double().numpy())]
    # The distance between neighbours of the first generation, were they on a grid.
    sigma = box.width / max(first, 1) ** (1 / len(box.low))
    swept_after = generations // 2
    total = len(candidates) + generations * later + (SWEPT * len(box.low) if swept_after else 0)
    tried: list[tuple[np.ndarray, float]] = []

    def try_all(candidates: Iterable[np.ndarray]) -> None:
        for candidate in candidates:
            tried.append((candidate, score(candidate)))
            progress(len(tried), total)

    try_all(candidates)
    for generation in range(1, generations + 1):
        parents = box.valleys(tried)
        try_all([box.child(parents[i % len(parents)], sigma, rng) for i in range(later)])
        sigma = sigma / 2
        if generation == swept_after:
            try_all(box.sweep(box.valleys(tried)[0]))
    return box.valleys(tried, CONTENDER), tried


class _Box:
    """The shifts that are allowed: those that keep the mean of the prior inside the attribute's range."""

    def __init__(self, encoding: Encoding) -> None:
        bounds = np.array([_bounds(spec) for _, spec in encoding.mutable]).reshape(-1, 2)
        self.low, self.high = bounds[:, 0], bounds[:, 1]
        self.width = self.high - self.low
        self._wraps = np.array([spec.wraps for _, spec in encoding.mutable], dtype=bool)

    def inside(self, shift: np.ndarray) -> np.ndarray:
        return np.where(self._wraps, (shift + 180) % 360 - 180, np.clip(shift, self.low, self.high))

    def child(self, parent: np.ndarray, sigma: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The parent with about half of its attributes moved, one at least."""
        moved = rng.random(len(parent)) < 0.5
        moved[rng.integers(len(parent))] = True
        return self.inside(parent + moved * sigma * rng.standard_normal(len(parent)))

    def sweep(self, centre: np.ndarray) -> Iterator[np.ndarray]:
        """The centre with one attribute after the other moved evenly over its range."""
        for place in range(len(centre)):
            for fraction in (np.arange(SWEPT) + 0.5) / SWEPT:
                candidate = centre.copy()
                candidate[place] = self.low[place] + fraction * self.width[place]
                yield candidate

    def valleys(self, tried: list[tuple[np.ndarray, float]], contender: float = 1.0) -> list[np.ndarray]:
        """The best candidate of each of the best valleys, best first.

        Args:
            contender: how far above the best score, in units of the median's distance from it, a valley may lie.
        """
        scores = [score for _, score in tried]
        limit = min(scores) + contender * (float(np.median(scores)) - min(scores))
        found: list[np.ndarray] = []
        for candidate, score in sorted(tried, key=lambda pair: pair[1]):
            if score <= limit and all(self._distance(candidate, other) >= VALLEY_WIDTH for other in found):
                found.append(candidate)
                if len(found) == VALLEYS:
                    break
        return found

    def _distance(self, a: np.ndarray, b: np.ndarray) -> float:
        """Largest difference in any attribute, as a fraction of its range."""
        difference = np.abs(a - b)
        difference = np.where(self._wraps, np.minimum(difference, 360 - difference), difference)
        return float(np.max(difference / self.width))


def _bounds(spec: AttributeSpec) -> tuple[float, float]:
    if spec.wraps:
        return -180.0, 180.0
    return spec.low - spec.distribution.mean, spec.high - spec.distribution.mean
