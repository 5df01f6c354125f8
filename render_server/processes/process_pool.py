"""N engine processes behind one queue; those that crash, hang or are due for recycling are replaced."""

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from metasim.v1 import render_pb2 as pb

from render_server.counters import Counters
from render_server.processes.duration_estimator import DurationEstimator
from render_server.processes.engine_process import EngineProcess, EngineSettings, ProcessLost
from render_server.processes.job import Job
from render_server.processes.messages import Message, MessageKind
from render_server.processes.recycling import RecyclingPolicy
from render_server.processes.replacement import ProcessReplacement

#: How many times a task may end a process, or fail in it, before the client gets an error.
MAX_ATTEMPTS = 2

#: A process whose last task was shorter than this gets its next task before it has finished the current one, so that it
#: need not wait for the front. Longer tasks would wait behind each other for nothing.
READ_AHEAD_BELOW_S = 0.25

#: A process holds several jobs if it is expected to finish all of them within this time, and at most this many.
GROUP_S, GROUP_TASKS = 0.016, 16

#: Longest time for which the front lets the answers of a group collect.
_COLLECT_S = 0.004

#: Groups of at most this size are read at once.
_SMALL_GROUP = 3

#: Interval of the memory checks.
MEMORY_EVERY_S = 0.5

#: How long a process may take to skip a task whose deadline passed before it began.
_SKIP_WITHIN_S = 1.0

#: Bounds of the time after which a client is told to send a task again.
_LEAST_WAIT_S, _LONGEST_WAIT_S = 0.05, 10.0

#: When a task may come again that found no space for temporary files.
_NO_SPACE_RETRY_S = 10.0

#: Codes of the answers that need no decision.
_CODES = {
    MessageKind.INVALID: pb.CODE_INVALID_ARGUMENT,
    MessageKind.TOO_LARGE: pb.CODE_RESOURCE_EXHAUSTED,
    MessageKind.UNSUPPORTED: pb.CODE_UNIMPLEMENTED,
}

_log = logging.getLogger(__name__)


