"""One client's stream of tasks."""

import asyncio
import logging
from collections.abc import Iterable

from metasim.v1 import render_pb2 as pb

from render_server.checks.field_checks import MAX_ID, shown
from render_server.checks.total_samples import check_total_samples
from render_server.checks.validation import required_assets, validate
from render_server.checks.wire_counts import TaskTooLong, check_counts
from render_server.errors import InvalidTask
from render_server.limits import LimitExceeded, Limits
from render_server.processes.job import Job, error_reply
from render_server.processes.process_pool import ProcessPool
from render_server.service.admission import Admission, WorkerFull
from render_server.service.assets import AssetCache, AssetNotKept, AssetRefused, AssetTooLarge
from render_server.service.send_queue import SendQueue
from render_server.service.slots import SlotCount

#: When a task may come again whose assets could not be written.
_DISK_RETRY_S = 10.0

_log = logging.getLogger(__name__)


class TaskStream:
    """Takes the requests of one stream and queues the replies to it.

    Args:
        pool: renders the tasks.
        cache: the worker's assets.
        limits: the worker's limits.
        admission: counts what all streams hold together.

    Attributes:
        send_queue: the replies to send.
        closed: set once the call has ended.
    """

    def __init__(self, pool: ProcessPool, cache: AssetCache, limits: Limits, admission: Admission) -> None:
        self.send_queue = SendQueue(admission)
        self.closed = asyncio.Event()
        self._pool = pool
        self._counters = pool.counters
        self._cache = cache
        self._limits = limits
        self._admission = admission
        self._slots = -1
        self._most_slots = 0
        self._slot_count = SlotCount(0, pool.count)
        self._draining = False
        self._jobs: dict[str, Job] = {}
        self._waiting: dict[str, list[Job]] = {}  # By the hash of each missing asset.
        self._answered = asyncio.Event()
        self._answered.set()

    @property
    def unanswered(self) -> list[str]:
        """Ids of the tasks that have no answer yet."""
        return list(self._jobs)

    @property
    def waiting(self) -> int:
        """Number of tasks that wait for assets."""
        return len({id(job) for jobs in list(self._waiting.values()) for job in jobs})

    def set_slots(self, count: int) -> None:
        """Let the client have that many tasks unanswered, or more if its tasks are short. 0: none."""
        self._slot_count = SlotCount(count, self._pool.count)
        self._send_slots(count)

    def _send_slots(self, count: int) -> None:
        if count != self._slots:
            self._slots = count
            self._most_slots = max(self._most_slots, count)
            slots = pb.Slots(count=count, processes=self._pool.count)
            self.send_queue.put(pb.RenderReply(slots=slots).SerializeToString())

    def take(self, data: bytes) -> None:
        """Act on one serialized RenderRequest.

        Raises:
            DecodeError: the bytes are no request; the stream must end.
            AssetRefused: an asset that no task waits for has a wrong hash; likewise.
        """
        try:
            check_counts(data, self._limits)
        except TaskTooLong as error:
            self._refuse(error.task_id, pb.CODE_RESOURCE_EXHAUSTED, str(error))
            return
        request = pb.RenderRequest.FromString(data)
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
        """Take no more tasks, and give back those that have not begun."""
        self._draining = True
        self.set_slots(0)
        for job in list(self._jobs.values()):
            if not job.begun:
                job.fail(pb.CODE_UNAVAILABLE, "given back unstarted: the worker is shutting down")

    async def finished(self) -> None:
        """Wait until every task that was taken has its answer in `send_queue`."""
        await self._answered.wait()

    def abandon(self) -> None:
        """Give up all tasks, because the client has gone."""
        for job in list(self._jobs.values()):
            job.fail(pb.CODE_CANCELLED, "the client has gone")
        self.send_queue.discard()

    def _take_task(self, task: pb.RenderTask) -> None:
        if task.id in self._jobs:
            self._refuse(task.id, pb.CODE_ALREADY_EXISTS, f"id is {shown(task.id)}; a task with this id is unanswered")
        elif self._draining:
            self._refuse(task.id, pb.CODE_UNAVAILABLE, "given back unstarted: the worker is shutting down")
        elif len(self._jobs) >= self._most_slots:
            text = f"{len(self._jobs)} tasks are unanswered, as many as this stream's slots; send it again later"
            self._refuse(task.id, pb.CODE_RESOURCE_EXHAUSTED, text, self._pool.wait_s)
        else:
            try:
                validate(task, self._limits)
                self._accept(task, check_total_samples(task, self._limits))
            except WorkerFull as error:
                self._refuse(task.id, pb.CODE_RESOURCE_EXHAUSTED, str(error), self._pool.wait_s)
            except LimitExceeded as error:
                self._refuse(task.id, pb.CODE_RESOURCE_EXHAUSTED, str(error))
            except InvalidTask as error:
                self._refuse(task.id, pb.CODE_INVALID_ARGUMENT, str(error))

    def _refuse(self, task_id: str, code: pb.Code.ValueType, message: str, retry_after_s: float = 0.0) -> None:
        self._counters.errors[code] += 1
        self.send_queue.put(error_reply(task_id[:MAX_ID], code, message, retry_after_s))

    def _accept(self, task: pb.RenderTask, samples: int) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        # Without a deadline of its own, a task that hangs in one process has time for a second one.
        timeout_s = task.timeout_s or 2 * self._limits.task_timeout_s + 60
        assets = tuple(required_assets(task))
        job = Job(task.id, task.SerializeToString(), assets, now_s, now_s + timeout_s, self._on_answer, samples)
        self._admission.admit(len(job.body))
        job.timer = loop.call_at(job.deadline_s, _expire, job)
        self._jobs[job.id] = job
        self._answered.clear()
        missing = [name for name in assets if name not in self._cache]
        self._cache.pin(assets)
        if not missing:
            self._pool.submit(job)
            return
        unasked = [name for name in missing if name not in self._waiting]
        for name in missing:
            self._waiting.setdefault(name, []).append(job)
        if unasked:
            self.send_queue.put(pb.RenderReply(assets_wanted=pb.AssetsWanted(hashes=unasked)).SerializeToString())

    def _on_answer(self, job: Job, reply: bytes, code: pb.Code.ValueType | None) -> None:
        if code is None:
            self._counters.tasks_done += 1
            self._slot_count.observe(job.service_s)
        else:
            self._counters.errors[code] += 1
        self._cache.unpin(job.assets)
        for name in job.assets:  # So that the next task asks again for an asset that never came.
            waiting = self._waiting.get(name, [])
            if job in waiting:
                waiting.remove(job)
                if not waiting:
                    del self._waiting[name]
        del self._jobs[job.id]
        self._admission.release(len(job.body))
        if not self._draining:
            crowded = self._admission.tasks > self._limits.held_tasks // 2
            self._send_slots(self._slot_count.least if crowded else self._slot_count.count)
        self.send_queue.put(reply)
        if not self._jobs:
            self._answered.set()

    def _take_asset(self, asset: pb.Asset) -> None:
        waiting = self._waiting.pop(asset.hash, [])
        try:
            self._cache.put(asset.hash, asset.data)
        except AssetNotKept as error:
            _log.warning("%s", error)
            _fail(waiting, pb.CODE_RESOURCE_EXHAUSTED, str(error), _DISK_RETRY_S)
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


def _fail(jobs: Iterable[Job], code: pb.Code.ValueType, message: str, retry_after_s: float = 0.0) -> None:
    for job in jobs:
        job.fail(code, message, retry_after_s)
