"""What a worker has done since it started."""

from collections import Counter
from collections.abc import Callable

from metasim.v1 import render_pb2 as pb

#: Takes the seconds that a stage of a task took: one of `STAGES`.
Observer = Callable[[str, float], None]

#: What a task goes through.
STAGES = ("queue", "build", "render", "encode", "send")

# Nothing went wrong with these: the client or the worker's end took them back.
_WITHDRAWN = (pb.CODE_CANCELLED, pb.CODE_UNAVAILABLE)


class Tally:
    """Counts, since the start. Read from other threads too.

    Attributes:
        tasks_done: answered with a result.
        errors: tasks answered with an error, by its code.
        renders: images rendered.
        restarts: processes replaced because they broke, by reason: crashed, hung, deadline, memory.
        recycles: processes replaced between tasks, by reason: tasks, memory.
        refused_calls: calls refused before they began, by reason: token, streams.
        observe: is told how long each stage of each task took.
    """

    def __init__(self) -> None:
        self.tasks_done = 0
        self.errors: Counter[pb.Code.ValueType] = Counter()
        self.renders = 0
        self.restarts: Counter[str] = Counter()
        self.recycles: Counter[str] = Counter()
        self.refused_calls: Counter[str] = Counter()
        self.observe: Observer = _ignore

    @property
    def tasks_failed(self) -> int:
        """Tasks answered with an error, but for those that were cancelled or given back."""
        return sum(count for code, count in self.errors.items() if code not in _WITHDRAWN)


def _ignore(stage: str, seconds: float) -> None:
    """Where nobody asks for metrics."""
