"""Processes that have served long enough or grown too large are replaced without losing a task."""

import asyncio
import os

import pytest
from metasim.v1 import render_pb2 as pb
from support.pools import Answers, Workshop, run_pool, settled

from render_server.processes import memory
from render_server.processes.memory import memory_share, most_processes, resident_bytes
from render_server.processes.process_pool import MEMORY_EVERY_S
from render_server.processes.recycling import RecyclingPolicy

GIB = 1 << 30


def test_processes_are_replaced_after_a_number_of_tasks() -> None:
    async def scenario(shop: Workshop) -> None:
        answers = Answers()
        most = 0
        for count in range(200):
            shop.pool.submit(answers.job(str(count)))
            await asyncio.sleep(0.02)
            most = max(most, len(shop.running))
        replies = await answers.all(200)
        assert all(reply.HasField("result") for reply in replies.values())
        assert not shop.pool.counters.restarts
        assert shop.pool.counters.recycles["tasks"] >= 5
        # At most one process beyond the two, and each serves few tasks more than it should.
        assert most <= 3
        assert max(len(process.rendered) for process in shop.processes) < 30

    run_pool(scenario, count=2, automatic_s=0.03, recycling=RecyclingPolicy(tasks=20))


def test_an_idle_process_that_is_due_is_replaced() -> None:
    async def scenario(shop: Workshop) -> None:
        answers = Answers()
        shop.pool.submit(answers.job("only"))
        await answers.all(1)
        await asyncio.sleep(0.1)
        first, second = shop.processes
        assert (first.closed, first.kill_reason, second.closed) == (True, "retired", False)
        assert (shop.pool.counters.recycles, shop.pool.counters.restarts) == ({"tasks": 1}, {})

    run_pool(scenario, automatic_s=0.0, recycling=RecyclingPolicy(tasks=1))


def test_a_process_that_grows_is_replaced_between_tasks() -> None:
    async def scenario(shop: Workshop) -> None:
        answers = Answers()
        shop.processes[0].resident = GIB * 8 // 10
        for i in range(30):
            shop.pool.submit(answers.job(str(i)))
        replies = await answers.all(30)
        assert all(reply.HasField("result") for reply in replies.values())
        assert (shop.pool.counters.recycles, shop.pool.counters.restarts) == ({"memory": 1}, {})

    run_pool(scenario, automatic_s=0.1, recycling=RecyclingPolicy(memory_bytes=GIB))


def test_a_task_that_takes_all_memory_ends_its_process_and_is_answered() -> None:
    async def scenario(shop: Workshop) -> None:
        answers = Answers()
        for name in ("greedy", "modest"):
            shop.pool.submit(answers.job(name))
        for _ in range(2):
            shop.running[0].resident = 2 * GIB
            await asyncio.sleep(1.5 * MEMORY_EVERY_S)
        shop.running[0].finish()
        replies = await answers.all(2)
        error = replies["greedy"].error
        assert (error.code, error.retry_after_s) == (pb.CODE_RESOURCE_EXHAUSTED, 0)
        assert error.message == "task 'greedy' failed 2 times on this worker, last: its process exceeded --max-memory"
        assert replies["modest"].HasField("result")
        assert shop.pool.counters.restarts == {"memory": 2}

    run_pool(scenario, recycling=RecyclingPolicy(memory_bytes=GIB))


def test_a_process_that_crashes_while_its_replacement_starts_loses_nothing() -> None:
    async def scenario(shop: Workshop) -> None:
        answers = Answers()
        for i in range(8):
            shop.pool.submit(answers.job(str(i)))
        while not shop.processes[0].recycle.is_set():
            await asyncio.sleep(0.01)
        shop.processes[0].crash()
        replies = await answers.all(8)
        assert all(reply.HasField("result") for reply in replies.values())
        await settled()

    run_pool(scenario, automatic_s=0.05, recycling=RecyclingPolicy(tasks=3))


def test_the_policy_says_when_and_why() -> None:
    policy = RecyclingPolicy(tasks=10, memory_bytes=1000)
    assert policy.reason(9, 700, 100) is None
    assert policy.reason(10, 700, 100) == "tasks"
    assert policy.reason(9, 751, 100) == "memory"
    assert (policy.exceeded(1000, 100), policy.exceeded(1001, 100)) == (False, True)
    # A process that is as large when it is warm would be replaced after every task.
    assert policy.reason(9, 1100, 900) is None
    assert not policy.exceeded(1700, 900)
    unbounded = RecyclingPolicy()
    assert unbounded.reason(10**9, 10**12, 100) is None
    assert not unbounded.exceeded(10**12, 100)


def test_memory_of_processes_and_of_this_machine() -> None:
    assert 10 << 20 < resident_bytes(os.getpid()) < 8 << 30
    assert resident_bytes(2**22 + 1) == 0


@pytest.mark.parametrize(
    ("memory_gib", "processes", "share_gib"), [(4, 1, 3.2), (4, 2, 1.6), (64, 2, 4), (64, 16, 3.2)]
)
def test_a_process_may_hold_an_equal_share_but_a_few_gb_at_most(
    monkeypatch: pytest.MonkeyPatch, memory_gib: float, processes: int, share_gib: float
) -> None:
    monkeypatch.setattr(memory, "machine_bytes", lambda: int(memory_gib * GIB))
    assert memory_share(processes) == pytest.approx(share_gib * GIB, abs=1)


@pytest.mark.parametrize(("cpus", "memory_gib", "most"), [(2, 64, 16), (64, 8, 16), (1, 0.1, 1)])
def test_the_number_of_processes_is_bounded_by_cpus_and_memory(
    monkeypatch: pytest.MonkeyPatch, cpus: int, memory_gib: float, most: int
) -> None:
    monkeypatch.setattr(memory.os, "sched_getaffinity", lambda _: set(range(cpus)))
    monkeypatch.setattr(memory, "machine_bytes", lambda: int(memory_gib * 2**30))
    assert most_processes("blender") == most
