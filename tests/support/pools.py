"""Pools of simulated engine processes on a fake clock, and jobs that collect their answers."""

import asyncio
import functools
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from metasim.v1 import render_pb2 as pb
from support.fake_clock import run_with_fake_clock
from support.tasks import sprite_task

from render_server.limits import Limits
from render_server.processes.engine_process import EngineSettings, ProcessLost
from render_server.processes.job import Job
from render_server.processes.messages import Message, MessageKind
from render_server.processes.process_pool import ProcessPool

#: Time that a process of `Workshop` may take for a task.
TASK_TIMEOUT_S = 30.0


class Answers:
    """Makes jobs and collects their answers."""

    def __init__(self) -> None:
        self.replies: dict[str, list[pb.RenderReply]] = {}
        self._changed = asyncio.Event()

    def job(self, task_id: str, *, timeout_s: float = 600.0, samples: int = 0) -> Job:
        """Return a job of that id, with a task of its own."""
        now_s = asyncio.get_running_loop().time()
        body = sprite_task(task_id).SerializeToString()
        return Job(task_id, body, (), now_s, now_s + timeout_s, self._take, samples)

    async def all(self, count: int) -> dict[str, pb.RenderReply]:
        """Return the replies once there are `count` of them; fail if a job has two."""
        while len(self.replies) < count:
            await self._changed.wait()
            self._changed.clear()
        assert {len(replies) for replies in self.replies.values()} == {1}
        return {name: replies[0] for name, replies in self.replies.items()}

    def _take(self, job: Job, reply: bytes, code: pb.Code.ValueType | None) -> None:  # noqa: ARG002
        self.replies.setdefault(job.id, []).append(pb.RenderReply.FromString(reply))
        self._changed.set()


class SimulatedProcess:
    """Stands in for `EngineProcess`: it does what the test tells it to.

    Attributes:
        resident: memory that it claims to hold.
        withdrawn: ids of the jobs that it must not begin.
        rendered: ids of the jobs that it has rendered.
        closed: whether the pool has closed it.
        automatic_s: time after which it renders each job by itself; None: only `finish` does.
    """

    def __init__(self, pid: int, automatic_s: float | None) -> None:
        self.pid = pid
        self.description = pb.DescribeResponse(engine="fake", engine_version="1", device="cpu")
        self.jobs: deque[Job] = deque()
        self.head_since_s = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.last_task_s = math.inf
        self.finished = 0
        self.resident_when_warm = self.resident = 100
        self.recycle = asyncio.Event()
        self.retiring = False
        self.kill_reason = ""
        self.withdrawn: set[str] = set()
        self.rendered: list[str] = []
        self.closed = False
        self.automatic_s = automatic_s
        self._messages: list[Message] = []
        self._changed = asyncio.Event()
        self._lost = False
        self._working = False

    # What the pool calls.

    def send(self, jobs: Iterable[Job], now_s: float) -> None:  # noqa: ARG002
        for job in jobs:
            job.withdraw = functools.partial(self.withdrawn.add, job.id)
        self._work_later()

    async def receive(self) -> list[Message]:
        while not self._messages and not self._lost:
            self._changed.clear()
            await self._changed.wait()
        if self._messages:
            messages, self._messages = self._messages, []
            asyncio.get_running_loop().call_soon(self._work_later)
            return messages
        raise ProcessLost(f"process {self.pid} was killed by signal 9")

    async def pause_reading(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def resident_bytes(self) -> int:
        return self.resident

    def kill(self, reason: str) -> None:
        self.kill_reason = self.kill_reason or reason
        self.crash()

    async def close(self) -> None:
        self.closed = True

    # What the test calls.

    def finish(self, count: int = 1, *, seconds: float = 0.001) -> None:
        """Render the next jobs, or skip those that were withdrawn or are too late."""
        for _ in range(count):
            job = self.jobs[len(self._messages)]
            if job.id in self.withdrawn or asyncio.get_running_loop().time() >= job.deadline_s:
                self.reply(MessageKind.SKIPPED)
                continue
            self.rendered.append(job.id)
            body = pb.RenderReply(result=pb.RenderResult(id=job.id)).SerializeToString()
            self._put(Message(MessageKind.RESULT, body, render_s=seconds, renders=1))

    def reply(self, kind: MessageKind, text: str = "", number: int = 0) -> None:
        """Answer the next job with an error."""
        self._put(Message(kind, text.encode(), number=number))

    def crash(self) -> None:
        """End."""
        self._lost = True
        self._changed.set()

    def _put(self, message: Message) -> None:
        self._messages.append(message)
        self._changed.set()

    def _work_later(self) -> None:
        if self.automatic_s is not None and not self._working and len(self.jobs) > len(self._messages):
            self._working = True
            asyncio.get_running_loop().call_later(self.automatic_s, self._work)

    def _work(self) -> None:
        self._working = False
        if not self._lost:
            self.finish(seconds=self.automatic_s or 0.0)
            self._work_later()


class Workshop:
    """A started pool of simulated processes.

    Attributes:
        pool: the pool.
        processes: all processes that were started, the first one first.
        failures: errors that the next starts raise, one each.
    """

    def __init__(self, count: int, automatic_s: float | None, **options: object) -> None:
        settings = EngineSettings("fake", Path("/nowhere"), Path("/nowhere"), Limits(task_timeout_s=TASK_TIMEOUT_S))
        self.processes: list[SimulatedProcess] = []
        self.failures: list[Exception] = []
        self._automatic_s = automatic_s
        self.pool = ProcessPool(settings, count, start=self._start, **options)  # type: ignore[arg-type]

    @property
    def running(self) -> list[SimulatedProcess]:
        """The processes that the pool has not closed."""
        return [process for process in self.processes if not process.closed]

    async def _start(self, settings: EngineSettings) -> SimulatedProcess:  # noqa: ARG002
        await asyncio.sleep(0.01)
        if self.failures:
            raise self.failures.pop(0)
        self.processes.append(SimulatedProcess(1000 + len(self.processes), self._automatic_s))
        return self.processes[-1]


Scenario = Callable[[Workshop], Awaitable[None]]


def run_pool(scenario: Scenario, *, count: int = 1, automatic_s: float | None = None, **options: object) -> None:
    """Run a scenario on a pool of simulated processes.

    Args:
        automatic_s: see `SimulatedProcess`.
        options: further arguments of `ProcessPool`.
    """

    async def main() -> None:
        workshop = Workshop(count, automatic_s, **options)
        await workshop.pool.start()
        try:
            await scenario(workshop)
        finally:
            await workshop.pool.close()
        assert all(process.closed for process in workshop.processes)

    run_with_fake_clock(main())


async def settled() -> None:
    """Let everything happen that needs no time."""
    await asyncio.sleep(1e-6)
