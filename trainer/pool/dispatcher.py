"""Which worker gets which task, and what happens to tasks that fail. Lives in the event loop of the pool's thread."""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence

from metasim.v1 import render_pb2 as pb

from trainer.errors import PoolLost, RenderError, TaskRefused
from trainer.pool.assets import AssetSource
from trainer.pool.resolver import Endpoint
from trainer.pool.settings import PoolSettings
from trainer.pool.stream import Ticket, WorkerStream

#: Pause before a task goes back to the queue that a worker had no room for.
_PUSHBACK_S = 0.2

_FINAL = {
    pb.CODE_INVALID_ARGUMENT: TaskRefused,
    pb.CODE_CANCELLED: RenderError,
    pb.CODE_DEADLINE_EXCEEDED: RenderError,
}

_log = logging.getLogger(__name__)


class Dispatcher:
    """Keeps one stream per worker and every stream busy.

    Attributes:
        tasks_done, renders, tasks_resent: counts since the start.
        first_worker: set once a worker has offered to take tasks.
        ended: set once `run` has ended.
    """

    def __init__(self, endpoints: Sequence[Endpoint], assets: AssetSource, settings: PoolSettings) -> None:
        self.tasks_done = 0
        self.renders = 0
        self.tasks_resent = 0
        self.first_worker = threading.Event()
        self.ended = threading.Event()
        self._endpoints = endpoints
        self._assets = assets
        self._settings = settings
        self._pending: deque[Ticket] = deque()
        self._streams: dict[str, WorkerStream] = {}
        self._retired: set[asyncio.Task[None]] = set()
        self._unresolved: dict[Endpoint, str] = {}
        self._alone_since_s: float | None = None

    @property
    def workers_up(self) -> int:
        """Workers that take tasks."""
        return sum(stream.slots > 0 for stream in self._streams.values())

    @property
    def answers(self) -> bool:
        """Whether a worker is there, ready or not."""
        return any(stream.connected for stream in self._streams.values())

    def problems(self) -> str:
        """Why no worker takes tasks, in a few words."""
        reasons = [f"{endpoint.host}: {reason}" for endpoint, reason in self._unresolved.items()]
        reasons += [f"{stream.address}: {stream.problem}" for stream in self._streams.values() if stream.problem]
        return "; ".join(" ".join(reason.split()) for reason in reasons[:3])

    async def run(self) -> None:
        """Looks after the set of workers until cancelled."""
        try:
            while True:
                await self._resolve()
                self._check_health()
                await asyncio.sleep(self._settings.resolve_every_s)
        finally:
            await asyncio.gather(*(stream.close() for stream in self._streams.values()), *self._retired)
            self.ended.set()

    def submit(self, tickets: Iterable[Ticket]) -> None:
        """Queues tasks."""
        self._pending.extend(tickets)
        self._dispatch()

    def abandon(self, tickets: Iterable[Ticket]) -> None:
        """Takes tasks back that nobody waits for any more."""
        unwanted = set(tickets)
        for ticket in unwanted:
            ticket.abandon()
        self._pending = deque(ticket for ticket in self._pending if not ticket.abandoned)
        for stream in self._streams.values():
            for ticket in stream.outstanding.values():
                if ticket in unwanted:
                    stream.cancel(ticket)

    def on_credit(self) -> None:
        """See `Owner`."""
        if self.workers_up:
            self.first_worker.set()
            if self._alone_since_s is not None:
                _log.warning("a render worker is back")
            self._alone_since_s = None
        self._dispatch()

    def on_result(self, ticket: Ticket, result: pb.RenderResult) -> None:
        """See `Owner`."""
        self._dispatch()
        self.tasks_done += 1
        self.renders += result.timing.renders
        ticket.succeed(result)

    def on_error(self, ticket: Ticket, error: pb.TaskError, address: str) -> None:
        """See `Owner`."""
        if not ticket.abandoned:
            final = _FINAL.get(error.code)
            if final is not None:
                ticket.fail(final(ticket.id, f"{error.message} (worker {address})"))
            elif error.code == pb.CODE_UNAVAILABLE:  # Never begun, so not the task's fault.
                self._pending.appendleft(ticket)
            else:
                pause_s = _PUSHBACK_S if error.code == pb.CODE_RESOURCE_EXHAUSTED else 0.0
                self._try_again(ticket, address, error.message, pause_s)
        self._dispatch()

    def on_lost(self, tickets: list[Ticket], address: str, reason: str) -> None:
        """See `Owner`."""
        for ticket in reversed(tickets):
            if not ticket.abandoned:
                self._try_again(ticket, address, f"the connection broke: {reason}", 0.0)
        self._dispatch()

    async def _resolve(self) -> None:
        targets: set[str] = set()
        for endpoint in self._endpoints:
            try:
                targets |= await endpoint.resolve()
                self._unresolved.pop(endpoint, None)
            except OSError as error:
                self._unresolved[endpoint] = error.strerror or str(error)
        if self._unresolved:  # A name service that fails for a moment takes nobody's work away.
            targets |= self._streams.keys()
        for address in targets - self._streams.keys():
            self._streams[address] = WorkerStream(address, self, self._assets, self._settings)
        for address in self._streams.keys() - targets:
            stream = self._streams[address]
            if not stream.slots and not stream.outstanding:
                del self._streams[address]
                closing = asyncio.create_task(stream.close())
                self._retired.add(closing)
                closing.add_done_callback(self._retired.discard)

    def _check_health(self) -> None:
        now_s = time.monotonic()
        loop_s = asyncio.get_running_loop().time()
        for stream in self._streams.values():
            oldest = next(iter(stream.outstanding.values()), None)
            if oldest is not None and loop_s - oldest.sent_s > self._settings.answer_timeout_s:
                stream.reset(f"no answer for {self._settings.answer_timeout_s:g} s")
        if self.workers_up or not self.first_worker.is_set():
            return
        if self._alone_since_s is None:
            self._alone_since_s = now_s
            _log.warning(
                "no render worker is left (%s); waiting up to %g s for one", self.problems(), self._settings.patience_s
            )
        elif now_s - self._alone_since_s > self._settings.patience_s:
            pending, self._pending = self._pending, deque()
            for ticket in pending:
                message = f"no render worker was left for {self._settings.patience_s:g} s ({self.problems()})"
                ticket.fail(PoolLost(ticket.id, message))

    def _dispatch(self) -> None:
        held: list[Ticket] = []
        while self._pending:
            streams = [stream for stream in self._streams.values() if len(stream.outstanding) < stream.slots]
            if not streams:
                break
            ticket = self._pending.popleft()
            if ticket.avoid:
                streams = [stream for stream in streams if self._may_take(stream, ticket)]
            if not streams:
                held.append(ticket)
            elif ticket.begin():
                min(streams, key=lambda stream: stream.load).send(ticket)
        self._pending.extendleft(reversed(held))

    def _may_take(self, stream: WorkerStream, ticket: Ticket) -> bool:
        """A task goes to workers that have not failed at it, for as long as there is one."""
        if stream.address not in ticket.avoid:
            return True
        return not any(other.slots and other.address not in ticket.avoid for other in self._streams.values())

    def _try_again(self, ticket: Ticket, address: str, reason: str, pause_s: float) -> None:
        ticket.attempts += 1
        ticket.avoid.add(address)
        if ticket.attempts >= self._settings.max_attempts:
            message = f"given up after {ticket.attempts} attempts, the last on worker {address}: {reason}"
            ticket.fail(RenderError(ticket.id, message))
            return
        self.tasks_resent += 1
        if pause_s:
            asyncio.get_running_loop().call_later(pause_s, self.submit, [ticket])
        else:
            self._pending.appendleft(ticket)
