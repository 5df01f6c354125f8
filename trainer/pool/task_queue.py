"""Which worker gets which task."""

import heapq
from collections import deque
from collections.abc import Mapping

from trainer.pool.stream import WorkerStream
from trainer.pool.ticket import Ticket


class TaskQueue:
    """Tasks that wait for workers, and workers that wait for tasks.

    Args:
        streams: all workers, as of now.

    Attributes:
        waiting: the tasks, the next one first. Those that have an outcome in the meantime are passed over.
        open: workers that may have room; the others need not be looked at.
    """

    def __init__(self, streams: Mapping[str, WorkerStream]) -> None:
        self.waiting: deque[Ticket] = deque()
        self.open: dict[WorkerStream, None] = {}
        self._streams = streams

    def offer(self, stream: WorkerStream, now_s: float) -> None:
        """Something about the worker has changed: gives it what it has room for."""
        # When all are busy, the next task goes to whoever is done with one: no need to compare workers.
        while self.waiting and not self.open and stream.room(now_s) and stream.may_take(self.waiting[0]):
            ticket = self.waiting.popleft()
            if ticket.begin():
                stream.send(ticket)
        if stream.free(now_s) > 0:
            self.open[stream] = None
        else:
            self.open.pop(stream, None)
        self.assign(now_s)

    def assign(self, now_s: float) -> None:
        """Gives each task to the worker with the fewest tasks for its slots, until there is no more room."""
        if self.waiting and self.open and not self._only_doubtful(now_s):
            self._assign(now_s)

    def _only_doubtful(self, now_s: float) -> bool:
        """Whether there is room only at workers that are set aside, while others are up, who are waited for."""
        if any(not stream.standing.aside(now_s) for stream in self.open):
            return False
        return any(stream.slots and not stream.standing.aside(now_s) for stream in self._streams.values())

    def _assign(self, now_s: float) -> None:
        liked = [stream for stream in self.open if not stream.standing.aside(now_s)]
        able = [(stream.load, order, stream) for order, stream in enumerate(liked or self.open)]
        heapq.heapify(able)
        held: list[Ticket] = []
        while self.waiting and able:
            ticket = self.waiting.popleft()
            if ticket.done:
                continue
            avoid = self._avoided(ticket)
            passed_over = []
            while able and (able[0][2].address in avoid or ticket.id in able[0][2].outstanding):
                passed_over.append(heapq.heappop(able))
            if not able:
                held.append(ticket)
            elif ticket.begin():
                _, order, stream = able[0]
                self.send(ticket, stream, now_s)
                if stream in self.open:
                    heapq.heapreplace(able, (stream.load, order, stream))
                else:
                    heapq.heappop(able)
            for item in passed_over:
                heapq.heappush(able, item)
        self.waiting.extendleft(reversed(held))

    def _avoided(self, ticket: Ticket) -> set[str]:
        """A task goes to workers that have not failed at it, and waits for them, for as long as there is one."""
        if not ticket.avoid:
            return ticket.avoid
        others = any(s.slots and s.address not in ticket.avoid for s in self._streams.values())
        return ticket.avoid if others else set()

    def send(self, ticket: Ticket, stream: WorkerStream, now_s: float) -> None:
        """Gives a task to a worker."""
        stream.send(ticket)
        if stream.free(now_s) <= 0:
            self.open.pop(stream, None)
