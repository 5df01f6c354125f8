"""N engine processes behind one queue; those that crash, hang or wear out are replaced."""

import asyncio
import logging
from collections import deque

from metasim.v1 import render_pb2 as pb

from render_server.processes.engine_process import EngineProcess, EngineSettings, ProcessLost
from render_server.processes.expectation import Expectation
from render_server.processes.frames import Frame, Kind
from render_server.processes.job import Job
from render_server.processes.succession import Succession
from render_server.processes.wear import WearLimits
from render_server.service.tally import Tally

#: How often a task may bring a process down, or fail in it, before the client is told.
MAX_ATTEMPTS = 2

#: A process whose last task was shorter than this gets its next task before it has finished the current one. Then it
#: need not wait for the front, which matters for short tasks only; long ones would wait behind each other for nothing.
READ_AHEAD_BELOW_S = 0.25

#: A process holds several tasks where it is expected to be done with all of them in this time, at most so many, and is
#: given them in one message.
GROUP_S, GROUP_TASKS = 0.016, 16

#: Answers of a process that holds a group are awaited for so long before they are read together.
_GATHER_S = 0.004

#: Not for the last few.
_FEW = 3

#: How often the memory of the processes is looked at.
_MEMORY_EVERY_S = 0.5

#: How long a process may take to skip a task whose deadline passed before it began.
_SKIP_WITHIN_S = 1.0

#: Bounds of what a client is told to wait before it sends a task again.
_LEAST_WAIT_S, _LONGEST_WAIT_S = 0.05, 10.0

_log = logging.getLogger(__name__)


