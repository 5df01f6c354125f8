"""How many tasks a client may have unanswered."""

#: Work that a stream may have waiting for each process, in seconds: what keeps processes busy until messages that hold
#: many tasks have come and gone.
_AHEAD_S = 0.016

#: The same in tasks.
_MOST_TASKS = 32

#: Answers before the first change.
_FIRST = 8

#: Weight of the newest answer.
_NEWEST = 0.1


class SlotCount:
    """Follows the tasks of one stream: more slots where they take no time, so that many travel in one message.

    Args:
        least: slots in any case.
        processes: of the worker.

    Attributes:
        least: likewise.
    """

    def __init__(self, least: int, processes: int) -> None:
        self.least = least
        self._processes = processes
        self._mean_s = 0.0
        self._answers = 0

    def observe(self, service_s: float) -> None:
        """A process has taken so long for a task."""
        self._answers += 1
        self._mean_s += max(_NEWEST, 1 / self._answers) * (service_s - self._mean_s)

    @property
    def count(self) -> int:
        """Slots that the client is to have: a power of two for each process, so that they seldom change."""
        if self._answers < _FIRST:
            return self.least
        fitting = min(_MOST_TASKS, int(_AHEAD_S / max(self._mean_s, 1e-6)))
        return max(self.least, self._processes * (1 << fitting.bit_length() >> 1))
