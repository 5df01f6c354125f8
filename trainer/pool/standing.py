"""What a worker's failures are worth: one that fails task after task is left alone for a while."""

from dataclasses import dataclass, field

#: Longest time that a worker is left alone.
_LONGEST_S = 600.0


@dataclass
class Standing:
    """A worker's failures since it last rendered something.

    Attributes:
        limit: failures of different tasks in a row after which it is set aside.
        pause_s: how long, the first time; doubled each time.
        until_s: when its time aside ends.
    """

    limit: int
    pause_s: float
    until_s: float = float("-inf")
    _failed: set[str] = field(default_factory=set)
    _times: int = 0

    def succeeded(self) -> None:
        """It has rendered a task."""
        self._failed.clear()
        self._times = 0
        self.until_s = float("-inf")

    def failed(self, what: str, now_s: float) -> bool:
        """It has failed a task, or lost its connection; `what` tells apart what counts once.

        Returns:
            Whether it is set aside for that.
        """
        self._failed.add(what)
        if len(self._failed) < self.limit and not self._times:
            return False
        self._failed.clear()
        self.until_s = now_s + min(self.pause_s * 2**self._times, _LONGEST_S)
        self._times += 1
        return True

    def aside(self, now_s: float) -> bool:
        """Whether it is left alone."""
        return now_s < self.until_s

    @property
    def on_trial(self) -> bool:
        """Whether it has been set aside and has rendered nothing since: it gets one task at a time."""
        return self._times > 0
