"""The global stage: finds the valley of the MMD in which gradient descent then starts.

The MMD between images has local minima: digits that should turn by +90 degrees also match rather well at -90. So before
any gradient is followed, one shift per mutable attribute, shared by all nodes of a kind, is searched for over the whole
range. It starts with a scrambled Sobol sequence (Owen, 1997) and refines the best candidates of all generations with
Gaussian steps: an evolution strategy of the (μ + λ) kind (Beyer & Schwefel, 2002). The steps and the number of parents
halve each time, so several valleys are kept until one is clearly best. All candidates move the same scenes (common
random numbers), so that they differ by their shifts alone.
"""

from collections.abc import Callable

import numpy as np
import torch

from trainer.encoding import Encoding
from trainer.grammar import AttributeSpec
from trainer.progress import Advance, ignore

#: Candidates that have children in the first generation.
PARENTS = 8

Score = Callable[[np.ndarray], float]


def find_shift(
    encoding: Encoding,
    score: Score,
    rng: np.random.Generator,
    *,
    first: int,
    later: int,
    generations: int,
    progress: Advance = ignore,
) -> tuple[np.ndarray, list[tuple[np.ndarray, float]]]:
    """Searches the shift with the lowest score.

    Args:
        score: the loss at a shift [len(encoding.mutable)], in the attributes' units. Lower is better.
        first: candidates of the Sobol sequence, in addition to no shift at all.
        later: candidates of each generation that follows.
        generations: how many of these.

    Returns:
        The best shift, and every candidate with its score, in the order of evaluation.
    """
    bounds = np.array([_bounds(spec) for _, spec in encoding.mutable])
    if not len(bounds):
        return np.zeros(0), []
    low, high = bounds[:, 0], bounds[:, 1]
    wraps = np.array([spec.wraps for _, spec in encoding.mutable])
    sobol = torch.quasirandom.SobolEngine(len(bounds), scramble=True, seed=int(rng.integers(2**31)))
    candidates = [np.zeros(len(bounds)), *(low + (high - low) * sobol.draw(first).double().numpy())]
    # The distance between neighbours of the first generation, were they on a grid.
    sigma = (high - low) / max(first, 1) ** (1 / len(bounds))
    total = len(candidates) + generations * later
    tried: list[tuple[np.ndarray, float]] = []
    for generation in range(generations + 1):
        if generation > 0:
            parents = sorted(tried, key=lambda pair: pair[1])[: max(1, PARENTS >> (generation - 1))]
            candidates = [
                _inside(parents[i % len(parents)][0] + sigma * rng.standard_normal(len(bounds)), low, high, wraps)
                for i in range(later)
            ]
            sigma = sigma / 2
        for candidate in candidates:
            tried.append((candidate, score(candidate)))
            progress(len(tried), total)
    return min(tried, key=lambda pair: pair[1])[0], tried


def _bounds(spec: AttributeSpec) -> tuple[float, float]:
    """Shifts that keep the mean of the prior inside the attribute's range."""
    if spec.wraps:
        return -180.0, 180.0
    return spec.low - spec.distribution.mean, spec.high - spec.distribution.mean


def _inside(shift: np.ndarray, low: np.ndarray, high: np.ndarray, wraps: np.ndarray) -> np.ndarray:
    return np.where(wraps, (shift + 180) % 360 - 180, np.clip(shift, low, high))
