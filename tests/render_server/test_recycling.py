"""Processes that have served long enough or grown too large are replaced; nobody notices."""

import asyncio
import os
from pathlib import Path

import pytest
from metasim.v1 import render_pb2 as pb
from support.pools import Answers, run_pool
from support.servers import alive
from support.tasks import without_timing

from render_server.processes.engine_process import EngineProcess
from render_server.processes.process_pool import ProcessPool
from render_server.processes.resident import resident_bytes
from render_server.processes.wear import WearLimits, memory_share

GIB = 1 << 30


def test_after_so_many_tasks(tmp_path: Path) -> None:
    async def scenario(pool: ProcessPool) -> None:
        answers = Answers()
        seen = set(pool.resident_bytes)
        count = 0
        while pool.tally.recycles["tasks"] < 3 or len(answers.replies) < count:
            if count - len(answers.replies) < 6 and pool.tally.recycles["tasks"] < 3:
                pool.submit(answers.job(str(count)))
                count += 1
            seen |= set(pool.resident_bytes)
            assert len(pool.resident_bytes) <= 2
            await asyncio.sleep(0.002)
        replies = await answers.all(count)
        assert all(reply.HasField("result") for reply in replies.values())
        assert not pool.tally.restarts
        # All tasks are alike but for their names: so are the results of all processes.
        for reply in replies.values():
            reply.result.id = ""
        assert len({without_timing(reply.result) for reply in replies.values()}) == 1
        while pool.tally.recycles.total() + 2 > len(seen):
            seen |= set(pool.resident_bytes)
            await asyncio.sleep(0.01)
        while sum(map(alive, seen)) > 2:
            await asyncio.sleep(0.01)
        assert len(list(tmp_path.iterdir())) == 2  # The folders of those that live.

    run_pool(tmp_path, scenario, count=2, service_time_s=0.03, wear=WearLimits(tasks=20))


def test_an_idle_process_that_is_worn_is_replaced(tmp_path: Path) -> None:
    async def scenario(pool: ProcessPool) -> None:
        answers = Answers()
        (first,) = pool.resident_bytes
        pool.submit(answers.job("only"))
        await answers.all(1)
        while first in pool.resident_bytes or not pool.resident_bytes:
            await asyncio.sleep(0.01)
        assert not alive(first)
        assert (pool.tally.recycles, pool.tally.restarts) == ({"tasks": 1}, {})

    run_pool(tmp_path, scenario, service_time_s=0.0, wear=WearLimits(tasks=1))


def test_a_process_that_grows_is_replaced_between_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(pool: ProcessPool) -> None:
        answers = Answers()
        (first,) = pool.resident_bytes
        monkeypatch.setattr(
            EngineProcess, "resident_bytes", lambda self: GIB * 8 // 10 if self.pid == first else GIB // 10
        )
        for i in range(30):
            pool.submit(answers.job(str(i)))
        replies = await answers.all(30)
        assert all(reply.HasField("result") for reply in replies.values())
        assert (pool.tally.recycles, pool.tally.restarts) == ({"memory": 1}, {})

    run_pool(tmp_path, scenario, service_time_s=0.1, wear=WearLimits(memory_bytes=GIB))


def test_a_task_that_takes_all_memory_is_ended_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("render_server.processes.process_pool._MEMORY_EVERY_S", 0.05)

    async def scenario(pool: ProcessPool) -> None:
        answers = Answers()

        def grown(process: EngineProcess) -> int:
            return 2 * GIB if process.jobs and process.jobs[0].id == "greedy" else GIB // 10

        monkeypatch.setattr(EngineProcess, "resident_bytes", grown)
        pool.submit(answers.job("greedy"))
        pool.submit(answers.job("modest"))
        replies = await answers.all(2)
        error = replies["greedy"].error
        assert (error.code, error.retry_after_s) == (pb.CODE_RESOURCE_EXHAUSTED, 0)
        assert error.message == (
            "task 'greedy' failed 2 times on this worker, at last: its process outgrew --max-memory"
        )
        assert replies["modest"].HasField("result")
        assert pool.tally.restarts == {"memory": 2}

    run_pool(tmp_path, scenario, service_time_s=0.5, wear=WearLimits(memory_bytes=GIB))


def test_a_worn_process_that_crashes_loses_nothing(tmp_path: Path) -> None:
    async def scenario(pool: ProcessPool) -> None:
        answers = Answers()
        (first,) = pool.resident_bytes
        for i in range(8):
            pool.submit(answers.job(str(i)))
        while not pool._processes[0].worn.is_set():
            await asyncio.sleep(0.001)
        os.kill(first, 9)
        replies = await answers.all(8)
        assert all(reply.HasField("result") for reply in replies.values())

    run_pool(tmp_path, scenario, service_time_s=0.05, wear=WearLimits(tasks=3))


def test_limits_of_wear() -> None:
    wear = WearLimits(tasks=10, memory_bytes=1000)
    assert wear.worn(9, 700, 100) is None
    assert wear.worn(10, 700, 100) == "tasks"
    assert wear.worn(9, 751, 100) == "memory"
    assert (wear.exceeded(1000, 100), wear.exceeded(1001, 100)) == (False, True)
    # A process that is as large when it is warm would be replaced after every task.
    assert wear.worn(9, 1100, 900) is None
    assert not wear.exceeded(1700, 900)
    unbounded = WearLimits()
    assert unbounded.worn(10**9, 10**12, 100) is None
    assert not unbounded.exceeded(10**12, 100)


def test_memory_of_processes() -> None:
    assert 10 << 20 < resident_bytes(os.getpid()) < 8 << 30
    assert resident_bytes(2**22 + 1) == 0
    assert memory_share(2) == pytest.approx(memory_share(1) / 2, abs=1)
    assert memory_share(1) > 64 << 20
