"""Distributions as the language writes them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.grammar.distributions import (
    Categorical,
    Constant,
    Distribution,
    Mixture,
    Normal,
    TruncatedNormal,
    Uniform,
    Wrapped,
)

#: Components of a mixture with a smaller weight are left out.
LEAST_WEIGHT = 1e-4


def written(distribution: Distribution) -> dict[str, Any]:
    """Return a distribution as the language writes it."""
    match distribution:
        case Constant(value):
            return {"constant": short(value)}
        case Uniform(low, high):
            return {"uniform": [short(low), short(high)]}
        case Normal(mu, sigma) | TruncatedNormal(mu, sigma):
            return {"normal": [short(mu), short(sigma)]}
        case Categorical(values, probabilities):
            return {"categorical": dict(zip((short(v) for v in values), shares(probabilities), strict=True))}
        case Wrapped(base):
            return written(base)
        case Mixture(components, weights):
            kept = [(part, weight) for part, weight in zip(components, weights, strict=True) if weight >= LEAST_WEIGHT]
            parts = zip(kept, shares([weight for _, weight in kept]), strict=True)
            return {"mixture": [{"weight": share, **written(part)} for (part, _), share in parts]}
    raise TypeError(f"{type(distribution).__name__} is not written down")


def shares(probabilities: Sequence[float] | np.ndarray) -> list[float]:
    """Return probabilities rounded to four decimals that sum to one."""
    row = np.asarray(probabilities, dtype=np.float64)
    rounded = np.round(row / row.sum(), 4)
    rounded[int(np.argmax(rounded))] += 1 - rounded.sum()
    return [round(float(share), 4) for share in rounded]


def short(value: float) -> float | int:
    """Return a number with five significant digits."""
    rounded = float(f"{value:.5g}")
    return int(rounded) if rounded == int(rounded) and abs(rounded) < 1e15 else rounded
