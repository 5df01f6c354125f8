"""A circuit breaker per worker (Nygard, Release It!): a worker that fails task after task is left alone for a while."""

from dataclasses import dataclass, field

#: Longest time that a circuit stays open.
_LONGEST_S = 600.0


@dataclass
class CircuitBreaker:
    """Counts the failures of a worker since it last rendered a task.

    Attributes:
        limit: number of different tasks that fail in a row before the circuit opens.
        pause_s: how long it stays open the first time; doubled each time.
        open_until_s: when it becomes half-open.
    """

    limit: int
    pause_s: float
    open_until_s: float = float("-inf")
    _failed: set[str] = field(default_factory=set)
    _times: int = 0

    def record_success(self) -> None:
        """Close the circuit: the worker has rendered a task."""
        if self._failed or self._times:
            self._failed.clear()
            self._times = 0
            self.open_until_s = float("-inf")

    def record_failure(self, what: str, now_s: float) -> bool:
        """Count a failed task or a lost connection.

        Args:
            what: identifies the failure; the same one counts once.
            now_s: time of the event loop.

        Returns:
            Whether this failure has opened the circuit.
        """
        self._failed.add(what)
        if len(self._failed) < self.limit and not self._times:
            return False
        self._failed.clear()
        self.open_until_s = now_s + min(self.pause_s * 2**self._times, _LONGEST_S)
        self._times += 1
        return True

    def is_open(self, now_s: float) -> bool:
        """Return whether the worker gets no tasks."""
        return now_s < self.open_until_s

    @property
    def half_open(self) -> bool:
        """Return whether the worker has rendered nothing since the circuit opened: it gets one task at a time."""
        return self._times > 0