class ProcessPool:
    """Renders jobs in engine processes, each one job at a time.

    Args:
        settings: what the processes run.
        count: number of processes.
        recycling: when a process is replaced although it works.
        counters: counts what happens.
        estimator: predicts how long tasks take.
        start: starts a process.

    Attributes:
        description: engine, version, device and features; complete once a process is warm.
        counters: likewise.
    """

    def __init__(
        self,
        settings: EngineSettings,
        count: int,
        *,
        recycling: RecyclingPolicy | None = None,
        counters: Counters | None = None,
        estimator: DurationEstimator | None = None,
        start: Callable[[EngineSettings], Awaitable[EngineProcess]] = EngineProcess.start,
    ) -> None:
        self.count = count
        self.description = pb.DescribeResponse(engine=settings.engine)
        self.counters = counters or Counters()
        self._settings = settings
        self._recycling = recycling or RecyclingPolicy()
        self._queue: deque[Job] = deque()
        self._processes: list[EngineProcess] = []
        self._supervisors: list[asyncio.Task[None]] = []
        self._start = functools.partial(start, settings)
        self._replacement = ProcessReplacement(self._start)
        self._mean_task_s = 0.0
        self._estimator = estimator or DurationEstimator()

    @property
    def busy(self) -> int:
        """Number of processes that are rendering."""
        return sum(bool(process.jobs) for process in self._processes)

    @property
    def queued(self) -> int:
        """Number of jobs that wait for a process."""
        return sum(not job.answered for job in list(self._queue))

    @property
    def resident_bytes(self) -> dict[int, int]:
        """Memory that each process holds, by its process id."""
        return {process.pid: process.resident_bytes() for process in list(self._processes)}

    @property
    def wait_s(self) -> float:
        """Approximate time that a task would wait if it arrived now."""
        expected = self._mean_task_s * (len(self._queue) + 1) / self.count
        return min(max(expected, _LEAST_WAIT_S), _LONGEST_WAIT_S)

    async def start(self) -> None:
        """Start the processes and wait until each has rendered an image.

        Raises:
            EngineUnavailable: this machine cannot run the engine.
            ProcessLost: a process did not start.
        """
        starts = [asyncio.ensure_future(self._start()) for _ in range(self.count)]
        try:
            processes = await asyncio.gather(*starts)
        except BaseException:
            for start in starts:
                start.cancel()
            for outcome in await asyncio.gather(*starts, return_exceptions=True):
                if not isinstance(outcome, BaseException):
                    await outcome.close()
            raise
        self.description = processes[0].description
        self._supervisors = [asyncio.create_task(self._supervise(process)) for process in processes]
        self._supervisors.append(asyncio.create_task(self._watch_memory()))
        await asyncio.sleep(0)  # Lets each supervisor enlist its process.

    async def run(self) -> None:
        """Never return; raise what makes this worker unable to go on.

        Raises:
            RenderServerError: processes could not be replaced.
        """
        if not self._supervisors:  # The pool was not started.
            await asyncio.Event().wait()
        # Not gather, which would end the supervisors when its caller is cancelled.
        done, _ = await asyncio.wait(self._supervisors, return_when=asyncio.FIRST_EXCEPTION)
        for supervisor in done:
            supervisor.result()

    def submit(self, job: Job) -> None:
        """Queue a job. It is answered exactly once, whatever happens to the processes."""
        self._queue.append(job)
        self._dispatch()

    async def close(self) -> None:
        """End all processes at once. Jobs that they hold stay unanswered."""
        for supervisor in self._supervisors:
            supervisor.cancel()
        await asyncio.gather(*self._supervisors, return_exceptions=True)

    async def _supervise(self, process: EngineProcess) -> None:
        """Serve with a process, then with the one that replaces it, and so on."""
        prepared = asyncio.create_task(self._replacement.prepare(process))
        try:
            while True:
                self._processes.append(process)
                try:
                    await self._serve(process)
                    loss = ""
                except ProcessLost as error:
                    loss = str(error)
                self._processes.remove(process)
                await process.close()
                if loss and not (process.retiring and not process.jobs):
                    self.counters.restarts[process.kill_reason or "crashed"] += 1
                    self._recover(process, loss)
                process = await self._replacement.after(process, prepared)
                prepared = asyncio.create_task(self._replacement.prepare(process))
        finally:
            prepared.cancel()
            (outcome,) = await asyncio.gather(prepared, return_exceptions=True)
            if not isinstance(outcome, BaseException):
                await outcome.close()
            await process.close()

    async def _serve(self, process: EngineProcess) -> None:
        """Hand jobs to a process and answer them, until the process has retired.

        Raises:
            ProcessLost: the process has ended.
        """
        loop = asyncio.get_running_loop()
        self._dispatch()
        while True:
            messages = await process.receive()
            jobs = [process.jobs.popleft() for _ in messages]
            process.last_task_s = (loop.time() - process.head_since_s) / len(jobs)
            process.finished += len(jobs)
            self._watch_head(process)
            self._dispatch()  # Before the answers: the process must not wait for them.
            for job, message in zip(jobs, messages, strict=True):
                self._finish(job, message)
            if process.retiring and not process.jobs:
                return
            if self._recycling.tasks and process.finished >= self._recycling.tasks:
                self._recycle(process, "tasks")
            if len(process.jobs) > _SMALL_GROUP:  # It will not be idle before half of them are done.
                await process.pause_reading(min(_COLLECT_S, _expected_s(process) / 2))

    async def _watch_memory(self) -> None:
        while self._recycling.memory_bytes:
            await asyncio.sleep(MEMORY_EVERY_S)
            for process in list(self._processes):
                resident, warm = process.resident_bytes(), process.resident_when_warm
                if self._recycling.exceeded(resident, warm):
                    process.kill("memory")
                elif self._recycling.reason(process.finished, resident, warm) == "memory":
                    self._recycle(process, "memory")

    def _recycle(self, process: EngineProcess, reason: str) -> None:
        if not process.recycle.is_set():
            process.recycle.set()
            self.counters.recycles[reason] += 1
            fields = {"process": process.pid, "tasks": process.finished, "reason": reason}
            text = "process %d is replaced after %d tasks because of its %s"
            _log.info(text, process.pid, process.finished, reason, extra={"fields": fields})

    def _dispatch(self) -> None:
        """Hand queued jobs to the processes that have room for them."""
        now_s = asyncio.get_running_loop().time()
        handed: dict[EngineProcess, list[Job]] = {}
        while self._queue:
            able = (process for process in self._processes if not process.retiring)
            process = min(able, key=lambda each: len(each.jobs), default=None)
            if process is None:
                break
            job = self._queue[0]
            job.expected_s = self._estimator.estimate(job.samples)
            if not _has_room(process, job):
                break
            self._queue.popleft()
            if job.answered:
                continue
            if now_s >= job.deadline_s:
                waited_s = now_s - job.received_s
                job.fail(pb.CODE_DEADLINE_EXCEEDED, f"its time ran out: it waited for {waited_s:.3g} s and never began")
                continue
            process.jobs.append(job)
            handed.setdefault(process, []).append(job)
        for process, jobs in handed.items():
            process.send(jobs, now_s)
            if len(process.jobs) == len(jobs):
                self._watch_head(process)

    def _watch_head(self, process: EngineProcess) -> None:
        """Note that the process renders the first of its jobs, and limit the time that it may take."""
        if process.timer is not None:
            process.timer.cancel()
            process.timer = None
        if process.jobs:
            head = process.jobs[0]
            head.begun, head.withdraw = True, None
            loop = asyncio.get_running_loop()
            now_s = process.head_since_s = loop.time()
            due_s, reason = now_s + self._settings.limits.task_timeout_s, "hung"
            # A job that was answered while it waited here is skipped, or runs on because it had begun.
            if not head.answered:
                late_s = head.deadline_s if head.deadline_s > now_s else now_s + _SKIP_WITHIN_S
                due_s, reason = min((due_s, reason), (late_s, "deadline"))
            process.timer = loop.call_at(due_s, process.kill, reason)

    def _finish(self, job: Job, message: Message) -> None:
        """Answer a job with what its process has replied."""
        if message.kind == MessageKind.RESULT:
            self._observe(job, message)
            self.counters.renders += message.renders
            job.finish(message.body)
        elif message.kind == MessageKind.FAILED:
            self._try_again(job, message.text())
        elif message.kind == MessageKind.SKIPPED:
            job.fail(pb.CODE_DEADLINE_EXCEEDED, "its time ran out before it began")
        elif message.kind == MessageKind.NO_SPACE:
            _log.warning("task %r: %s", job.id, message.text(), extra={"fields": {"task": job.id}})
            job.fail(pb.CODE_RESOURCE_EXHAUSTED, message.text(), _NO_SPACE_RETRY_S)
        else:
            missing = [feature for feature in pb.Feature.values() if message.number >> feature & 1]
            job.fail(_CODES[message.kind], message.text(), missing_features=missing)

    def _observe(self, job: Job, message: Message) -> None:
        task_s = message.build_s + message.render_s + message.encode_s
        self._mean_task_s += 0.1 * (task_s - self._mean_task_s)
        self._estimator.observe(job.samples, task_s)
        job.service_s = task_s
        observe = self.counters.observe
        observe("queue", message.queue_s)
        observe("build", message.build_s)
        observe("render", message.render_s)
        observe("encode", message.encode_s)

    def _recover(self, process: EngineProcess, reason: str) -> None:
        """Decide about the jobs of a process that has ended. Only the first had begun, so only it counts as failed."""
        if process.timer is not None:
            process.timer.cancel()
        now_s = asyncio.get_running_loop().time()
        jobs = list(process.jobs)
        process.jobs.clear()
        for job in reversed(jobs[1:]):
            job.withdraw = None
            self._queue.appendleft(job)
        fields: dict[str, object] = {"process": process.pid, "reason": process.kill_reason or "crashed"}
        if jobs:
            ran_s = now_s - process.head_since_s
            fields |= {"task": jobs[0].id, "ran_s": round(ran_s, 3)}
            _log.warning("task %r: %s after %.3g s", jobs[0].id, reason, ran_s, extra={"fields": fields})
            if now_s >= jobs[0].deadline_s:
                jobs[0].fail(pb.CODE_DEADLINE_EXCEEDED, f"its time ran out after {ran_s:.3g} s of rendering")
            elif process.kill_reason == "memory":
                self._try_again(jobs[0], "its process exceeded --max-memory", pb.CODE_RESOURCE_EXHAUSTED)
            elif process.kill_reason == "hung":
                self._try_again(jobs[0], f"it hung for {ran_s:.3g} s and was killed")
            else:
                self._try_again(jobs[0], reason)
        else:
            _log.warning("%s while it was idle", reason, extra={"fields": fields})
        self._dispatch()

    def _try_again(self, job: Job, reason: str, code: pb.Code.ValueType = pb.CODE_INTERNAL) -> None:
        """Queue a job that has failed once more, or answer it if that was its last attempt."""
        job.attempts += 1
        if job.attempts < MAX_ATTEMPTS and not job.answered:
            job.begun = False
            self._queue.appendleft(job)
            self._dispatch()
            return
        job.fail(code, f"task {job.id!r} failed {job.attempts} times on this worker, last: {reason}")


def _has_room(process: EngineProcess, job: Job) -> bool:
    held = len(process.jobs)
    if held == 0 or (held == 1 and process.last_task_s < READ_AHEAD_BELOW_S):
        return True
    return held < GROUP_TASKS and _expected_s(process) + job.expected_s <= GROUP_S


def _expected_s(process: EngineProcess) -> float:
    """Return the expected time until the process has finished all its jobs."""
    return sum(job.expected_s for job in process.jobs)
