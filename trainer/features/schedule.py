"""The schedule of the learning rate."""

import math


def one_cycle(progress: float, warmup: float = 0.2) -> float:
    """Return the factor of the learning rate at `progress` in [0, 1]: linear up to 1, then a half cosine to 0."""
    if progress < warmup:
        return progress / warmup
    return 0.5 + 0.5 * math.cos(math.pi * (progress - warmup) / (1 - warmup))
