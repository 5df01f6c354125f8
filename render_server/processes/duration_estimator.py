"""Estimates of how long tasks take."""

import math

#: Weight of the newest observation in the moving average.
_NEWEST = 0.1


class DurationEstimator:
    """The moving average of task durations, by the order of magnitude of the samples that tasks ask for."""

    def __init__(self) -> None:
        self._means_s: dict[int, float] = {}

    def observe(self, samples: int, seconds: float) -> None:
        """Record the duration of a task."""
        size = samples.bit_length()
        mean_s = self._means_s.setdefault(size, seconds)
        self._means_s[size] += _NEWEST * (seconds - mean_s)

    def estimate(self, samples: int) -> float:
        """Return the expected duration in seconds; infinite if no task of that size was observed."""
        return self._means_s.get(samples.bit_length(), math.inf)
