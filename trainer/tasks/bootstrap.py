"""Bootstrap over test images: confidence intervals of scores, and of the share of a gap that learned data closes.

Efron 1979. All networks are scored on the same bootstrap samples, so that differences between them are paired.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from trainer.errors import InputError
from trainer.tasks.task import Results

#: Samples of the test images.
REPLICATES = 500
#: Confidence level of intervals.
LEVEL = 0.95


def bootstrap(
    results: Mapping[str, Sequence[Results]], images: int, rng: np.random.Generator, replicates: int = REPLICATES
) -> dict[str, dict[str, np.ndarray]]:
    """Return each model's scores on samples of the test images, by model and score: float [replicates].

    A score is the mean over the model's networks; nan where it is undefined on a sample.

    Args:
        results: results on the same images of the networks trained on each model's data.
        images: number of the test images.
    """
    samples = [rng.integers(0, images, images) for _ in range(replicates)]
    found: dict[str, dict[str, np.ndarray]] = {}
    for model, networks in results.items():
        names = networks[0].scores().values
        values = {name: np.zeros(replicates) for name in names}
        for index, sample in enumerate(samples):
            for network in networks:
                try:
                    scores: Mapping[str, float] = network.scores(sample).values
                except InputError:
                    scores = {}
                for name in names:
                    values[name][index] += scores.get(name, np.nan) / len(networks)
        found[model] = values
    return found


def interval(values: np.ndarray, level: float = LEVEL) -> list[float] | None:
    """Return the interval [low, high] that holds the middle `level` of the values; None: all are undefined."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return None
    return [float(np.quantile(defined, part)) for part in ((1 - level) / 2, (1 + level) / 2)]


def gap_closed(prior: float, learned: float, real: float) -> float | None:
    """Return the share of the gap between prior and real data that learned data closes.

    0: learned data scores like the prior; 1: like real data. None: prior and real data score equally.
    """
    return (learned - prior) / (real - prior) if real != prior else None


def gaps_closed(prior: np.ndarray, learned: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Return `gap_closed` of each sample; nan where it is undefined."""
    gap = real - prior
    shares: np.ndarray = np.divide(learned - prior, gap, out=np.full(len(gap), np.nan), where=gap != 0)
    return shares
