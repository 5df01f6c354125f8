"""Random generators by purpose: a run's numbers depend on its seed alone, not on what was drawn before.

So any step can be computed again, in any order, which is what resuming a run needs.
"""

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What random numbers are for. The values are part of what a seed means: never change or reuse one."""

    WEIGHTS = 1
    PRETRAINING = 2
    TARGET = 3
    SEARCH = 4
    FEATURES = 5
    STEP = 6
    MONITOR = 7
    GENERATION = 8
    EVALUATION = 9
    TASK_NETWORK = 10
    VALLEYS = 11
    PROBES = 12
    CHECK = 13
    MOMENTS = 14
    CHOICES = 15
    REWARD = 16
    VALIDATION = 17
    READING = 18
    SIMULATION = 19
    TRANSPORT = 20
    JUDGEMENT = 21


class EvaluationStream(IntEnum):
    """The random streams of `Purpose.EVALUATION`. The values are part of what a seed means."""

    PRIOR = 1
    LEARNED = 2
    TEST = 3
    ORDER = 4
    VALIDATION = 5
    FLOOR = 6
    REAL = 7
    BOOTSTRAP = 8


def generator(seed: int, purpose: Purpose, *indices: int) -> np.random.Generator:
    """The generator of one purpose, e.g. of step `indices` of the training. Independent for different arguments."""
    return np.random.default_rng([seed, purpose, *indices])


def torch_generator(seed: int, purpose: Purpose, *indices: int) -> torch.Generator:
    """As `generator`, for PyTorch on the CPU."""
    return torch.Generator().manual_seed(integer(seed, purpose, *indices))


def integer(seed: int, purpose: Purpose, *indices: int) -> int:
    """A seed below 2**31 for whatever takes one, such as a render."""
    return int(generator(seed, purpose, *indices).integers(2**31))
