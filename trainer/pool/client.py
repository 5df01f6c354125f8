"""The client of the render pool: blocking calls in front of an event loop in a thread of its own."""

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType

from metasim.v1 import render_pb2 as pb

from trainer.environment import Settings
from trainer.errors import PoolUnreachable, RenderError
from trainer.pool.assets import AssetSource
from trainer.pool.dispatcher import Dispatcher
from trainer.pool.event_loop import shared_loop
from trainer.pool.options import PoolSettings
from trainer.pool.pending_task import PendingTask
from trainer.pool.resolver import parse_endpoints
from trainer.pool.security import Security

#: Longest time to wait for the streams to end.
_END_S = 10.0

#: Number of tasks that are handed to the event loop at once.
_CHUNK = 16

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoolStats:
    """Counters of a pool since it was opened."""

    #: Tasks that were rendered.
    tasks_done: int
    #: Images in these tasks, probes included.
    renders: int
    #: Tasks that were sent again after a failure.
    tasks_resent: int
    #: Tasks that were sent to a second worker because the first was slow.
    tasks_copied: int
    #: Time that callers have spent in `RenderPool.render`.
    waited_s: float
    #: Workers that accept tasks now.
    workers_up: int
    #: Tasks that they render at the same time.
    processes_up: int


class RenderPool:
    """Renders tasks on the workers behind an endpoint. Threads may share a pool.

    The constructor waits for a first worker. A pool is a context manager; `close` ends it.

    Args:
        endpoint: `host:port`, `dns:///host:port` or `unix:path`, or several of these separated by commas. A name stands
            for all addresses that it resolves to, now and later.
        assets: returns the bytes of an asset.
        settings: timeouts and limits.
        on_close: called once the pool is closed.
        gone: returns why no worker can ever come back, or None while one can.

    Raises:
        InputError: the endpoint or a certificate file is wrong.
        PoolUnreachable: no worker was ready within `settings.connect_timeout_s`, or all refuse the client.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        assets: AssetSource,
        settings: PoolSettings | None = None,
        on_close: Callable[[], None] = lambda: None,
        gone: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._endpoints = parse_endpoints(endpoint)
        self._settings = settings or PoolSettings()
        self._assets = assets
        self._on_close = on_close
        self._waited_s = 0.0
        self._in_flight: dict[str, PendingTask] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._loop = shared_loop()
        security = self._settings.security or Security.from_settings(Settings.from_environment())
        self._dispatcher = Dispatcher(self._endpoints, self._assets, self._settings, security, gone)
        self._running = asyncio.run_coroutine_threadsafe(self._dispatcher.run(), self._loop)
        try:
            self._await_first_worker()
        except BaseException:
            self.close()
            raise

    def render(self, tasks: Sequence[pb.RenderTask]) -> list[pb.RenderResult]:
        """Render tasks and return their results in the same order.

        Raises:
            RenderError: a task could not be rendered; the others are abandoned.
            ValueError: an id is empty or belongs to a task that is being rendered.
        """
        began_s = time.monotonic()
        pending = self._submit(tasks)
        futures = [each.future for each in pending]
        try:
            concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_EXCEPTION)
            for future in futures:
                if future.done() and (error := future.exception()) is not None:
                    raise error
            return [future.result() for future in futures]
        except BaseException:  # Ctrl-C included.
            self._abandon(pending)
            raise
        finally:
            self._waited_s += time.monotonic() - began_s

    def submit(self, task: pb.RenderTask) -> "Future[pb.RenderResult]":
        """Start to render a task; see `submit_all`."""
        return self.submit_all([task])[0]

    def submit_all(self, tasks: Sequence[pb.RenderTask]) -> "list[Future[pb.RenderResult]]":
        """Start to render tasks, so that the caller can use the first results while the workers continue.

        Returns:
            A future per task. It raises `RenderError` if the task fails. It can be cancelled until the task is sent.

        Raises:
            ValueError: an id is empty or belongs to a task that is being rendered.
        """
        return [each.future for each in self._submit(tasks)]

    @property
    def stats(self) -> PoolStats:
        """Return the counters of the pool."""
        dispatcher = self._dispatcher
        return PoolStats(
            tasks_done=dispatcher.tasks_done,
            renders=dispatcher.renders,
            tasks_resent=dispatcher.tasks_resent,
            tasks_copied=dispatcher.tasks_copied,
            waited_s=self._waited_s,
            workers_up=dispatcher.members.workers_up,
            processes_up=dispatcher.members.processes_up,
        )

    @property
    def kinds(self) -> str:
        """Return what results depend on beside tasks: engines, versions and kinds of devices of the workers so far."""
        return "; ".join(map(str, self._dispatcher.kinds.names))

    @property
    def rendered_by(self) -> str:
        """Return engines, versions and devices of the workers so far, e.g. "blender 4.5.15 on OPTIX (NVIDIA H200)"."""
        return self._dispatcher.kinds.label

    def close(self) -> None:
        """End the pool and abandon its unanswered tasks. May be called again."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            pending = list(self._in_flight.values())
        self._running.cancel()
        self._dispatcher.ended.wait(_END_S)
        for each in pending:
            each.fail(RenderError(each.id, "the pool was closed"))
        self._on_close()

    def __enter__(self) -> "RenderPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _submit(self, tasks: Sequence[pb.RenderTask]) -> list[PendingTask]:
        ids = {task.id for task in tasks}
        pending: list[PendingTask] = []
        with self._lock:
            if self._closed:
                raise ValueError("the render pool is closed")
            if len(ids) < len(tasks) or "" in ids or not ids.isdisjoint(self._in_flight):
                raise ValueError("every unanswered task needs a unique id that is not empty")
            try:
                for first in range(0, len(tasks), _CHUNK):
                    chunk = [self._pending(task) for task in tasks[first : first + _CHUNK]]
                    pending += chunk
                    self._in_flight.update((each.id, each) for each in chunk)
                    self._loop.call_soon_threadsafe(self._dispatcher.submit, chunk)
                    time.sleep(0)  # Lets the event loop send them meanwhile.
            except BaseException:
                self._abandon(pending)
                raise
        return pending

    def _pending(self, task: pb.RenderTask) -> PendingTask:
        request = pb.RenderRequest(task=task).SerializeToString()
        return PendingTask(
            task.id, request, Future(), self._in_flight, self._settings.answer_timeout_s + task.timeout_s
        )

    def _abandon(self, pending: Sequence[PendingTask]) -> None:
        if not self._closed:
            self._loop.call_soon_threadsafe(self._dispatcher.abandon, pending)

    def _await_first_worker(self) -> None:
        dispatcher, timeout_s = self._dispatcher, self._settings.connect_timeout_s
        dispatcher.settled.wait(timeout_s)
        if dispatcher.ready:
            return
        names = ", ".join(map(str, self._endpoints))
        if dispatcher.members.refused:
            raise PoolUnreachable(f"cannot render at {names}: {dispatcher.members.problems()}")
        tried = f"tried for {timeout_s:g} s"
        _log.debug("no worker: %s", dispatcher.members.problems())
        if dispatcher.members.answers:
            raise PoolUnreachable(f"{names} answers but takes no tasks ({tried}): wait until it is ready")
        if dispatcher.members.failed:
            raise PoolUnreachable(f"{names} fails ({tried}): {dispatcher.members.problems()}")
        port = self._endpoints[0].port
        raise PoolUnreachable(
            f"cannot reach {names} ({tried}): start one with `metasim-render serve --port {port}`, "
            "or use --renderer local"
        )
