"""N engine processes behind one queue; those that crash or hang are replaced."""

import asyncio
import logging
from collections import deque

from metasim.v1 import render_pb2 as pb

from render_server.engine_process import EngineProcess, EngineSettings, ProcessLost
from render_server.errors import EngineUnavailable, RenderServerError
from render_server.frames import Frame, Kind
from render_server.job import Job

#: How often a task may bring a process down, or fail in it, before the client is told.
MAX_ATTEMPTS = 2

#: Starts in a row that may fail before the worker gives itself up.
MAX_FAILED_STARTS = 3

#: A process whose last task was shorter than this gets its next task before it has finished the current one. Then it
#: need not wait for the front, which matters for short tasks only; long ones would wait behind each other for nothing.
READ_AHEAD_BELOW_S = 0.25

_log = logging.getLogger(__name__)


class ProcessPool:
    """Renders jobs in processes of their own, each one job at a time.

    Args:
        settings: what the processes run.
        count: how many processes.

    Attributes:
        description: engine, version and device; known once a process is warm.
        tasks_done, tasks_failed, renders, restarts: counts since the start.
    """

    def __init__(self, settings: EngineSettings, count: int) -> None:
        self.count = count
        self.description = pb.DescribeResponse(engine=settings.engine)
        self.tasks_done = 0
        self.tasks_failed = 0
        self.renders = 0
        self.restarts = 0
        self._settings = settings
        self._queue: deque[Job] = deque()
        self._processes: list[EngineProcess] = []
        self._keepers: list[asyncio.Task[None]] = []

    @property
    def busy(self) -> int:
        """Processes that are rendering."""
        return sum(bool(process.jobs) for process in self._processes)

    @property
    def queued(self) -> int:
        """Jobs that wait for a process."""
        return sum(not job.answered for job in self._queue)

    @property
    def pids(self) -> list[int]:
        """Process ids."""
        return [process.pid for process in self._processes]

    async def start(self) -> None:
        """Starts the processes and returns when all of them have rendered an image.

        Raises:
            EngineUnavailable: this machine cannot run the engine.
            ProcessLost: a process did not start.
        """
        starts = [asyncio.create_task(EngineProcess.start(self._settings)) for _ in range(self.count)]
        try:
            processes = await asyncio.gather(*starts)
        except BaseException:
            for start in starts:
                start.cancel()
            for outcome in await asyncio.gather(*starts, return_exceptions=True):
                if isinstance(outcome, EngineProcess):
                    await outcome.close()
            raise
        self.description = processes[0].description
        self._keepers = [asyncio.create_task(self._keep(process)) for process in processes]
        await asyncio.sleep(0)  # Lets each keeper enlist its process.

    async def run(self) -> None:
        """Returns never; raises what makes this worker unfit to go on.

        Raises:
            RenderServerError: processes could not be replaced.
        """
        # Not gather, which would end the keepers when its caller is cancelled.
        done, _ = await asyncio.wait(self._keepers, return_when=asyncio.FIRST_EXCEPTION)
        for keeper in done:
            keeper.result()

    def submit(self, job: Job) -> None:
        """Queues a job. It is answered exactly once, whatever happens to the processes."""
        self._queue.append(job)
        self._dispatch()

    async def close(self) -> None:
        """Ends all processes at once. Jobs that they hold stay unanswered."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def _keep(self, first: EngineProcess) -> None:
        process: EngineProcess | None = first
        try:
            while True:
                if process is None:
                    process = await self._replace()
                self._processes.append(process)
                try:
                    await self._serve(process)
                except ProcessLost as error:
                    self._processes.remove(process)
                    self.restarts += 1
                    await process.close()
                    self._recover(process, str(error))
                    process = None
        finally:
            if process is not None:
                await process.close()

    async def _replace(self) -> EngineProcess:
        for remaining in reversed(range(MAX_FAILED_STARTS)):
            try:
                return await EngineProcess.start(self._settings)
            except (ProcessLost, EngineUnavailable) as error:
                _log.error("%s; %d more tries", error, remaining)
        raise RenderServerError(f"engine {self._settings.engine!r} did not start {MAX_FAILED_STARTS} times in a row")

    async def _serve(self, process: EngineProcess) -> None:
        loop = asyncio.get_running_loop()
        self._dispatch()
        while True:
            frame = await process.receive()
            job = process.jobs.popleft()
            process.last_task_s = loop.time() - process.head_since_s
            self._watch_head(process)
            self._dispatch()  # Before the answer: the process must not wait for it.
            self._finish(job, frame)

    def _dispatch(self) -> None:
        now_s = asyncio.get_running_loop().time()
        while self._queue:
            process = min(self._processes, key=lambda each: len(each.jobs), default=None)
            if process is None or not _has_room(process):
                return
            job = self._queue.popleft()
            if job.answered:
                continue
            if now_s >= job.deadline_s:
                job.fail(pb.CODE_DEADLINE_EXCEEDED, f"it waited for {now_s - job.received_s:.3g} s and never began")
                continue
            process.send(job, now_s)
            if len(process.jobs) == 1:
                self._watch_head(process)

    def _watch_head(self, process: EngineProcess) -> None:
        if process.timer is not None:
            process.timer.cancel()
            process.timer = None
        if process.jobs:
            loop = asyncio.get_running_loop()
            process.head_since_s = loop.time()
            due_s = min(process.jobs[0].deadline_s, process.head_since_s + self._settings.limits.task_timeout_s)
            process.timer = loop.call_at(due_s, process.kill)

    def _finish(self, job: Job, frame: Frame) -> None:
        if frame.kind == Kind.RESULT:
            self.tasks_done += 1
            self.renders += frame.renders
            job.finish(frame.body)
        elif frame.kind == Kind.FAILED:
            self._try_again(job, frame.text())
        else:
            self.tasks_failed += 1
            invalid = frame.kind == Kind.INVALID
            job.fail(pb.CODE_INVALID_ARGUMENT if invalid else pb.CODE_RESOURCE_EXHAUSTED, frame.text())

    def _recover(self, process: EngineProcess, reason: str) -> None:
        """Decides about the jobs of a process that has gone: the first was to blame, the others had not begun."""
        if process.timer is not None:
            process.timer.cancel()
        now_s = asyncio.get_running_loop().time()
        jobs = list(process.jobs)
        process.jobs.clear()
        for job in reversed(jobs[1:]):
            self._queue.appendleft(job)
        if jobs:
            ran_s = now_s - process.head_since_s
            _log.warning("task %r: %s after %.3g s", jobs[0].id, reason, ran_s)
            if now_s >= jobs[0].deadline_s:
                self.tasks_failed += 1
                jobs[0].fail(pb.CODE_DEADLINE_EXCEEDED, f"it was given up after {ran_s:.3g} s of rendering")
            else:
                hung = ran_s >= self._settings.limits.task_timeout_s
                self._try_again(jobs[0], f"it hung for {ran_s:.3g} s and was ended" if hung else reason)
        else:
            _log.warning("%s while it was idle", reason)
        self._dispatch()

    def _try_again(self, job: Job, reason: str) -> None:
        job.attempts += 1
        if job.attempts < MAX_ATTEMPTS and not job.answered:
            self._queue.appendleft(job)
            self._dispatch()
            return
        self.tasks_failed += 1
        job.fail(pb.CODE_INTERNAL, f"task {job.id!r} failed {job.attempts} times on this worker, at last: {reason}")


def _has_room(process: EngineProcess) -> bool:
    held = len(process.jobs)
    return held == 0 or (held == 1 and process.last_task_s < READ_AHEAD_BELOW_S)
