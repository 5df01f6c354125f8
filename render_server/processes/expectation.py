"""How long tasks will take, told from those that were alike."""

import math

#: Weight of the newest observation.
_NEWEST = 0.1


class Expectation:
    """The mean time of tasks, by the order of magnitude of the samples that they ask for."""

    def __init__(self) -> None:
        self._means_s: dict[int, float] = {}

    def observe(self, samples: int, seconds: float) -> None:
        """A task has taken so long."""
        size = samples.bit_length()
        mean_s = self._means_s.setdefault(size, seconds)
        self._means_s[size] += _NEWEST * (seconds - mean_s)

    def of(self, samples: int) -> float:
        """Seconds that a task will take; infinite where none was alike."""
        return self._means_s.get(samples.bit_length(), math.inf)
