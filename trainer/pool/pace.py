"""The speed of a worker, estimated from its own answers."""

from dataclasses import dataclass

#: Weight of the newest observation.
_NEWEST = 0.25


@dataclass
class Pace:
    """Exponential moving averages of a worker's answers.

    Attributes:
        interval_s: time between its answers while it has work; 0 before the first.
        service_s: time that it reports for a task; 0 where it reports none.
        answered_s: time of its last answer.
    """

    interval_s: float = 0.0
    service_s: float = 0.0
    answered_s: float = 0.0

    def observe(self, now_s: float, sent_s: float, service_s: float, count: int = 1) -> None:
        """Record answers to `count` tasks that came together.

        Args:
            now_s: time of the event loop.
            sent_s: when the first of the tasks was sent.
            service_s: mean time that the worker reports for them.
            count: number of tasks.
        """
        interval_s = (now_s - max(self.answered_s, sent_s)) / count
        weight = 1 - (1 - _NEWEST) ** count if self.interval_s else 1.0
        self.interval_s += weight * (interval_s - self.interval_s)
        self.service_s += weight * (service_s - self.service_s)
        self.answered_s = now_s
