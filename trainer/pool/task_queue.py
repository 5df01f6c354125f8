"""Assigns tasks to workers."""

import heapq
from collections import deque
from collections.abc import Mapping

from trainer.pool.pending_task import PendingTask
from trainer.pool.stream import WorkerStream


class TaskQueue:
    """Tasks that wait for workers, and workers that wait for tasks.

    Args:
        streams: all workers, kept up to date by the caller.

    Attributes:
        waiting: the tasks, next one first. Tasks that have got an outcome meanwhile are skipped.
        open: workers that may have room.
    """

    def __init__(self, streams: Mapping[str, WorkerStream]) -> None:
        self.waiting: deque[PendingTask] = deque()
        self.open: dict[WorkerStream, None] = {}
        self._streams = streams

    def offer(self, stream: WorkerStream, now_s: float) -> None:
        """Send a worker whose state has changed as many tasks as it has room for."""
        # While all others are busy, there is no choice between workers.
        while self.waiting and not self.open and stream.room(now_s) and stream.may_take(self.waiting[0]):
            task = self.waiting.popleft()
            if task.begin():
                stream.send(task)
        if stream.free(now_s) > 0:
            self.open[stream] = None
        else:
            self.open.pop(stream, None)
        self.assign(now_s)

    def assign(self, now_s: float) -> None:
        """Send each task to the worker with the fewest tasks per slot, until no worker has room."""
        if self.waiting and self.open and not self._only_failing(now_s):
            self._assign(now_s)

    def _only_failing(self, now_s: float) -> bool:
        """Return whether only workers with an open circuit have room while others are up."""
        if any(not stream.breaker.is_open(now_s) for stream in self.open):
            return False
        return any(stream.slots and not stream.breaker.is_open(now_s) for stream in self._streams.values())

    def _assign(self, now_s: float) -> None:
        closed = [stream for stream in self.open if not stream.breaker.is_open(now_s)]
        able = [(stream.load, order, stream) for order, stream in enumerate(closed or self.open)]
        heapq.heapify(able)
        held: list[PendingTask] = []
        while self.waiting and able:
            task = self.waiting.popleft()
            if task.done:
                continue
            avoid = self._avoided(task)
            passed_over = []
            while able and (able[0][2].address in avoid or task.id in able[0][2].outstanding):
                passed_over.append(heapq.heappop(able))
            if not able:
                held.append(task)
            elif task.begin():
                _, order, stream = able[0]
                self.send(task, stream, now_s)
                if stream in self.open:
                    heapq.heapreplace(able, (stream.load, order, stream))
                else:
                    heapq.heappop(able)
            for item in passed_over:
                heapq.heappush(able, item)
        self.waiting.extendleft(reversed(held))

    def _avoided(self, task: PendingTask) -> set[str]:
        """Return the workers that failed at a task or cannot draw it, unless no other worker is up."""
        if not task.avoid:
            return task.avoid
        avoid = task.avoid | {s.address for s in self._streams.values() if s.lacks & task.needs}
        others = any(s.slots and s.address not in avoid for s in self._streams.values())
        return avoid if others else set()

    def send(self, task: PendingTask, stream: WorkerStream, now_s: float) -> None:
        """Send a task to a worker."""
        stream.send(task)
        if stream.free(now_s) <= 0:
            self.open.pop(stream, None)
