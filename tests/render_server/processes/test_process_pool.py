"""Processes that die under their tasks: the pool's own decisions, without the wire."""

import asyncio
import math
import os
import signal
from pathlib import Path

import pytest
from metasim.v1 import render_pb2 as pb
from support.pools import Answers, run_pool

from render_server.errors import EngineUnavailable
from render_server.limits import Limits
from render_server.processes.engine_process import EngineProcess, EngineSettings, ProcessLost
from render_server.processes.expectation import Expectation
from render_server.processes.process_pool import ProcessPool


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

    run_pool(tmp_path, scenario)


def test_a_task_that_crashed_once_goes_to_another_process(tmp_path: Path) -> None:
    async def scenario(pool: ProcessPool) -> None:
        answers = Answers()
        for i in range(6):
            pool.submit(answers.job(str(i)))
        await kill_holder(pool, "0")
        replies = await answers.all(6)
        assert all(reply.HasField("result") for reply in replies.values())
        assert pool.tally.restarts == {"crashed": 1}

    run_pool(tmp_path, scenario, count=2)


def test_an_idle_process_that_dies_is_replaced(tmp_path: Path) -> None:
    async def scenario(pool: ProcessPool) -> None:
        os.kill(pool._processes[0].pid, signal.SIGKILL)
        while not pool.tally.restarts:
            await asyncio.sleep(0.005)
        answers = Answers()
        pool.submit(answers.job("next"))
        assert (await answers.all(1))["next"].HasField("result")

    run_pool(tmp_path, scenario, service_time_s=0.0)


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

    run_pool(tmp_path, short, service_time_s=0.02)
    run_pool(tmp_path, long, service_time_s=0.3)


def test_what_waits_in_the_process_can_still_be_cancelled(tmp_path: Path) -> None:
    async def scenario(pool: ProcessPool) -> None:
        answers = Answers()
        pool.submit(answers.job("short"))
        await answers.all(1)
        jobs = [answers.job(name) for name in ("running", "ahead", "after")]
        for job in jobs:
            pool.submit(job)
        assert [job.begun for job in jobs] == [True, False, False]
        assert [job.id for job in pool._processes[0].jobs] == ["running", "ahead"]
        jobs[1].fail(pb.CODE_CANCELLED, "cancelled before it began")
        replies = await answers.all(4)
        assert replies["ahead"].error.code == pb.CODE_CANCELLED
        assert replies["after"].HasField("result")
        assert pool.tally.renders == 3 * 13

    run_pool(tmp_path, scenario, service_time_s=0.1)


def test_what_expires_in_the_process_is_never_rendered(tmp_path: Path) -> None:
    async def scenario(pool: ProcessPool) -> None:
        answers = Answers()
        pool.submit(answers.job("short"))
        await answers.all(1)
        for name, timeout_s in (("running", 60), ("ahead", 0.05), ("after", 60)):
            pool.submit(answers.job(name, timeout_s=timeout_s))
        replies = await answers.all(4)
        assert replies["ahead"].error.code == pb.CODE_DEADLINE_EXCEEDED
        assert replies["ahead"].error.message == "its time ran out before it began"
        assert replies["after"].HasField("result")
        assert pool.tally.renders == 3 * 13
        assert not pool.tally.restarts

    run_pool(tmp_path, scenario, service_time_s=0.2)


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


def expect(pool: ProcessPool, seconds: float) -> None:
    """Lets the pool believe that tasks take so long."""
    pool._expectation = Expectation()
    pool._expectation.observe(0, seconds)


def stop(pool: ProcessPool) -> None:
    for process in pool._processes:
        os.kill(process.pid, signal.SIGSTOP)


def test_processes_share_groups_of_fast_tasks(tmp_path: Path) -> None:
    async def scenario(pool: ProcessPool) -> None:
        stop(pool)
        for seconds, held in ((0.0001, 16), (0.004, 4), (0.02, 1)):
            answers = Answers()
            expect(pool, seconds)
            for i in range(40):
                pool.submit(answers.job(str(i)))
            assert [len(process.jobs) for process in pool._processes] == [held, held]
            assert [process.jobs[0].id for process in pool._processes] == ["0", "1"]
            for job in (*pool._queue, *(job for process in pool._processes for job in process.jobs)):
                job.fail(pb.CODE_CANCELLED, "enough")
            for process in pool._processes:
                process.jobs.clear()
            pool._queue.clear()

    run_pool(tmp_path, scenario, count=2, service_time_s=0.0)


def test_only_the_first_of_a_group_is_to_blame_for_a_crash(tmp_path: Path) -> None:
    async def scenario(pool: ProcessPool) -> None:
        answers = Answers()
        stop(pool)
        expect(pool, 0.0001)
        jobs = [answers.job(str(i)) for i in range(20)]
        for job in jobs:
            pool.submit(job)
        assert [job.begun for job in jobs] == [True] + [False] * 19
        os.kill(pool._processes[0].pid, signal.SIGKILL)
        replies = await answers.all(20)
        assert all(reply.HasField("result") for reply in replies.values())
        assert [job.attempts for job in jobs] == [1] + [0] * 19
        assert pool.tally.restarts == {"crashed": 1}
        assert pool.tally.renders == 20 * 13

    run_pool(tmp_path, scenario, service_time_s=0.0)


def test_expectations_follow_tasks_of_about_the_same_size() -> None:
    expectation = Expectation()
    assert expectation.of(1000) == math.inf
    expectation.observe(1000, 1.0)
    expectation.observe(1000, 2.0)
    assert expectation.of(600) == pytest.approx(1.1)
    assert expectation.of(2000) == math.inf
