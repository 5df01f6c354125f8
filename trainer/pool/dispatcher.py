"""What becomes of tasks and workers. Lives in the event loop of the pool's thread."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Sequence

from metasim.v1 import render_pb2 as pb

from trainer.errors import PoolLost, RenderError, TaskRefused
from trainer.pool.assets import AssetSource
from trainer.pool.failed_tasks import keep_task
from trainer.pool.hedging import plan_copies, typical_interval_s
from trainer.pool.membership import Membership
from trainer.pool.resolver import Endpoint
from trainer.pool.security import Security
from trainer.pool.settings import PoolSettings
from trainer.pool.stream import WorkerStream
from trainer.pool.task_queue import TaskQueue
from trainer.pool.ticket import Ticket
from trainer.settings import Settings

#: How often the pool looks whether somebody is overdue or has gone for good.
_WATCH_S = 1.0
#: How soon after a lost connection it looks whether the worker's program has ended.
_POST_MORTEM_S = 0.1
#: Least and longest pause between two looks for tasks of slow workers.
_HEDGE_S = 0.01, 1.0

_log = logging.getLogger(__name__)


class Dispatcher:
    """Keeps one stream per worker and every stream busy.

    Args:
        endpoints: where the workers are.
        assets: where the bytes of assets come from.
        settings: times and counts.
        security: certificates and token.
        gone: why no worker can ever come back, or None while one can.

    Attributes:
        tasks_done, renders, tasks_resent, tasks_copied: counts since the start.
        settled: set once a worker has offered to take tasks, or it is clear that none will.
        ready: whether a worker has ever offered to take tasks.
        members: the workers.
        ended: set once `run` has ended.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        assets: AssetSource,
        settings: PoolSettings,
        security: Security,
        gone: Callable[[], str | None],
    ) -> None:
        self.tasks_done = 0
        self.renders = 0
        self.tasks_resent = 0
        self.tasks_copied = 0
        self.settled = threading.Event()
        self.ready = False
        self.ended = threading.Event()
        self.members = Membership(
            endpoints, lambda target, name: WorkerStream(target, name, self, assets, settings, security)
        )
        self._assets = assets
        self._settings = settings
        self._gone = gone
        self._queue = TaskQueue(self.members.streams)
        self._hedging: asyncio.TimerHandle | None = None
        self._alone_since_s: float | None = None
        self._loop: asyncio.AbstractEventLoop

    async def run(self) -> None:
        """Looks after the set of workers until cancelled."""
        self._loop = asyncio.get_running_loop()
        watching = asyncio.create_task(self._watch())
        try:
            while True:
                await self.members.resolve()
                await asyncio.sleep(self._settings.resolve_every_s)
        finally:
            watching.cancel()
            if self._hedging is not None:
                self._hedging.cancel()
            await asyncio.gather(self.members.close(), watching, return_exceptions=True)
            self.ended.set()

    def submit(self, tickets: Iterable[Ticket]) -> None:
        """Queues tasks."""
        self._queue.waiting.extend(tickets)
        self._queue.assign(self._loop.time())
        self._hedge_later()

    def abandon(self, tickets: Iterable[Ticket]) -> None:
        """Takes tasks back that nobody waits for any more."""
        for ticket in tickets:
            ticket.abandon()
            for stream in ticket.holders:
                stream.cancel(ticket)

    def on_slots(self, stream: WorkerStream) -> None:
        """See `Owner`."""
        if stream.slots:
            self.ready = True
            self.settled.set()
            if self._alone_since_s is not None:
                _log.warning("a render worker is back: going on")
            self._alone_since_s = None
        self._offer(stream)

    def on_result(self, stream: WorkerStream, ticket: Ticket, result: pb.RenderResult) -> None:
        """See `Owner`."""
        stream.standing.succeeded()
        self._offer(stream)
        if ticket.done:  # Another worker was faster, or nobody waits.
            return
        self.tasks_done += 1
        self.renders += result.timing.renders
        ticket.succeed(result)
        for other in ticket.holders:
            other.cancel(ticket)

    def on_error(self, stream: WorkerStream, ticket: Ticket, error: pb.TaskError) -> None:
        """See `Owner`."""
        if not ticket.done:
            self._judge(stream, ticket, error)
        self._offer(stream)

    def on_lost(self, stream: WorkerStream, tickets: list[Ticket], culprit: Ticket | None) -> None:
        """See `Owner`."""
        if self.members.refused:
            self.settled.set()
        if tickets:
            self._loop.call_later(_POST_MORTEM_S, self._post_mortem)
            self._blame(stream, f"loss {id(tickets)}", stream.problem)
        reason = f"the connection broke: {stream.problem}"
        for ticket in reversed(tickets):
            if ticket.done:
                continue
            if ticket is culprit:
                self._failed(ticket, stream, reason)
                continue
            ticket.losses += 1
            if ticket.losses < self._settings.max_losses:
                self._send_again(ticket)
            elif not ticket.holders:
                self._give_up(ticket, f"lost {ticket.losses} times with its worker, last {stream.address}: {reason}")
        self._offer(stream)

    def _judge(self, stream: WorkerStream, ticket: Ticket, error: pb.TaskError) -> None:
        """What the worker's word about a task means for both."""
        code, message = error.code, error.message
        if code == pb.CODE_INVALID_ARGUMENT:
            ticket.fail(TaskRefused(ticket.id, f"{message} (worker {stream.address})"))
        elif code == pb.CODE_UNAVAILABLE:  # Never begun, so nobody's fault.
            self._send_again(ticket, counted=False)
        elif code == pb.CODE_RESOURCE_EXHAUSTED and error.retry_after_s > 0:  # Too many clients for it just now.
            stream.busy_until_s = self._loop.time() + error.retry_after_s
            self._loop.call_at(stream.busy_until_s + 0.001, self._offer, stream)
            self._send_again(ticket, counted=False)
        elif code in (pb.CODE_CANCELLED, pb.CODE_DEADLINE_EXCEEDED):
            if not ticket.holders:
                self._give_up(ticket, f"{message} (worker {stream.address})")
        else:
            if code != pb.CODE_RESOURCE_EXHAUSTED:  # It may be smaller than others, but nothing is wrong with it.
                self._blame(stream, ticket.id, message)
            self._failed(ticket, stream, message)

    def _blame(self, stream: WorkerStream, what: str, reason: str) -> None:
        now_s = self._loop.time()
        if stream.standing.failed(what, now_s):
            pause_s = stream.standing.until_s - now_s
            _log.warning("render worker %s fails and is left alone for %g s: %s", stream.address, pause_s, reason)
            self._loop.call_at(stream.standing.until_s + 0.001, self._offer, stream)

    def _failed(self, ticket: Ticket, stream: WorkerStream, reason: str) -> None:
        ticket.failures += 1
        ticket.avoid.add(stream.address)
        if ticket.failures < self._settings.max_attempts:
            self._send_again(ticket)
        elif not ticket.holders:
            where = f"on {len(ticket.avoid)} workers" if len(ticket.avoid) > 1 else "on the only worker"
            self._give_up(ticket, f"failed {ticket.failures} times {where}, last {stream.address}: {reason}")

    def _send_again(self, ticket: Ticket, *, counted: bool = True) -> None:
        if not ticket.holders:
            self.tasks_resent += counted
            self._queue.waiting.appendleft(ticket)

    def _give_up(self, ticket: Ticket, message: str) -> None:
        folder = self._settings.failed_tasks or Settings.from_environment().cache / "failed"
        try:
            path = keep_task(folder, ticket.request, self._assets)
            message += f"; `metasim pool render {path}` tries it again"
        except OSError as error:
            message += f"; it could not be kept in {folder}: {error.strerror}"
        ticket.fail(RenderError(ticket.id, message))

    def _offer(self, stream: WorkerStream) -> None:
        """Gives the worker what it has room for."""
        self._queue.offer(stream, self._loop.time())
        self._hedge_later()

    def _hedge_later(self) -> None:
        """Where workers have nothing to do, looks in a while whether others are slow."""
        if self._queue.waiting or not self._queue.open or self._hedging is not None or not self._settings.hedge:
            return
        streams = list(self.members.streams.values())
        if len(streams) > 1 and any(stream.outstanding for stream in streams):
            least_s, longest_s = _HEDGE_S
            pause_s = min(max(typical_interval_s(streams) / 4, least_s), longest_s)
            self._hedging = self._loop.call_later(pause_s, self._hedge)

    def _hedge(self) -> None:
        self._hedging = None
        now_s = self._loop.time()
        for ticket, stream in plan_copies(now_s, self.members.streams.values()) if not self._queue.waiting else ():
            self.tasks_copied += 1
            self._queue.send(ticket, stream, now_s)
        self._hedge_later()

    async def _watch(self) -> None:
        while True:
            for stream in self.members.streams.values():
                stream.give_up_overdue()
            self._look_for_workers()
            await asyncio.sleep(min(_WATCH_S, self._settings.resolve_every_s))

    def _post_mortem(self) -> bool:
        """Gives all tasks up if no worker can ever come back; whether it does."""
        reason = None if self.members.workers_up else self._gone()
        if reason is not None:
            self._give_all_up(reason)
        return reason is not None

    def _look_for_workers(self) -> None:
        """Says once that no worker is left, and gives up after a time."""
        if self.members.workers_up or not self.ready or self._post_mortem():
            return
        patience_s = self._settings.patience_s
        now_s = self._loop.time()
        if self._alone_since_s is None:
            self._alone_since_s = now_s
            _log.warning(
                "no render worker is left (%s); waiting up to %g s for one", self.members.problems(), patience_s
            )
        elif now_s - self._alone_since_s > patience_s:
            self._give_all_up(f"no render worker was left for {patience_s:g} s ({self.members.problems()})")

    def _give_all_up(self, reason: str) -> None:
        while self._queue.waiting:
            ticket = self._queue.waiting.popleft()
            ticket.fail(PoolLost(ticket.id, reason))
