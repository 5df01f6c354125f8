"""Counters of a worker since it started."""

from collections import Counter
from collections.abc import Callable

from metasim.v1 import render_pb2 as pb

#: Takes a stage, one of `STAGES`, and the seconds that it took for one task.
Observer = Callable[[str, float], None]

#: Stages of a task.
STAGES = ("queue", "build", "render", "encode", "send")

# The client or the end of the worker took these tasks back: nothing failed.
_WITHDRAWN = (pb.CODE_CANCELLED, pb.CODE_UNAVAILABLE)


class Counters:
    """Counts events. Other threads may read it.

    Attributes:
        tasks_done: tasks answered with a result.
        errors: tasks answered with an error, by its code.
        renders: images rendered.
        restarts: processes replaced because they ended or were killed, by reason: crashed, hung, deadline, memory.
        recycles: processes replaced between tasks, by reason: tasks, memory.
        refused_calls: calls refused before they began, by reason: token, streams.
        observe: called with the duration of each stage of each task.
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
        """Tasks answered with an error, without those that were cancelled or given back."""
        return sum(count for code, count in self.errors.items() if code not in _WITHDRAWN)


def _ignore(stage: str, seconds: float) -> None:
    """Do nothing."""
