"""Random streams by purpose: the numbers of a run depend on its seed alone, not on earlier draws.

Any step can therefore be computed again, in any order, as resuming a run requires.
"""

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """The random streams. Their values determine the numbers of a seed: never change or reuse one.

    Earlier versions used 4, 5, 11, 14, 15 and 18.
    """

    WEIGHTS = 1
    PRETRAINING = 2
    TARGET = 3
    STEP = 6
    MONITOR = 7
    GENERATION = 8
    EVALUATION = 9
    TASK_NETWORK = 10
    PROBES = 12
    CHECK = 13
    REWARD = 16
    VALIDATION = 17
    SIMULATION = 19
    TRANSPORT = 20
    JUDGEMENT = 21
    STRUCTURE = 22
    TRANSLATION = 23


class EvaluationStream(IntEnum):
    """The random streams of `Purpose.EVALUATION`. Their values determine the numbers of a seed."""

    PRIOR = 1
    LEARNED = 2
    TEST = 3
    ORDER = 4
    VALIDATION = 5
    FLOOR = 6
    REAL = 7
    BOOTSTRAP = 8
    WORLD = 9


def generator(seed: int, purpose: Purpose, *indices: int) -> np.random.Generator:
    """Return the generator of a stream, such as that of step `indices`. Different arguments give independent ones."""
    return np.random.default_rng([seed, purpose, *indices])


def torch_generator(seed: int, purpose: Purpose, *indices: int) -> torch.Generator:
    """Return a generator as `generator` does, for PyTorch on the CPU."""
    return torch.Generator().manual_seed(integer(seed, purpose, *indices))


def integer(seed: int, purpose: Purpose, *indices: int) -> int:
    """Return a seed below 2**31, for example for a render."""
    return int(generator(seed, purpose, *indices).integers(2**31))
