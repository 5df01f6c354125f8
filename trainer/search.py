"""The global stage: finds the valley of the MMD in which gradient descent then starts.

The MMD between images has local minima: digits that should turn by +90 degrees also match rather well at -90. So before
any gradient is followed, one shift per mutable attribute, shared by all nodes of a kind, is searched for over the whole
range. It starts with a scrambled Sobol sequence (Owen, 1997) and refines the best candidates of all generations with
Gaussian steps that halve each time: an evolution strategy of the (μ + λ) kind (Beyer & Schwefel, 2002) whose parents
must lie in different valleys (niching by clearing, Pétrowski, 1996). At the end the best of each valley are compared
with a closer look. All candidates move the same scenes (common random numbers): they differ by their shifts alone.
"""

from collections.abc import Callable

import numpy as np
import torch

from trainer.encoding import Encoding
from trainer.grammar import AttributeSpec
from trainer.progress import Advance, ignore

#: Valleys that are followed.
VALLEYS = 4
#: Candidates that differ by less than this fraction of the range in every attribute lie in one valley.
VALLEY_WIDTH = 0.15

Score = Callable[[np.ndarray], float]


def find_shift(
    encoding: Encoding,
    score: Score,
    rng: np.random.Generator,
    *,
    first: int,
    later: int,
    generations: int,
    closer: Score | None = None,
    progress: Advance = ignore,
) -> tuple[np.ndarray, list[tuple[np.ndarray, float]]]:
    """Searches the shift with the lowest score.

    Args:
        score: the loss at a shift [len(encoding.mutable)], in the attributes' units. Lower is better.
        first: candidates of the Sobol sequence, in addition to no shift at all.
        later: candidates of each generation that follows.
        generations: how many of these.
        closer: a more exact score that decides between the valleys; default: `score`.

    Returns:
        The best shift, and every candidate with its `score`, in the order of evaluation.
    """
    box = _Box(encoding)
    if not len(box.low):
        return np.zeros(0), []
    sobol = torch.quasirandom.SobolEngine(len(box.low), scramble=True, seed=int(rng.integers(2**31)))
    candidates = [np.zeros(len(box.low)), *(box.low + box.width * sobol.draw(first).double().numpy())]
    # The distance between neighbours of the first generation, were they on a grid.
    sigma = box.width / max(first, 1) ** (1 / len(box.low))
    total = len(candidates) + generations * later + VALLEYS
    tried: list[tuple[np.ndarray, float]] = []
    for generation in range(generations + 1):
        if generation > 0:
            parents = box.valleys(tried)
            candidates = [
                box.inside(parents[i % len(parents)] + sigma * rng.standard_normal(len(box.low))) for i in range(later)
            ]
            sigma = sigma / 2
        for candidate in candidates:
            tried.append((candidate, score(candidate)))
            progress(len(tried), total)
    finalists = box.valleys(tried)
    scores = []
    for finalist in finalists:
        scores.append((closer or score)(finalist))
        progress(len(tried) + len(scores), total)
    return finalists[int(np.argmin(scores))], tried


class _Box:
    """The shifts that are allowed: those that keep the mean of the prior inside the attribute's range."""

    def __init__(self, encoding: Encoding) -> None:
        bounds = np.array([_bounds(spec) for _, spec in encoding.mutable]).reshape(-1, 2)
        self.low, self.high = bounds[:, 0], bounds[:, 1]
        self.width = self.high - self.low
        self._wraps = np.array([spec.wraps for _, spec in encoding.mutable], dtype=bool)

    def inside(self, shift: np.ndarray) -> np.ndarray:
        return np.where(self._wraps, (shift + 180) % 360 - 180, np.clip(shift, self.low, self.high))

    def valleys(self, tried: list[tuple[np.ndarray, float]]) -> list[np.ndarray]:
        """The best candidate of each of the best valleys, best first."""
        found: list[np.ndarray] = []
        for candidate, _ in sorted(tried, key=lambda pair: pair[1]):
            if all(self._distance(candidate, other) >= VALLEY_WIDTH for other in found):
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
