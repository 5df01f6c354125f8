"""Hedged requests (Dean and Barroso, The Tail at Scale): idle workers get copies of the tasks of slow ones.

The first answer wins. Results are functions of the task, so it does not matter which. A worker answers task number k of
those that it holds about k intervals after its last answer.
"""

import heapq
from collections.abc import Iterable, Sequence

from trainer.pool.pending_task import PendingTask
from trainer.pool.stream import WorkerStream

#: A task is copied if another worker would finish it this many times sooner.
_FACTOR = 1.5
#: Least time that a copy must save.
_LEAST_S = 0.01


def plan_copies(now_s: float, streams: Iterable[WorkerStream]) -> list[tuple[PendingTask, WorkerStream]]:
    """Return the tasks to be sent once more, each with the worker that gets the copy.

    Args:
        now_s: time of the event loop.
        streams: all workers.
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
    for wait_s, task, holder in sorted(_waits(now_s, streams, typical_s), key=lambda item: -item[0]):
        if not idle or wait_s <= _FACTOR * idle[0][0] + _LEAST_S:
            break
        _, index = idle[0]
        stream = streams[index]
        if stream is holder or stream.lacks & task.needs:
            continue
        if stream.address in task.avoid or task.id in stream.outstanding:
            continue
        copies.append((task, stream))
        given[stream] += 1
        if given[stream] < stream.free(now_s):
            heapq.heapreplace(idle, (_ready_in_s(stream, 1 + given[stream], typical_s), index))
        else:
            heapq.heappop(idle)
    return copies


def typical_interval_s(streams: Sequence[WorkerStream]) -> float:
    """Return the median of the workers' intervals; 0 while no worker has answered."""
    intervals = sorted(stream.pace.interval_s for stream in streams if stream.pace.interval_s)
    return intervals[len(intervals) // 2] if intervals else 0.0


def _ready_in_s(stream: WorkerStream, more: int, typical_s: float) -> float:
    """Return the time that the worker would take for `more` tasks on top of those that it holds."""
    interval_s = stream.pace.interval_s or typical_s
    return max(stream.pace.service_s, (len(stream.outstanding) + more) * interval_s)


def _waits(
    now_s: float, streams: Sequence[WorkerStream], typical_s: float
) -> Iterable[tuple[float, PendingTask, WorkerStream]]:
    """Yield the time that each task held by one worker will still take; for an overdue one, the time it is overdue."""
    for stream in streams:
        pace = stream.pace
        interval_s = pace.interval_s or typical_s
        begun_s = pace.answered_s
        for position, task in enumerate(stream.outstanding.values(), start=1):
            sent_s = task.holders.get(stream, now_s)
            if position == 1:
                begun_s = max(begun_s, sent_s)
            if not task.done and len(task.holders) == 1:
                due_s = max(sent_s + pace.service_s, begun_s + position * interval_s)
                yield abs(due_s - now_s), task, stream
