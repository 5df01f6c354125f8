"""Decisions of the process pool: which process gets which job, and what happens to jobs whose process ends."""

import asyncio
import math

import pytest
from metasim.v1 import render_pb2 as pb
from support.pools import TASK_TIMEOUT_S, Answers, Workshop, run_pool, settled

from render_server.errors import RenderServerError
from render_server.processes.duration_estimator import DurationEstimator
from render_server.processes.engine_process import ProcessLost
from render_server.processes.messages import MessageKind


def submitted(shop: Workshop, answers: Answers, *ids: str, **options: float) -> list:
    """Submit jobs and return them."""
    jobs = [answers.job(name, **options) for name in ids]
    for job in jobs:
        shop.pool.submit(job)
    return jobs


def held(shop: Workshop) -> list[list[str]]:
    """Return the ids of the jobs that each running process holds."""
    return [[job.id for job in process.jobs] for process in shop.running]


def test_a_task_that_ends_two_processes_is_answered_with_an_error() -> None:
    async def scenario(shop: Workshop) -> None:
        answers = Answers()
        submitted(shop, answers, "poison", "innocent")
        for _ in range(2):
            assert held(shop) == [["poison"]]
            shop.running[0].crash()
            await asyncio.sleep(0.1)
        shop.running[0].finish()
        replies = await answers.all(2)
        error = replies["poison"].error
        assert error.code == pb.CODE_INTERNAL
        assert error.message == (
            "task 'poison' failed 2 times on this worker, last: process 1001 was killed by signal 9"
        )
        assert replies["innocent"].result.id == "innocent"
        assert shop.pool.counters.restarts == {"crashed": 2}

    run_pool(scenario)


def test_a_task_whose_process_ended_once_is_rendered_by_another() -> None:
    async def scenario(shop: Workshop) -> None:
        answers = Answers()
        submitted(shop, answers, *"abcdef")
        await settled()
        shop.processes[0].crash()
        replies = await answers.all(6)
        assert all(reply.HasField("result") for reply in replies.values())
        assert shop.pool.counters.restarts == {"crashed": 1}
        assert any("a" in process.rendered for process in shop.processes[1:])

    run_pool(scenario, count=2, automatic_s=0.3)


def test_an_idle_process_that_ends_is_replaced() -> None:
    async def scenario(shop: Workshop) -> None:
        shop.processes[0].crash()
        await asyncio.sleep(0.1)
        answers = Answers()
        submitted(shop, answers, "next")
        assert (await answers.all(1))["next"].HasField("result")
        assert shop.pool.counters.restarts == {"crashed": 1}

    run_pool(scenario, automatic_s=0.0)


def test_processes_that_do_not_start_three_times_in_a_row_end_the_pool() -> None:
    async def scenario(shop: Workshop) -> None:
        shop.failures = [ProcessLost("no space for it")] * 3
        shop.processes[0].crash()
        text = "engine processes failed to start 3 times in a row, last: no space for it"
        with pytest.raises(RenderServerError, match=text):
            await shop.pool.run()

    run_pool(scenario)


@pytest.mark.parametrize(("duration_s", "ahead"), [(0.2, ["b", "c"]), (0.3, ["b"])])
def test_short_tasks_wait_in_the_process_and_long_ones_in_the_queue(duration_s: float, ahead: list[str]) -> None:
    async def scenario(shop: Workshop) -> None:
        answers = Answers()
        submitted(shop, answers, *"abcd")
        assert held(shop) == [["a"]]
        await asyncio.sleep(duration_s)
        shop.processes[0].finish(seconds=duration_s)
        await settled()
        assert held(shop) == [ahead]

    run_pool(scenario)


async def held_ahead(shop: Workshop, answers: Answers, **options: float) -> list:
    """Return three jobs, of which a process renders the first and holds the second."""
    submitted(shop, answers, "short")
    shop.processes[0].finish(seconds=0.1)
    await answers.all(1)
    jobs = submitted(shop, answers, "running", "ahead", "after", **options)
    assert held(shop) == [["running", "ahead"]]
    assert [job.begun for job in jobs] == [True, False, False]
    return jobs


def test_a_job_that_waits_in_the_process_can_be_cancelled() -> None:
    async def scenario(shop: Workshop) -> None:
        answers = Answers()
        jobs = await held_ahead(shop, answers)
        jobs[1].fail(pb.CODE_CANCELLED, "cancelled before it began")
        shop.processes[0].finish(2)
        await settled()
        shop.processes[0].finish()
        replies = await answers.all(4)
        assert replies["ahead"].error.code == pb.CODE_CANCELLED
        assert shop.processes[0].rendered == ["short", "running", "after"]

    run_pool(scenario)


