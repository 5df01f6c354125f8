"""Workers that are slow, that fail task after task, and tasks that fail everywhere."""

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from metasim.v1 import render_pb2 as pb
from support.scripted import Script, failed, rendered, scripted, slots
from support.tasks import ASSETS, sprite_task

from trainer.errors import InputError, PoolLost, RenderError
from trainer.pool import PoolOptions, PoolSettings, RenderPool, open_pool
from trainer.pool.circuit_breaker import CircuitBreaker
from trainer.pool.failed_tasks import read_task
from trainer.pool.local import LocalWorkers

Requests = Iterator[pb.RenderRequest]
SETTINGS = PoolSettings(connect_timeout_s=20, resolve_every_s=0.1)


def pool_of(*addresses: str, settings: PoolSettings = SETTINGS) -> RenderPool:
    pool = RenderPool(",".join(addresses), assets=ASSETS.__getitem__, settings=settings)
    deadline_s = time.monotonic() + 20
    while pool.stats.workers_up < len(addresses):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return pool


def tasks(count: int) -> list[pb.RenderTask]:
    return [sprite_task(f"t{i}", seed=i, columns=False) for i in range(count)]


def taking(service_s: float, count: int = 2) -> Script:
    """A worker that takes so long for each task, one after the other."""

    def script(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:  # noqa: ARG001
        yield slots(count)
        for request in requests:
            if request.HasField("task"):
                time.sleep(service_s)
                yield rendered(request.task.id)

    return script


def failing(seen: list[str], until: int = 1 << 30) -> Script:
    """A worker that fails so many tasks, and then renders."""

    def script(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:  # noqa: ARG001
        yield slots(2)
        for request in requests:
            seen.append(request.task.id)
            if len(seen) <= until:
                yield failed(request.task.id, pb.CODE_INTERNAL, "out of memory")
            else:
                yield rendered(request.task.id)

    return script


def test_nobody_waits_for_a_worker_that_has_stalled() -> None:
    held: list[str] = []
    cancelled: list[str] = []

    def stalled(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:  # noqa: ARG001
        yield slots(3)
        for request in requests:
            if request.HasField("cancel"):
                cancelled.append(request.cancel)
                yield failed(request.cancel, pb.CODE_CANCELLED, "cancelled")
            else:
                held.append(request.task.id)

    with scripted(stalled) as first, scripted(taking(0.01)) as second, pool_of(first, second) as pool:
        began_s = time.monotonic()
        assert [result.id for result in pool.render(tasks(30))] == [f"t{i}" for i in range(30)]
        assert time.monotonic() - began_s < 5
        assert len(held) == 3
        assert pool.stats.tasks_copied >= 3
        assert pool.stats.tasks_resent == 0
        assert pool.stats.tasks_done == 30
        # The pool can be used on, with the same ids, though the first worker has yet to give them back.
        assert [result.id for result in pool.render(tasks(30))] == [f"t{i}" for i in range(30)]
    assert set(held) <= set(cancelled)


def test_a_slow_worker_does_not_make_the_others_wait() -> None:
    with scripted(taking(0.4, 3)) as slow, scripted(taking(0.02, 3)) as fast, pool_of(slow, fast) as pool:
        pool.render(tasks(12))  # Now it is known how fast they are.
        began_s = time.monotonic()
        pool.render(tasks(20))
        assert time.monotonic() - began_s < 0.8  # The slow one had three tasks, 1.2 s of work.
        assert pool.stats.tasks_copied >= 1


def test_without_hedging_no_task_is_sent_twice() -> None:
    settings = replace(SETTINGS, hedge=False)
    with scripted(taking(0.2)) as slow, scripted(taking(0.01)) as fast, pool_of(slow, fast, settings=settings) as pool:
        pool.render(tasks(12))
        assert pool.stats.tasks_copied == 0


def test_a_worker_that_fails_task_after_task_is_paused_and_tried_again() -> None:
    seen: list[str] = []
    settings = replace(SETTINGS, circuit_open_s=0.5, max_attempts=100, hedge=False)
    with (
        scripted(failing(seen, until=4)) as bad,
        scripted(taking(0.005)) as good,
        pool_of(bad, good, settings=settings) as pool,
    ):
        pool.render(tasks(40))
        assert 3 <= len(seen) <= 4  # It holds two tasks, so one may follow the third.
        time.sleep(0.6)
        for _ in range(20):  # Its next failure doubles the time; then it renders again.
            pool.render(tasks(20))
            time.sleep(0.1)
        assert len(seen) > 5


def test_failures_of_one_task_are_not_the_workers() -> None:
    breaker = CircuitBreaker(limit=3, pause_s=10.0)
    assert not any(breaker.record_failure("the same", now_s=0.0) for _ in range(9))
    assert not breaker.record_failure("another", 0.0)
    assert breaker.record_failure("a third", 0.0)
    assert breaker.is_open(9.9)
    assert not breaker.is_open(10.1)
    assert breaker.half_open
    assert breaker.record_failure("one more", 20.0)
    assert breaker.is_open(39.0)
    breaker.record_success()
    assert not breaker.half_open
    assert not breaker.is_open(39.0)


def test_a_task_that_fails_on_three_workers_is_kept_as_a_file_that_reproduces_it(tmp_path: Path) -> None:
    settings = replace(SETTINGS, failed_tasks=tmp_path / "failed")
    with (
        scripted(failing([])) as first,
        scripted(failing([])) as second,
        scripted(failing([])) as third,
        pool_of(first, second, third, settings=settings) as pool,
        pytest.raises(RenderError) as caught,
    ):
        pool.render([sprite_task("7/scene 3")])
    (path,) = (tmp_path / "failed").iterdir()
    assert path.name.startswith("7-scene-3-")
    text = str(caught.value)
    assert text.startswith("task '7/scene 3': failed 3 times on 3 workers, last ipv4:127.0.0.1:")
    assert text.endswith(f": out of memory; `metasim pool render {path}` tries it again")
    task, assets = read_task(path)
    assert task == sprite_task("7/scene 3")
    name = task.scene.nodes[2].sprite.asset
    assert assets(name) == ASSETS[name]
    with open_pool(PoolOptions(engine="raster", workers=1), assets=assets) as pool:
        assert pool.render([task])[0].timing.renders > 1


@pytest.mark.parametrize("content", [b"", b"\xff\xff\xff", b"\x03abc"])
def test_a_file_that_holds_no_task(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.task"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"other\.task is not a task kept by a pool: "):
        read_task(path)
    with pytest.raises(InputError, match=r"missing\.task cannot be read: No such file or directory"):
        read_task(tmp_path / "missing.task")


def test_a_busy_worker_is_asked_again_when_it_said() -> None:
    asked_s: list[float] = []

    def busy(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:  # noqa: ARG001
        yield slots(1)
        for request in requests:
            asked_s.append(time.monotonic())
            if len(asked_s) <= 5:
                error = pb.TaskError(id=request.task.id, code=pb.CODE_RESOURCE_EXHAUSTED, retry_after_s=0.1)
                yield pb.RenderReply(error=error)
            else:
                yield rendered(request.task.id)

    with scripted(busy) as address, pool_of(address) as pool:
        assert pool.render(tasks(1))[0].id == "t0"
    assert all(after - before > 0.09 for before, after in itertools.pairwise(asked_s))
    assert len(asked_s) == 6


def test_the_end_of_the_local_server_is_noticed_at_once() -> None:
    local = LocalWorkers(engine="fake", workers=1, extra=("--fake-service-ms", "1500"))
    with RenderPool(local.address, assets=ASSETS.__getitem__, on_close=local.close, gone=local.what_ended_it) as pool:
        future: Future[pb.RenderResult] = pool.submit(sprite_task("orphan"))
        time.sleep(0.3)
        began_s = time.monotonic()
        os.kill(local.pid, signal.SIGKILL)
        with pytest.raises(PoolLost) as caught:
            future.result(timeout=20)
        assert time.monotonic() - began_s < 2
        assert str(caught.value) == ("task 'orphan': the local render server was ended by SIGKILL: no message")
        with pytest.raises(PoolLost):
            pool.render([sprite_task("late")])


def test_a_worker_that_comes_back_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """What is wrong is said once, and that it is over."""
    began = threading.Event()

    def once(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:  # noqa: ARG001
        yield slots(1)
        next(requests)
        began.set()
        next(requests, None)

    settings = replace(SETTINGS, patience_s=20.0)
    served = scripted(once)
    address = served.__enter__()
    with pool_of(address, settings=settings) as pool:
        future = pool.submit(sprite_task("patient"))
        assert began.wait(20)
        served.__exit__(None, None, None)
        time.sleep(0.5)
        with scripted(taking(0.0), port=int(address.rpartition(":")[2])):
            assert future.result(timeout=20).id == "patient"
    said = [record.getMessage() for record in caplog.records if record.name.startswith("trainer.pool")]
    assert len(said) == 2, said
    assert said[0].startswith("no render worker is left (ipv4:127.0.0.1:")
    assert said[0].endswith("waiting up to 20 s for one")
    assert said[1] == "a render worker is back"
