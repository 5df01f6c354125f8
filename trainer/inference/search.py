"""The global stage: finds the valleys of the MMD in which gradient descent then starts.

The MMD between images has local minima: digits that should turn by +90 degrees also match rather well at -90. So before
any gradient is followed, shifts of the mutable attributes, shared by all nodes of a kind, are searched for over the
whole range. The search starts with a scrambled Sobol sequence (Owen, 1997) and refines the best candidates of all
generations with Gaussian steps that halve each time: an evolution strategy of the (μ + λ) kind (Beyer & Schwefel,
2002) whose parents must lie in different valleys (niching by clearing, Pétrowski, 1996). Halfway every attribute of the
best candidate is swept over its whole range, which finds the valleys beside it, the mirrored one for instance. All
candidates move the same scenes (common random numbers): they differ by their shifts alone.

A target that is a mixture matches no single shift. So parents are also the components of the mixture of all candidates
that is nearest to the target: weights w >= 0 that sum to one and minimise

    |Σ w_c μ_c - μ_target|² = wᵀ K w - 2 bᵀ w + const.

in the kernel's space, where μ are mean embeddings, K_cd the mean kernel between the images of two candidates and b_c
that between a candidate's and the target's: a convex problem (kernel mean matching; Huang et al., Correcting Sample
Selection Bias by Unlabeled Data, NIPS 2006). Which of the valleys are the right ones is then decided by
`trainer.inference.placing`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from trainer.grammar import AttributeSpec
from trainer.metrics.mmd import MMD
from trainer.progress import Advance, ignore

#: Valleys that are followed.
VALLEYS = 4
#: Candidates that differ by less than this fraction of the range in every attribute lie in one valley.
VALLEY_WIDTH = 0.15
#: Valleys that stay in the running at the end lie within this fraction of the way from the best score to the median.
CONTENDER = 0.25
#: Least weight of a component of the nearest mixture.
COMPONENT = 0.1
#: Values of each attribute in the sweep.
SWEPT = 12
#: Scenes of each candidate between which kernels of two candidates are computed.
COMPARED = 32

Images = Callable[[np.ndarray], Tensor]


def find_valleys(
    specs: Sequence[AttributeSpec],
    features: Images,
    mmd: MMD,
    rng: np.random.Generator,
    *,
    first: int,
    later: int,
    generations: int,
    progress: Advance = ignore,
) -> tuple[list[np.ndarray], "Tried"]:
    """Searches the shifts with the lowest MMD, and those whose mixture has it.

    Args:
        specs: the attributes that are shifted.
        features: those of the scenes' images [N, D] at a shift [len(specs)], in the attributes' units.
        mmd: the distance to the target.
        first: candidates of the Sobol sequence, in addition to no shift at all.
        later: candidates of each generation that follows.
        generations: how many of these.

    Returns:
        One shift in each valley, one at least, and every candidate in the order of evaluation.
    """
    box = _Box(specs)
    tried = Tried(mmd)
    if not len(box.low):
        return [np.zeros(0)], tried
    sobol = torch.quasirandom.SobolEngine(len(box.low), scramble=True, seed=int(rng.integers(2**31)))
    candidates = [np.zeros(len(box.low)), *(box.low + box.width * sobol.draw(first).double().numpy())]
    # The distance between neighbours of the first generation, were they on a grid.
    sigma = box.width / max(first, 1) ** (1 / len(box.low))
    swept_after = generations // 2
    total = len(candidates) + generations * later + (SWEPT * len(box.low) if swept_after else 0)

    def try_all(candidates: Iterable[np.ndarray]) -> None:
        for candidate in candidates:
            tried.add(candidate, features(candidate))
            progress(len(tried.shifts), total)

    try_all(candidates)
    for generation in range(1, generations + 1):
        parents = box.apart([*box.components(tried), *box.valleys(tried)])
        try_all([box.child(parents[i % len(parents)], sigma, rng) for i in range(later)])
        sigma = sigma / 2
        if generation == swept_after:
            try_all(box.sweep(box.valleys(tried)[0]))
    best = box.valleys(tried, CONTENDER)
    return box.apart([*box.components(tried), *best]), tried


class Tried:
    """The candidates and what is known of them.

    Attributes:
        shifts: [T] of [len(specs)].
        scores: MMD² of each.
    """

    def __init__(self, mmd: MMD) -> None:
        self._mmd = mmd
        self.shifts: list[np.ndarray] = []
        self.scores: list[float] = []
        self._features: list[Tensor] = []
        self._kernels = np.zeros((0, 0))
        self._to_target: list[float] = []

    def add(self, shift: np.ndarray, features: Tensor) -> None:
        """A candidate with the features [N, D] of its images."""
        self.shifts.append(shift)
        self.scores.append(self._mmd(features).item())
        self._to_target.append(self._mmd.kernel(features, self._mmd.target).mean().item())
        few = features[:COMPARED]
        self._features.append(few)
        count = len(few)
        kernel = self._mmd.kernel(few, torch.cat(self._features)).reshape(count, -1, count)
        # The same scene at two shifts is no independent pair.
        sums = kernel.sum((0, 2)) - kernel.diagonal(dim1=0, dim2=2).sum(1)
        row = (sums / max(1, count * (count - 1))).double().numpy()
        kernels = np.zeros((len(row), len(row)))
        kernels[:-1, :-1] = self._kernels
        kernels[-1], kernels[:, -1] = row, row
        self._kernels = kernels

    def mixture(self) -> np.ndarray:
        """Weights [T] of the mixture of all candidates that is nearest to the target."""
        values, vectors = np.linalg.eigh(self._kernels)
        values = np.maximum(values, 1e-6 * values.max())  # The estimate of K need not be definite.
        root = np.sqrt(values)[:, None] * vectors.T
        wanted = (vectors.T @ np.array(self._to_target)) / np.sqrt(values)
        heavy = 1e3 * np.sqrt(values.max())
        weights, _ = nnls(np.vstack([root, np.full((1, len(values)), heavy)]), np.append(wanted, heavy))
        return weights / weights.sum()


class _Box:
    """The shifts that are allowed: those that keep the mean of the prior inside the attribute's range."""

    def __init__(self, specs: Sequence[AttributeSpec]) -> None:
        self._specs = specs
        bounds = np.array([_bounds(spec) for spec in specs]).reshape(-1, 2)
        self.low, self.high = bounds[:, 0], bounds[:, 1]
        self.width = self.high - self.low
        self._wraps = np.array([spec.wraps for spec in specs], dtype=bool)

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

    def valleys(self, tried: Tried, contender: float = 1.0) -> list[np.ndarray]:
        """The best candidate of each of the best valleys, best first.

        Args:
            contender: how far above the best score, in units of the median's distance from it, a valley may lie.
        """
        best = min(tried.scores)
        limit = best + contender * (float(np.median(tried.scores)) - best)
        order = np.argsort(tried.scores, kind="stable")
        return self.apart([tried.shifts[i] for i in order if tried.scores[i] <= limit])[:VALLEYS]

    def components(self, tried: Tried) -> list[np.ndarray]:
        """The means of the components of the nearest mixture, the heaviest first."""
        weights = tried.mixture()
        found: list[tuple[float, np.ndarray]] = []
        left = weights.copy()
        for heaviest in np.argsort(-weights, kind="stable"):
            if not left[heaviest] > 0:
                continue
            centre = tried.shifts[heaviest]
            near = [i for i in np.flatnonzero(left) if distance(self._specs, tried.shifts[i], centre) < VALLEY_WIDTH]
            share = left[near]
            steps = np.array([self._difference(tried.shifts[i], centre) for i in near])
            found.append((float(share.sum()), self.inside(centre + share @ steps / share.sum())))
            left[near] = 0
        found.sort(key=lambda pair: -pair[0])
        return [shift for weight, shift in found if weight >= COMPONENT][:VALLEYS]

    def apart(self, shifts: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Those that lie in no earlier one's valley."""
        found: list[np.ndarray] = []
        for shift in shifts:
            if all(distance(self._specs, shift, other) >= VALLEY_WIDTH for other in found):
                found.append(shift)
        return found

    def _difference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(self._wraps, (a - b + 180) % 360 - 180, a - b)


def distance(specs: Sequence[AttributeSpec], a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference of two shifts [len(specs)] in any attribute, as a fraction of its range."""
    wraps = np.array([spec.wraps for spec in specs], dtype=bool)
    width = np.array([spec.high - spec.low for spec in specs])
    difference = np.abs(a - b)
    difference = np.where(wraps, np.minimum(difference, 360 - difference), difference)
    return float(np.max(difference / width, initial=0.0))


def _bounds(spec: AttributeSpec) -> tuple[float, float]:
    if spec.wraps:
        return -180.0, 180.0
    return spec.low - spec.distribution.mean, spec.high - spec.distribution.mean