class ProcessPool:
    """Renders jobs in processes of their own, each one job at a time.

    Args:
        settings: what the processes run.
        count: how many processes.
        wear: when a process is replaced although it works.
        tally: counts what happens.

    Attributes:
        description: engine, version and device; known once a process is warm.
        tally: the counts.
    """

    def __init__(
        self, settings: EngineSettings, count: int, *, wear: WearLimits | None = None, tally: Tally | None = None
    ) -> None:
        self.count = count
        self.description = pb.DescribeResponse(engine=settings.engine)
        self.tally = tally or Tally()
        self._settings = settings
        self._wear = wear or WearLimits()
        self._queue: deque[Job] = deque()
        self._processes: list[EngineProcess] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._succession = Succession(settings)
        self._mean_task_s = 0.0
        self._expectation = Expectation()

    @property
    def busy(self) -> int:
        """Processes that are rendering."""
        return sum(bool(process.jobs) for process in self._processes)

    @property
    def queued(self) -> int:
        """Jobs that wait for a process."""
        return sum(not job.answered for job in list(self._queue))

    @property
    def resident_bytes(self) -> dict[int, int]:
        """What each process holds in memory, by its process id."""
        return {process.pid: process.resident_bytes() for process in list(self._processes)}

    @property
    def wait_s(self) -> float:
        """How long a task that came now would wait, roughly."""
        expected = self._mean_task_s * (len(self._queue) + 1) / self.count
        return min(max(expected, _LEAST_WAIT_S), _LONGEST_WAIT_S)

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
        self._keepers.append(asyncio.create_task(self._watch_memory()))
        await asyncio.sleep(0)  # Lets each keeper enlist its process.

    async def run(self) -> None:
        """Returns never; raises what makes this worker unfit to go on.

        Raises:
            RenderServerError: processes could not be replaced.
        """
        if not self._keepers:  # It was never started.
            await asyncio.Event().wait()
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

    async def _keep(self, process: EngineProcess) -> None:
        """Serves with a process, then with the one that takes its place, and so on."""
        relief = asyncio.create_task(self._succession.relieve(process))
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
                    self.tally.restarts[process.doomed or "crashed"] += 1
                    self._recover(process, loss)
                process = await self._succession.follow(process, relief)
                relief = asyncio.create_task(self._succession.relieve(process))
        finally:
            relief.cancel()
            (outcome,) = await asyncio.gather(relief, return_exceptions=True)
            if isinstance(outcome, EngineProcess):
                await outcome.close()
            await process.close()

    async def _serve(self, process: EngineProcess) -> None:
        loop = asyncio.get_running_loop()
        self._dispatch()
        while True:
            frames = await process.receive()
            jobs = [process.jobs.popleft() for _ in frames]
            process.last_task_s = (loop.time() - process.head_since_s) / len(jobs)
            process.finished += len(jobs)
            self._watch_head(process)
            self._dispatch()  # Before the answers: the process must not wait for them.
            for job, frame in zip(jobs, frames, strict=True):
                self._finish(job, frame)
            if process.retiring and not process.jobs:
                return
            if self._wear.tasks and process.finished >= self._wear.tasks:
                self._wear_out(process, "tasks")
            if len(process.jobs) > _FEW:  # It will not be idle before half of them are done.
                await process.gather(min(_GATHER_S, _expected_s(process) / 2))

    async def _watch_memory(self) -> None:
        while self._wear.memory_bytes:
            await asyncio.sleep(_MEMORY_EVERY_S)
            for process in list(self._processes):
                resident, warm = process.resident_bytes(), process.resident_when_warm
                if self._wear.exceeded(resident, warm):
                    process.kill("memory")
                elif self._wear.worn(process.finished, resident, warm) == "memory":
                    self._wear_out(process, "memory")

    def _wear_out(self, process: EngineProcess, reason: str) -> None:
        if not process.worn.is_set():
            process.worn.set()
            self.tally.recycles[reason] += 1
            fields = {"process": process.pid, "tasks": process.finished, "reason": reason}
            text = "process %d is replaced after %d tasks because of its %s"
            _log.info(text, process.pid, process.finished, reason, extra={"fields": fields})

    def _dispatch(self) -> None:
        now_s = asyncio.get_running_loop().time()
        given: dict[EngineProcess, list[Job]] = {}
        while self._queue:
            able = (process for process in self._processes if not process.retiring)
            process = min(able, key=lambda each: len(each.jobs), default=None)
            if process is None:
                break
            job = self._queue[0]
            job.expected_s = self._expectation.of(job.samples)
            if not _has_room(process, job):
                break
            self._queue.popleft()
            if job.answered:
                continue
            if now_s >= job.deadline_s:
                job.fail(pb.CODE_DEADLINE_EXCEEDED, f"it waited for {now_s - job.received_s:.3g} s and never began")
                continue
            process.jobs.append(job)
            given.setdefault(process, []).append(job)
        for process, jobs in given.items():
            process.send(jobs, now_s)
            if len(process.jobs) == len(jobs):
                self._watch_head(process)

    def _watch_head(self, process: EngineProcess) -> None:
        if process.timer is not None:
            process.timer.cancel()
            process.timer = None
        if process.jobs:
            head = process.jobs[0]
            head.begun, head.withdraw = True, None
            loop = asyncio.get_running_loop()
            now_s = process.head_since_s = loop.time()
            due_s, reason = now_s + self._settings.limits.task_timeout_s, "hung"
            # One that was answered while it waited here is skipped, or takes its time because it had begun.
            if not head.answered:
                late_s = head.deadline_s if head.deadline_s > now_s else now_s + _SKIP_WITHIN_S
                due_s, reason = min((due_s, reason), (late_s, "deadline"))
            process.timer = loop.call_at(due_s, process.kill, reason)

    def _finish(self, job: Job, frame: Frame) -> None:
        if frame.kind == Kind.RESULT:
            self._observe(job, frame)
            self.tally.renders += frame.renders
            job.finish(frame.body)
        elif frame.kind == Kind.FAILED:
            self._try_again(job, frame.text())
        elif frame.kind == Kind.SKIPPED:
            job.fail(pb.CODE_DEADLINE_EXCEEDED, "its time ran out before it began")
        elif frame.kind == Kind.INVALID:
            job.fail(pb.CODE_INVALID_ARGUMENT, frame.text())
        else:
            job.fail(pb.CODE_RESOURCE_EXHAUSTED, frame.text())

    def _observe(self, job: Job, frame: Frame) -> None:
        task_s = frame.build_s + frame.render_s + frame.encode_s
        self._mean_task_s += 0.1 * (task_s - self._mean_task_s)
        self._expectation.observe(job.samples, task_s)
        job.service_s = task_s
        observe = self.tally.observe
        observe("queue", frame.queue_s)
        observe("build", frame.build_s)
        observe("render", frame.render_s)
        observe("encode", frame.encode_s)

    def _recover(self, process: EngineProcess, reason: str) -> None:
        """Decides about the jobs of a process that has gone: the first was to blame, the others had not begun."""
        if process.timer is not None:
            process.timer.cancel()
        now_s = asyncio.get_running_loop().time()
        jobs = list(process.jobs)
        process.jobs.clear()
        for job in reversed(jobs[1:]):
            job.withdraw = None
            self._queue.appendleft(job)
        fields: dict[str, object] = {"process": process.pid, "reason": process.doomed or "crashed"}
        if jobs:
            ran_s = now_s - process.head_since_s
            fields |= {"task": jobs[0].id, "ran_s": round(ran_s, 3)}
            _log.warning("task %r: %s after %.3g s", jobs[0].id, reason, ran_s, extra={"fields": fields})
            if now_s >= jobs[0].deadline_s:
                jobs[0].fail(pb.CODE_DEADLINE_EXCEEDED, f"it was given up after {ran_s:.3g} s of rendering")
            elif process.doomed == "memory":
                self._try_again(jobs[0], "its process outgrew --max-memory", pb.CODE_RESOURCE_EXHAUSTED)
            elif process.doomed == "hung":
                self._try_again(jobs[0], f"it hung for {ran_s:.3g} s and was ended")
            else:
                self._try_again(jobs[0], reason)
        else:
            _log.warning("%s while it was idle", reason, extra={"fields": fields})
        self._dispatch()

    def _try_again(self, job: Job, reason: str, code: pb.Code.ValueType = pb.CODE_INTERNAL) -> None:
        job.attempts += 1
        if job.attempts < MAX_ATTEMPTS and not job.answered:
            job.begun = False
            self._queue.appendleft(job)
            self._dispatch()
            return
        job.fail(code, f"task {job.id!r} failed {job.attempts} times on this worker, at last: {reason}")


def _has_room(process: EngineProcess, job: Job) -> bool:
    held = len(process.jobs)
    if held == 0 or (held == 1 and process.last_task_s < READ_AHEAD_BELOW_S):
        return True
    return held < GROUP_TASKS and _expected_s(process) + job.expected_s <= GROUP_S


def _expected_s(process: EngineProcess) -> float:
    """How long it will take for what it holds."""
    return sum(job.expected_s for job in process.jobs)
