"""Which tasks are sent once more, to workers that have nothing better to do, so that nobody waits for a slow one.

The first answer wins; since results are functions of the task, it does not matter which. When a worker will be done is
estimated from its own answers: task number k of those that it holds at about k intervals after its last answer.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.pool.stream import WorkerStream
    from trainer.pool.ticket import Ticket

#: A task is sent again if another worker would have it done this many times sooner.
_FACTOR = 1.5
#: Nor is it worth while for less.
_LEAST_S = 0.01
#: Weight of the newest observation.
_NEWEST = 0.25


@dataclass
class Pace:
    """How fast a worker is.

    Attributes:
        interval_s: between its answers while it has work; 0 before the first.
        service_s: that it says a task takes; 0 where it does not say.
        answered_s: time of its last answer.
    """

    interval_s: float = 0.0
    service_s: float = 0.0
    answered_s: float = 0.0

    def observe(self, now_s: float, sent_s: float, service_s: float, count: int = 1) -> None:
        """Answers have come together to as many tasks, which took `service_s` each and were sent from `sent_s` on."""
        interval_s = (now_s - max(self.answered_s, sent_s)) / count
        weight = 1 - (1 - _NEWEST) ** count if self.interval_s else 1.0
        self.interval_s += weight * (interval_s - self.interval_s)
        self.service_s += weight * (service_s - self.service_s)
        self.answered_s = now_s


def plan_copies(now_s: float, streams: Iterable["WorkerStream"]) -> list[tuple["Ticket", "WorkerStream"]]:
    """Tasks that are to be sent once more, and to whom.

    Args:
        now_s: time of the event loop.
        streams: the workers that take tasks.
    """
    streams = list(streams)
    typical_s = typical_interval_s(streams)
    if not typical_s:
        return []
    idle = [(_ready_in_s(stream, 1, typical_s), index) for index, stream in enumerate(streams) if stream.room(now_s)]
    if not idle:
        return []
    heapq.heapify(idle)
    given = dict.fromkeys(streams, 0)
    copies = []
    for wait_s, ticket, holder in sorted(_waits(now_s, streams, typical_s), key=lambda item: -item[0]):
        if not idle or wait_s <= _FACTOR * idle[0][0] + _LEAST_S:
            break
        _, index = idle[0]
        stream = streams[index]
        if stream is holder or stream.address in ticket.avoid or ticket.id in stream.outstanding:
            continue
        copies.append((ticket, stream))
        given[stream] += 1
        if given[stream] < stream.free(now_s):
            heapq.heapreplace(idle, (_ready_in_s(stream, 1 + given[stream], typical_s), index))
        else:
            heapq.heappop(idle)
    return copies


def typical_interval_s(streams: Sequence["WorkerStream"]) -> float:
    """The middle one of the workers' intervals; 0 while nobody has answered."""
    intervals = sorted(stream.pace.interval_s for stream in streams if stream.pace.interval_s)
    return intervals[len(intervals) // 2] if intervals else 0.0


def _ready_in_s(stream: "WorkerStream", more: int, typical_s: float) -> float:
    """How long the worker would take for `more` tasks on top of what it has."""
    interval_s = stream.pace.interval_s or typical_s
    return max(stream.pace.service_s, (len(stream.outstanding) + more) * interval_s)


def _waits(
    now_s: float, streams: Sequence["WorkerStream"], typical_s: float
) -> Iterable[tuple[float, "Ticket", "WorkerStream"]]:
    """How long each task that one worker has will take still; of one that is overdue, as long as it is overdue."""
    for stream in streams:
        pace = stream.pace
        interval_s = pace.interval_s or typical_s
        begun_s = pace.answered_s
        for place, ticket in enumerate(stream.outstanding.values(), start=1):
            sent_s = ticket.holders.get(stream, now_s)
            if place == 1:
                begun_s = max(begun_s, sent_s)
            if not ticket.done and len(ticket.holders) == 1:
                due_s = max(sent_s + pace.service_s, begun_s + place * interval_s)
                yield abs(due_s - now_s), ticket, stream