def test_a_job_that_expires_in_the_process_is_never_rendered() -> None:
    async def scenario(shop: Workshop) -> None:
        answers = Answers()
        jobs = await held_ahead(shop, answers)
        jobs[1].deadline_s = asyncio.get_running_loop().time() + 1
        await asyncio.sleep(2)
        shop.processes[0].finish(2)
        await settled()
        shop.processes[0].finish()
        error = (await answers.all(4))["ahead"].error
        assert (error.code, error.message) == (pb.CODE_DEADLINE_EXCEEDED, "its time ran out before it began")
        assert shop.processes[0].rendered == ["short", "running", "after"]
        assert not shop.pool.counters.restarts

    run_pool(scenario)


def test_a_process_that_takes_too_long_is_replaced_and_its_task_tried_again() -> None:
    async def scenario(shop: Workshop) -> None:
        answers = Answers()
        submitted(shop, answers, "hangs")
        await asyncio.sleep(TASK_TIMEOUT_S + 1)
        assert shop.processes[0].kill_reason == "hung"
        shop.running[0].finish()
        assert (await answers.all(1))["hangs"].HasField("result")
        assert shop.pool.counters.restarts == {"hung": 1}

    run_pool(scenario)


def test_a_task_gets_no_more_time_than_it_asks_for() -> None:
    async def scenario(shop: Workshop) -> None:
        answers = Answers()
        submitted(shop, answers, "hurried", timeout_s=2)
        error = (await answers.all(1))["hurried"].error
        assert (error.code, error.message) == (
            pb.CODE_DEADLINE_EXCEEDED,
            "its time ran out after 2 s of rendering",
        )
        assert shop.pool.counters.restarts == {"deadline": 1}

    run_pool(scenario)


@pytest.mark.parametrize(
    ("kind", "code", "retry_after_s"),
    [
        (MessageKind.INVALID, pb.CODE_INVALID_ARGUMENT, 0),
        (MessageKind.TOO_LARGE, pb.CODE_RESOURCE_EXHAUSTED, 0),
        (MessageKind.NO_SPACE, pb.CODE_RESOURCE_EXHAUSTED, 10),
        (MessageKind.UNSUPPORTED, pb.CODE_UNIMPLEMENTED, 0),
    ],
)
def test_errors_of_a_process_have_codes(kind: MessageKind, code: int, retry_after_s: float) -> None:
    async def scenario(shop: Workshop) -> None:
        answers = Answers()
        submitted(shop, answers, "a")
        shop.processes[0].reply(kind, "the reason", 1 << pb.FEATURE_MESHES if kind == MessageKind.UNSUPPORTED else 0)
        error = (await answers.all(1))["a"].error
        assert (error.code, error.message, error.retry_after_s) == (code, "the reason", retry_after_s)
        assert list(error.missing_features) == ([pb.FEATURE_MESHES] if code == pb.CODE_UNIMPLEMENTED else [])

    run_pool(scenario)


def test_a_task_that_fails_twice_in_the_engine_is_answered_with_the_last_reason() -> None:
    async def scenario(shop: Workshop) -> None:
        answers = Answers()
        submitted(shop, answers, "a")
        for _ in range(2):
            shop.processes[0].reply(MessageKind.FAILED, "no image")
            await settled()
        error = (await answers.all(1))["a"].error
        assert (error.code, error.message) == (
            pb.CODE_INTERNAL,
            "task 'a' failed 2 times on this worker, last: no image",
        )

    run_pool(scenario)


def estimating(seconds: float) -> DurationEstimator:
    """Return an estimator that expects this duration of every task of `Answers`."""
    estimator = DurationEstimator()
    estimator.observe(0, seconds)
    return estimator


@pytest.mark.parametrize(("seconds", "group"), [(0.0001, 16), (0.004, 4), (0.02, 1)])
def test_processes_hold_groups_of_fast_tasks(seconds: float, group: int) -> None:
    async def scenario(shop: Workshop) -> None:
        submitted(shop, Answers(), *(str(i) for i in range(40)))
        assert [len(jobs) for jobs in held(shop)] == [group, group]
        assert [jobs[0] for jobs in held(shop)] == ["0", "1"]

    run_pool(scenario, count=2, estimator=estimating(seconds))


def test_only_the_first_of_a_group_is_blamed_for_a_crash() -> None:
    async def scenario(shop: Workshop) -> None:
        answers = Answers()
        jobs = submitted(shop, answers, *(str(i) for i in range(20)))
        assert [job.begun for job in jobs] == [True] + [False] * 19
        shop.processes[0].crash()
        replies = await answers.all(20)
        assert all(reply.HasField("result") for reply in replies.values())
        assert [job.attempts for job in jobs] == [1] + [0] * 19
        assert shop.pool.counters.restarts == {"crashed": 1}
        assert shop.pool.counters.renders == 20

    run_pool(scenario, automatic_s=0.001, estimator=estimating(0.0001))


def test_estimates_follow_tasks_of_about_the_same_size() -> None:
    estimator = DurationEstimator()
    assert estimator.estimate(1000) == math.inf
    estimator.observe(1000, 1.0)
    estimator.observe(1000, 2.0)
    assert estimator.estimate(600) == pytest.approx(1.1)
    assert estimator.estimate(2000) == math.inf
