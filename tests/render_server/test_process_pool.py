"""Processes that die under their tasks: the pool's own decisions, without the wire."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from metasim.v1 import render_pb2 as pb
from support.tasks import sprite_task

from render_server.engine_process import EngineProcess, EngineSettings, ProcessLost
from render_server.errors import EngineUnavailable
from render_server.job import Job
from render_server.limits import Limits
from render_server.process_pool import ProcessPool

Scenario = Callable[[ProcessPool], Awaitable[None]]


class Answers:
    """Collects what jobs are answered with."""

    def __init__(self) -> None:
        self.replies: dict[str, list[pb.RenderReply]] = {}
        self._changed = asyncio.Event()

    def job(self, task_id: str, *, timeout_s: float = 60.0) -> Job:
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


def run(tmp_path: Path, scenario: Scenario, *, count: int = 1, service_time_s: float = 0.3) -> None:
    """Runs a scenario on a pool of the fake engine."""

    async def main() -> None:
        settings = EngineSettings("fake", tmp_path, tmp_path, Limits(task_timeout_s=30), service_time_s=service_time_s)
        pool = ProcessPool(settings, count)
        await pool.start()
        try:
            await scenario(pool)
        finally:
            await pool.close()

    asyncio.run(main())


def holders(pool: ProcessPool, task_id: str) -> list[EngineProcess]:
    """The process that renders a task now."""
    return [process for process in pool._processes if process.jobs and process.jobs[0].id == task_id]


async def kill_holder(pool: ProcessPool, task_id: str) -> None:
    """Waits until a process renders the task, and kills it."""
    while not (found := holders(pool, task_id)):
        await asyncio.sleep(0.005)
    os.kill(found[0].pid, signal.SIGKILL)
    while found[0] in pool._processes:
        await asyncio.sleep(0.005)


def test_a_task_that_crashes_twice_is_reported_by_name(tmp_path: Path) -> None:
    async def scenario(pool: ProcessPool) -> None:
        answers = Answers()
        for name in ("poison", "innocent"):
            pool.submit(answers.job(name))
        await kill_holder(pool, "poison")
        await kill_holder(pool, "poison")
        replies = await answers.all(2)
        error = replies["poison"].error
        assert error.code == pb.CODE_INTERNAL
        assert error.message.startswith("task 'poison' failed 2 times on this worker, at last: process ")
        assert error.message.endswith(" was killed by signal 9")
        assert replies["innocent"].result.id == "innocent"
        assert pool.tally.restarts == {"crashed": 2}

    run(tmp_path, scenario)


def test_a_task_that_crashed_once_goes_to_another_process(tmp_path: Path) -> None:
    async def scenario(pool: ProcessPool) -> None:
        answers = Answers()
        for i in range(6):
            pool.submit(answers.job(str(i)))
        await kill_holder(pool, "0")
        replies = await answers.all(6)
        assert all(reply.HasField("result") for reply in replies.values())
        assert pool.tally.restarts == {"crashed": 1}

    run(tmp_path, scenario, count=2)


def test_an_idle_process_that_dies_is_replaced(tmp_path: Path) -> None:
    async def scenario(pool: ProcessPool) -> None:
        os.kill(pool._processes[0].pid, signal.SIGKILL)
        while not pool.tally.restarts:
            await asyncio.sleep(0.005)
        answers = Answers()
        pool.submit(answers.job("next"))
        assert (await answers.all(1))["next"].HasField("result")

    run(tmp_path, scenario, service_time_s=0.0)


def test_short_tasks_wait_in_the_process_and_long_ones_do_not(tmp_path: Path) -> None:
    async def most_held(pool: ProcessPool) -> int:
        answers = Answers()
        for i in range(4):
            pool.submit(answers.job(str(i)))
        most = 0
        while len(answers.replies) < 4:
            most = max(most, len(pool._processes[0].jobs))
            await asyncio.sleep(0.001)
        return most

    async def short(pool: ProcessPool) -> None:
        assert await most_held(pool) == 2

    async def long(pool: ProcessPool) -> None:
        assert await most_held(pool) == 1

    run(tmp_path, short, service_time_s=0.02)
    run(tmp_path, long, service_time_s=0.3)


def test_an_engine_that_cannot_run_here(tmp_path: Path) -> None:
    async def main() -> None:
        pool = ProcessPool(EngineSettings("unreal", tmp_path, tmp_path, Limits()), 2)
        with pytest.raises(EngineUnavailable, match="engine 'unreal' is unknown; allowed: blender, raster, fake"):
            await pool.start()

    asyncio.run(main())


def test_a_process_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")

    async def main() -> None:
        pool = ProcessPool(EngineSettings("fake", tmp_path, tmp_path, Limits()), 1)
        with pytest.raises(ProcessLost, match="a process of engine 'fake' exited with status 1"):
            await pool.start()

    asyncio.run(main())
