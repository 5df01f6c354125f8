"""Pools of engine processes without a server, and jobs that collect their answers."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from metasim.v1 import render_pb2 as pb
from support.tasks import sprite_task

from render_server.limits import Limits
from render_server.processes.engine_process import EngineSettings
from render_server.processes.job import Job
from render_server.processes.process_pool import ProcessPool
from render_server.processes.wear import WearLimits

Scenario = Callable[[ProcessPool], Awaitable[None]]


class Answers:
    """Collects what jobs are answered with."""

    def __init__(self) -> None:
        self.replies: dict[str, list[pb.RenderReply]] = {}
        self._changed = asyncio.Event()

    def job(self, task_id: str, *, timeout_s: float = 60.0) -> Job:
        """A job of that id, with a task of its own."""
        now_s = asyncio.get_running_loop().time()
        body = sprite_task(task_id).SerializeToString()
        return Job(task_id, body, (), now_s, now_s + timeout_s, self._take)

    async def all(self, count: int) -> dict[str, pb.RenderReply]:
        """The replies once there are as many; fails if a job has two."""
        while len(self.replies) < count:
            await asyncio.wait_for(self._changed.wait(), 60)
            self._changed.clear()
        assert {len(replies) for replies in self.replies.values()} == {1}
        return {name: replies[0] for name, replies in self.replies.items()}

    def _take(self, job: Job, reply: bytes, code: pb.Code.ValueType | None) -> None:  # noqa: ARG002
        self.replies.setdefault(job.id, []).append(pb.RenderReply.FromString(reply))
        self._changed.set()


def run_pool(
    folder: Path,
    scenario: Scenario,
    *,
    count: int = 1,
    service_time_s: float = 0.3,
    wear: WearLimits | None = None,
) -> None:
    """Runs a scenario on a pool of the fake engine."""

    async def main() -> None:
        settings = EngineSettings("fake", folder, folder, Limits(task_timeout_s=30), service_time_s=service_time_s)
        pool = ProcessPool(settings, count, wear=wear)
        await pool.start()
        try:
            await scenario(pool)
        finally:
            await pool.close()

    asyncio.run(main())
