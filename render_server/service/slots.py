"""The number of tasks that a client may have unanswered."""

#: Work that a stream may have waiting for each process, in seconds. It keeps processes busy while messages travel.
#: With a constant number of slots, 12,000 raster images of 32 x 32 px take 1.25 times as long; tasks of 10 ms do not.
_AHEAD_S = 0.016

#: Largest number of tasks that a stream may have waiting for each process.
_MOST_TASKS = 32

#: Answers before the first change.
_FIRST = 8

#: Weight of the newest answer in the moving average.
_NEWEST = 0.1


class SlotCount:
    """Chooses a stream's slots by the duration of its tasks: more for short tasks, so that many travel in one message.

    Args:
        least: slots in any case.
        processes: number of the worker's processes.

    Attributes:
        least: likewise.
    """

    def __init__(self, least: int, processes: int) -> None:
        self.least = least
        self._processes = processes
        self._mean_s = 0.0
        self._answers = 0

    def observe(self, service_s: float) -> None:
        """Record the time that a process took for a task."""
        self._answers += 1
        self._mean_s += max(_NEWEST, 1 / self._answers) * (service_s - self._mean_s)

    @property
    def count(self) -> int:
        """Slots for the client: for each process a power of two, so that they seldom change."""
        if self._answers < _FIRST:
            return self.least
        fitting = min(_MOST_TASKS, int(_AHEAD_S / max(self._mean_s, 1e-6)))
        return max(self.least, self._processes * (1 << fitting.bit_length() >> 1))
