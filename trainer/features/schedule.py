"""The learning rate's course over a training."""

import math


def one_cycle(progress: float, warmup: float = 0.2) -> float:
    """Factor of the learning rate at `progress` in [0, 1] of the training: linear up to 1, then a half cosine to 0."""
    if progress < warmup:
        return progress / warmup
    return 0.5 + 0.5 * math.cos(math.pi * (progress - warmup) / (1 - warmup))
