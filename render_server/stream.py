"""One client's stream of tasks: what it has sent, what it still waits for."""

import asyncio
from collections.abc import Iterable

from metasim.v1 import render_pb2 as pb

from render_server.assets import AssetCache, AssetRefused, AssetTooLarge
from render_server.errors import InvalidTask
from render_server.job import Job, error_reply
from render_server.limits import LimitExceeded, Limits
from render_server.process_pool import ProcessPool
from render_server.validation import required_assets, validate


class TaskStream:
    """Takes the requests of one stream and queues the replies to it.

    Args:
        pool: renders the tasks.
        cache: the worker's assets.
        limits: the worker's bounds.

    Attributes:
        replies: serialized RenderReply messages to send, in order; None after the last.
        closed: set once the call has ended.
    """

    def __init__(self, pool: ProcessPool, cache: AssetCache, limits: Limits) -> None:
        self.replies: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed = asyncio.Event()
        self._pool = pool
        self._cache = cache
        self._limits = limits
        self._slots = -1
        self._most_slots = 0
        self._draining = False
        self._jobs: dict[str, Job] = {}
        self._waiting: dict[str, list[Job]] = {}  # By the hash of each missing asset.
        self._answered = asyncio.Event()
        self._answered.set()

    def set_slots(self, count: int) -> None:
        """Tells the client how many tasks it may have unanswered, first of all and whenever that changes."""
        if count != self._slots:
            self._slots = count
            self._most_slots = max(self._most_slots, count)
            self.replies.put_nowait(pb.RenderReply(slots=pb.Slots(count=count)).SerializeToString())

    def take(self, request: pb.RenderRequest) -> None:
        """Acts on a request.

        Raises:
            AssetRefused: an asset came that cannot be what any task asked for; the stream is beyond repair.
        """
        kind = request.WhichOneof("kind")
        if kind == "task":
            self._take_task(request.task)
        elif kind == "asset":
            self._take_asset(request.asset)
        elif kind == "cancel":
            job = self._jobs.get(request.cancel)
            if job is not None and not job.begun:
                job.fail(pb.CODE_CANCELLED, "cancelled before it began")

    def drain(self) -> None:
        """Takes no more tasks and gives those back that have not begun."""
        self._draining = True
        self.set_slots(0)
        for job in list(self._jobs.values()):
            if not job.begun:
                job.fail(pb.CODE_UNAVAILABLE, "given back unstarted: the worker is shutting down")

    async def finished(self) -> None:
        """Returns when every task that was taken has its answer in `replies`."""
        await self._answered.wait()

    def abandon(self) -> None:
        """Forgets all tasks: the client has gone."""
        for job in list(self._jobs.values()):
            job.fail(pb.CODE_CANCELLED, "the client has gone")

    def _take_task(self, task: pb.RenderTask) -> None:
        if task.id in self._jobs:
            self._refuse(task.id, pb.CODE_INVALID_ARGUMENT, f"id is {task.id!r}; a task of that id is unanswered still")
        elif self._draining:
            self._refuse(task.id, pb.CODE_UNAVAILABLE, "given back unstarted: the worker is shutting down")
        elif len(self._jobs) >= self._most_slots:
            self._refuse(
                task.id,
                pb.CODE_RESOURCE_EXHAUSTED,
                f"{len(self._jobs)} tasks are unanswered; keep to the slots",
            )
        else:
            try:
                validate(task, self._limits)
            except LimitExceeded as error:
                self._refuse(task.id, pb.CODE_RESOURCE_EXHAUSTED, str(error))
            except InvalidTask as error:
                self._refuse(task.id, pb.CODE_INVALID_ARGUMENT, str(error))
            else:
                self._accept(task)

    def _refuse(self, task_id: str, code: pb.Code.ValueType, message: str) -> None:
        self._pool.tasks_failed += 1
        self.replies.put_nowait(error_reply(task_id[:256], code, message))

    def _accept(self, task: pb.RenderTask) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        # Without a deadline of its own, a task that hangs in one process has time for a second one.
        timeout_s = task.timeout_s or 2 * self._limits.task_timeout_s + 60
        assets = tuple(required_assets(task))
        job = Job(task.id, task.SerializeToString(), assets, now_s, now_s + timeout_s, self._on_answer)
        job.timer = loop.call_at(job.deadline_s, _expire, job)
        self._jobs[job.id] = job
        self._answered.clear()
        self._cache.pin(assets)
        missing = [name for name in assets if name not in self._cache]
        if not missing:
            self._pool.submit(job)
            return
        unasked = [name for name in missing if name not in self._waiting]
        for name in missing:
            self._waiting.setdefault(name, []).append(job)
        if unasked:
            wanted = pb.RenderReply(assets_wanted=pb.AssetsWanted(hashes=unasked))
            self.replies.put_nowait(wanted.SerializeToString())

    def _on_answer(self, job: Job, reply: bytes) -> None:
        self._cache.unpin(job.assets)
        for name in job.assets:  # So that an asset which never came is asked for again by the next task.
            waiting = self._waiting.get(name, [])
            if job in waiting:
                waiting.remove(job)
                if not waiting:
                    del self._waiting[name]
        del self._jobs[job.id]
        self.replies.put_nowait(reply)
        if not self._jobs:
            self._answered.set()

    def _take_asset(self, asset: pb.Asset) -> None:
        waiting = self._waiting.pop(asset.hash, [])
        try:
            self._cache.put(asset.hash, asset.data)
        except AssetTooLarge as error:
            _fail(waiting, pb.CODE_RESOURCE_EXHAUSTED, str(error))
        except AssetRefused as error:
            if not waiting:
                raise
            _fail(waiting, pb.CODE_INVALID_ARGUMENT, str(error))
        for job in waiting:
            if not job.answered and all(name in self._cache for name in job.assets):
                self._pool.submit(job)


def _expire(job: Job) -> None:
    if not job.begun:
        job.fail(pb.CODE_DEADLINE_EXCEEDED, "its time ran out before it began")


def _fail(jobs: Iterable[Job], code: pb.Code.ValueType, message: str) -> None:
    for job in jobs:
        job.fail(code, message)
