"""Dispatches tasks to workers and handles failures. Runs in the event loop of the pool's thread."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Sequence

from metasim.v1 import render_pb2 as pb

from trainer.environment import Settings
from trainer.errors import PoolLost, RenderError, TaskRefused
from trainer.pool.assets import AssetSource
from trainer.pool.failed_tasks import keep_task
from trainer.pool.hedging import plan_copies, typical_interval_s
from trainer.pool.membership import Membership
from trainer.pool.options import PoolSettings
from trainer.pool.pending_task import PendingTask
from trainer.pool.renderer_kind import KindCheck
from trainer.pool.resolver import Endpoint
from trainer.pool.security import Security
from trainer.pool.stream import WorkerStream
from trainer.pool.task_queue import TaskQueue

#: Time between two checks for overdue tasks and lost workers.
_WATCH_S = 1.0
#: Delay after a lost connection before the pool checks whether the local server has ended.
_POST_MORTEM_S = 0.1
#: Shortest and longest pause between two checks for tasks of slow workers.
_HEDGE_S = 0.01, 1.0

_log = logging.getLogger(__name__)


class Dispatcher:
    """Keeps one stream per worker, and every stream busy.

    Args:
        endpoints: addresses of the workers.
        assets: returns the bytes of an asset.
        settings: timeouts and limits.
        security: certificates and token.
        gone: returns why no worker can ever come back, or None while one can.

    Attributes:
        tasks_done, renders, tasks_resent, tasks_copied: counts since the start.
        settled: set once a worker accepts tasks, or once it is clear that none will.
        ready: whether a worker has ever accepted tasks.
        kinds: engines, versions and devices of the workers.
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
        self.kinds = KindCheck(mixed=settings.mixed_devices, image_formats=settings.image_formats)
        self.members = Membership(
            endpoints,
            lambda target, name: WorkerStream(target, name, self, assets, settings, security, self.kinds.admit),
        )
        self._assets = assets
        self._settings = settings
        self._gone = gone
        self._queue = TaskQueue(self.members.streams)
        self._hedging: asyncio.TimerHandle | None = None
        self._alone_since_s: float | None = None
        self._loop: asyncio.AbstractEventLoop

    async def run(self) -> None:
        """Keep the set of workers up to date until cancelled."""
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

    def submit(self, tasks: Iterable[PendingTask]) -> None:
        """Queue tasks."""
        self._queue.waiting.extend(tasks)
        self._queue.assign(self._loop.time())
        self._hedge_later()

    def abandon(self, tasks: Iterable[PendingTask]) -> None:
        """Drop tasks that nobody waits for any more."""
        for task in tasks:
            task.abandon()
            for stream in task.holders:
                stream.cancel(task)

    def on_slots(self, stream: WorkerStream) -> None:
        """See `StreamListener`."""
        if stream.slots:
            self.ready = True
            self.settled.set()
            if self._alone_since_s is not None:
                _log.warning("a render worker is back")
            self._alone_since_s = None
        self._offer(stream)

    def on_result(self, stream: WorkerStream, task: PendingTask, result: pb.RenderResult) -> None:
        """See `StreamListener`."""
        stream.breaker.record_success()
        self._offer(stream)
        if task.done:  # Another worker was faster, or nobody waits.
            return
        self.tasks_done += 1
        self.renders += result.timing.renders
        task.succeed(result)
        for other in task.holders:
            other.cancel(task)

    def on_error(self, stream: WorkerStream, task: PendingTask, error: pb.TaskError) -> None:
        """See `StreamListener`."""
        if not task.done:
            self._judge(stream, task, error)
        self._offer(stream)

    def on_lost(self, stream: WorkerStream, tasks: list[PendingTask], culprit: PendingTask | None) -> None:
        """See `StreamListener`."""
        if self.members.refused:
            self.settled.set()
        if tasks:
            self._loop.call_later(_POST_MORTEM_S, self._post_mortem)
            self._blame(stream, f"loss {id(tasks)}", stream.problem)
        reason = f"the connection broke: {stream.problem}"
        for task in reversed(tasks):
            if task.done:
                continue
            if task is culprit:
                self._failed(task, stream, reason)
                continue
            task.losses += 1
            if task.losses < self._settings.max_losses:
                self._send_again(task)
            elif not task.holders:
                self._give_up(task, f"lost {task.losses} times with its worker, last {stream.address}: {reason}")
        self._offer(stream)

    def _judge(self, stream: WorkerStream, task: PendingTask, error: pb.TaskError) -> None:
        """Decide what an error means for the task and for the worker."""
        code, message = error.code, error.message
        if code == pb.CODE_INVALID_ARGUMENT:
            task.fail(TaskRefused(task.id, f"{message} (worker {stream.address})"))
        elif code == pb.CODE_UNAVAILABLE:  # The worker has not begun the task.
            self._send_again(task, counted=False)
        elif code == pb.CODE_RESOURCE_EXHAUSTED and error.retry_after_s > 0:  # The worker has too many clients.
            stream.busy_until_s = self._loop.time() + error.retry_after_s
            self._loop.call_at(stream.busy_until_s + 0.001, self._offer, stream)
            self._send_again(task, counted=False)
        elif code == pb.CODE_UNIMPLEMENTED:
            self._try_elsewhere(stream, task, error)
        elif code in (pb.CODE_CANCELLED, pb.CODE_DEADLINE_EXCEEDED):
            if not task.holders:
                self._give_up(task, f"{message} (worker {stream.address})")
        else:
            if code != pb.CODE_RESOURCE_EXHAUSTED:  # A small worker is not a faulty one.
                self._blame(stream, task.id, message)
            self._failed(task, stream, message)

    def _try_elsewhere(self, stream: WorkerStream, task: PendingTask, error: pb.TaskError) -> None:
        """Send a task that a worker's engine cannot draw to a worker that may, or refuse it."""
        stream.lacks.update(error.missing_features)
        task.needs.update(error.missing_features)
        task.avoid.add(stream.address)
        streams = self.members.streams.values()
        if any(s.slots and s.address not in task.avoid and not s.lacks & task.needs for s in streams):
            self._send_again(task, counted=False)
        elif not task.holders:
            text = f"no worker that is connected can draw it: {error.message} (worker {stream.address})"
            task.fail(TaskRefused(task.id, text))

    def _blame(self, stream: WorkerStream, what: str, reason: str) -> None:
        now_s = self._loop.time()
        if stream.breaker.record_failure(what, now_s):
            pause_s = stream.breaker.open_until_s - now_s
            _log.warning("render worker %s fails and gets no tasks for %g s: %s", stream.address, pause_s, reason)
            self._loop.call_at(stream.breaker.open_until_s + 0.001, self._offer, stream)

    def _failed(self, task: PendingTask, stream: WorkerStream, reason: str) -> None:
        task.failures += 1
        task.avoid.add(stream.address)
        if task.failures < self._settings.max_attempts:
            self._send_again(task)
        elif not task.holders:
            where = f"on {len(task.avoid)} workers" if len(task.avoid) > 1 else "on the only worker"
            self._give_up(task, f"failed {task.failures} times {where}, last {stream.address}: {reason}")

    def _send_again(self, task: PendingTask, *, counted: bool = True) -> None:
        if not task.holders:
            self.tasks_resent += counted
            self._queue.waiting.appendleft(task)

    def _give_up(self, task: PendingTask, message: str) -> None:
        folder = self._settings.failed_tasks or Settings.from_environment().cache / "failed"
        try:
            path = keep_task(folder, task.request, self._assets)
            message += f"; `metasim pool render {path}` tries it again"
        except OSError as error:
            message += f"; it could not be kept in {folder}: {error.strerror}"
        task.fail(RenderError(task.id, message))

    def _offer(self, stream: WorkerStream) -> None:
        """Send the worker as many tasks as it has room for."""
        self._queue.offer(stream, self._loop.time())
        self._hedge_later()

    def _hedge_later(self) -> None:
        """Schedule a check for slow workers where others are idle."""
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
        for task, stream in plan_copies(now_s, self.members.streams.values()) if not self._queue.waiting else ():
            self.tasks_copied += 1
            self._queue.send(task, stream, now_s)
        self._hedge_later()

    async def _watch(self) -> None:
        while True:
            for stream in self.members.streams.values():
                stream.drop_overdue()
            self._look_for_workers()
            await asyncio.sleep(min(_WATCH_S, self._settings.resolve_every_s))

    def _post_mortem(self) -> bool:
        """Give up all tasks if no worker can ever come back. Return whether it did."""
        reason = None if self.members.workers_up else self._gone()
        if reason is not None:
            self._give_all_up(reason)
        return reason is not None

    def _look_for_workers(self) -> None:
        """Log once that no worker is left, and give up after the patience."""
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
            task = self._queue.waiting.popleft()
            task.fail(PoolLost(task.id, reason))
