"""The pool's client against scripted workers: order, retries, errors, endings."""

import contextlib
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from metasim.v1 import render_pb2 as pb
from support.scripted import Script, failed, rendered, scripted, slots
from support.tasks import ASSETS, sprite_task

from trainer.errors import InputError, PoolLost, PoolUnreachable, RenderError, TaskRefused
from trainer.pool import PoolSettings, RenderPool

SETTINGS = PoolSettings(connect_timeout_s=20, resolve_every_s=0.1, failed_tasks=Path(tempfile.mkdtemp()))

Requests = Iterator[pb.RenderRequest]


def open_pool(*addresses: str, settings: PoolSettings = SETTINGS) -> RenderPool:
    return RenderPool(",".join(addresses), assets=ASSETS.__getitem__, settings=settings)


def tasks(count: int) -> list[pb.RenderTask]:
    return [sprite_task(f"t{i}", seed=i) for i in range(count)]


def answering(reply: pb.Code.ValueType, message: str = "no luck") -> Script:
    """A worker that fails every task in the same way."""

    def script(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:  # noqa: ARG001
        yield slots(2)
        for request in requests:
            yield failed(request.task.id, reply, message)

    return script


def good(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:  # noqa: ARG001
    """A worker that renders every task."""
    yield slots(2)
    for request in requests:
        if request.HasField("task"):
            yield rendered(request.task.id)


def test_results_come_in_the_order_of_the_tasks_whatever_the_worker_does() -> None:
    def backwards(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:  # noqa: ARG001
        yield slots(4)
        held: list[str] = []
        for request in requests:
            held.append(request.task.id)
            if len(held) == 4:
                yield from map(rendered, reversed(held))
                held.clear()

    with scripted(backwards) as address, open_pool(address) as pool:
        results = pool.render(tasks(12))
        assert [result.id for result in results] == [f"t{i}" for i in range(12)]
        assert [result.boxes[0].node for result in results] == [f"node of t{i}" for i in range(12)]
        assert pool.stats.tasks_done == 12
        assert pool.stats.renders == 12
        assert pool.stats.tasks_resent == 0
        assert pool.stats.workers_up == 1
        assert pool.stats.waited_s > 0


def test_a_worker_never_holds_more_tasks_than_its_slots() -> None:
    most = 0

    def counting(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:  # noqa: ARG001
        nonlocal most
        held: list[str] = []
        came = threading.Condition()

        def read() -> None:
            nonlocal most
            with contextlib.suppress(Exception):  # The stream has ended.
                for request in requests:
                    with came:
                        held.append(request.task.id)
                        most = max(most, len(held))
                        came.notify()

        threading.Thread(target=read, daemon=True).start()
        yield slots(3)
        for _ in range(20):
            with came:
                came.wait_for(lambda: held)
            time.sleep(0.01)
            with came:
                task_id = held.pop(0)
            yield rendered(task_id)

    with scripted(counting) as address, open_pool(address) as pool:
        pool.render(tasks(20))
    assert most == 3


def test_tasks_of_a_lost_worker_go_to_another() -> None:
    def dying(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:
        yield slots(4)
        for count, request in enumerate(requests):
            if count == 3:
                context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
            if count == 0:
                yield rendered(request.task.id)

    with scripted(dying) as first, scripted(good) as second, open_pool(first, second) as pool:
        results = pool.render(tasks(30))
        assert [result.id for result in results] == [f"t{i}" for i in range(30)]
        assert pool.stats.tasks_done == 30


def test_a_failing_worker_does_not_stop_the_others() -> None:
    with (
        scripted(answering(pb.CODE_INTERNAL)) as first,
        scripted(good) as second,
        open_pool(first, second) as pool,
    ):
        until_up(pool, 2)
        assert [result.id for result in pool.render(tasks(10))] == [f"t{i}" for i in range(10)]
        assert pool.stats.tasks_resent > 0


def until_up(pool: RenderPool, count: int) -> None:
    deadline = time.monotonic() + 20
    while pool.stats.workers_up < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("code", [pb.CODE_INTERNAL, pb.CODE_RESOURCE_EXHAUSTED, pb.CODE_UNSPECIFIED])
def test_attempts_are_bounded(code: pb.Code.ValueType) -> None:
    with scripted(answering(code, "out of luck")) as address, open_pool(address) as pool:
        with pytest.raises(RenderError) as caught:
            pool.render([sprite_task("scene-7")])
        assert caught.value.task_id == "scene-7"
        text = str(caught.value)
        assert text.startswith("task 'scene-7': failed 3 times on the only worker, last ipv4:127.0.0.1:")
        assert f": out of luck; `metasim pool render {SETTINGS.failed_tasks}/scene-7-" in text
        assert text.endswith(".task` tries it again")


def test_a_task_that_is_given_back_unstarted_counts_no_attempt() -> None:
    def reluctant(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:  # noqa: ARG001
        yield slots(1)
        for count, request in enumerate(requests):
            if count < 5:
                yield failed(request.task.id, pb.CODE_UNAVAILABLE, "draining")
            else:
                yield rendered(request.task.id)

    with scripted(reluctant) as address, open_pool(address) as pool:
        assert pool.render(tasks(1))[0].id == "t0"


@pytest.mark.parametrize(
    ("code", "kind"), [(pb.CODE_INVALID_ARGUMENT, TaskRefused), (pb.CODE_DEADLINE_EXCEEDED, RenderError)]
)
def test_a_refused_task_is_not_retried(code: pb.Code.ValueType, kind: type[RenderError]) -> None:
    with scripted(answering(code, "columns[0].step is 0")) as address, open_pool(address) as pool:
        with pytest.raises(kind, match=r"task 't0': columns\[0\]\.step is 0 \(worker ipv4:127"):
            pool.render(tasks(3))
        assert pool.stats.tasks_resent == 0
        with pytest.raises(kind):
            pool.submit(sprite_task("t0")).result(timeout=20)  # The ids are free again.


def test_assets_are_sent_only_on_request() -> None:
    asked: list[str] = []
    given: list[pb.Asset] = []

    def curious(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:  # noqa: ARG001
        yield slots(1)
        task = next(requests).task
        name = task.scene.nodes[2].sprite.asset
        yield pb.RenderReply(assets_wanted=pb.AssetsWanted(hashes=[name]))
        given.append(next(requests).asset)
        yield rendered(task.id)
        yield from (rendered(request.task.id) for request in requests)

    def source(name: str) -> bytes:
        asked.append(name)
        return ASSETS[name]

    with scripted(curious) as address, RenderPool(address, assets=source, settings=SETTINGS) as pool:
        pool.render(tasks(4))
    name = tasks(1)[0].scene.nodes[2].sprite.asset
    assert asked == [name]
    assert [(asset.hash, asset.data) for asset in given] == [(name, ASSETS[name])]


def test_a_missing_asset_fails_only_its_task() -> None:
    def curious(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:  # noqa: ARG001
        yield slots(1)
        for request in requests:
            if request.task.id == "t0":
                name = request.task.scene.nodes[2].sprite.asset
                yield pb.RenderReply(assets_wanted=pb.AssetsWanted(hashes=[name]))
            elif request.HasField("cancel"):
                yield failed(request.cancel, pb.CODE_CANCELLED, "cancelled")
            else:
                yield rendered(request.task.id)

    with scripted(curious) as address, RenderPool(address, assets={}.__getitem__, settings=SETTINGS) as pool:
        first, second = pool.submit_all(tasks(2))
        with pytest.raises(TaskRefused, match=r"asset [0-9a-f]{64} cannot be had: KeyError"):
            first.result(timeout=20)
        assert second.result(timeout=20).id == "t1"


def test_an_unreachable_endpoint_is_one_clear_line() -> None:
    settings = PoolSettings(connect_timeout_s=0.5, resolve_every_s=0.1)
    with pytest.raises(PoolUnreachable) as caught:
        open_pool("127.0.0.1:9", settings=settings)
    assert isinstance(caught.value, InputError)
    assert str(caught.value) == (
        "cannot reach 127.0.0.1:9 (tried for 0.5 s): start one with `metasim-render serve --port 9`, "
        "or use --renderer local"
    )


def test_a_worker_that_fails_is_one_clear_line() -> None:
    def broken(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:  # noqa: ARG001
        context.abort(grpc.StatusCode.INTERNAL, "no scratch folder")
        yield slots(1)

    settings = PoolSettings(connect_timeout_s=1.0)
    with scripted(broken) as address, pytest.raises(PoolUnreachable) as caught:
        open_pool(address, settings=settings)
    assert str(caught.value) == f"{address} fails (tried for 1 s): ipv4:{address}: no scratch folder"


def test_a_worker_that_never_becomes_ready_is_one_clear_line() -> None:
    def warming_up(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:  # noqa: ARG001
        yield slots(0)
        next(requests, None)

    settings = PoolSettings(connect_timeout_s=1.0)
    with scripted(warming_up) as address, pytest.raises(PoolUnreachable) as caught:
        open_pool(address, settings=settings)
    assert str(caught.value) == f"{address} answers but takes no tasks (tried for 1 s): wait until it is ready"


def test_a_worker_that_starts_late_is_used() -> None:
    with contextlib.ExitStack() as stack:
        port = free_port()
        late = threading.Timer(0.5, lambda: stack.enter_context(scripted(good, port=port)))
        late.start()
        with open_pool(f"127.0.0.1:{port}") as pool:
            assert pool.render(tasks(2))[1].id == "t1"
        late.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_when_all_workers_are_gone_the_pool_waits_and_then_gives_up() -> None:
    def once(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:
        yield slots(1)
        next(requests)
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone for good")

    settings = PoolSettings(connect_timeout_s=20, resolve_every_s=0.05, patience_s=0.3, max_losses=1000)
    served = scripted(once)
    address = served.__enter__()
    with open_pool(address, settings=settings) as pool:
        future = pool.submit(sprite_task("orphan"))
        served.__exit__(None, None, None)
        with pytest.raises(PoolLost, match=r"task 'orphan': no render worker was left for 0\.3 s"):
            future.result(timeout=20)


def test_ids_must_be_unique_among_unanswered_tasks() -> None:
    with scripted(good) as address, open_pool(address) as pool:
        for bad in (tasks(1) * 2, [sprite_task("")]):
            with pytest.raises(ValueError, match="needs a unique id that is not empty"):
                pool.render(bad)
        for _ in range(50):
            assert [result.id for result in pool.render(tasks(3))] == ["t0", "t1", "t2"]


def silent(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:  # noqa: ARG001
    """A worker that takes tasks and never answers, unless they are cancelled."""
    yield slots(8)
    for request in requests:
        if request.HasField("cancel"):
            yield failed(request.cancel, pb.CODE_CANCELLED, "cancelled")


def test_closing_ends_waiting_tasks() -> None:
    with scripted(silent) as address:
        pool = open_pool(address)
        future = pool.submit(sprite_task("waiting"))
        time.sleep(0.1)
        pool.close()
        pool.close()
        with pytest.raises(RenderError, match="task 'waiting': the pool was closed"):
            future.result(timeout=5)
        with pytest.raises(ValueError, match="the render pool is closed"):
            pool.submit(sprite_task("late"))


def test_an_interrupt_returns_at_once_and_the_pool_stays_usable() -> None:
    cancelled: list[str] = []

    def stuck_once(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:  # noqa: ARG001
        yield slots(4)
        for request in requests:
            if request.HasField("cancel"):
                cancelled.append(request.cancel)
                yield failed(request.cancel, pb.CODE_CANCELLED, "cancelled")
            elif request.task.id == "after":
                yield rendered("after")

    with scripted(stuck_once) as address, open_pool(address) as pool:
        timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        began_s = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            pool.render(tasks(6))
        assert time.monotonic() - began_s < 5
        assert pool.render([sprite_task("after")])[0].id == "after"
    assert sorted(cancelled) == ["t0", "t1", "t2", "t3"]


def test_a_worker_that_keeps_a_task_too_long_is_dropped() -> None:
    settings = replace(SETTINGS, answer_timeout_s=0.3)
    with (
        scripted(silent) as address,
        open_pool(address, settings=settings) as pool,
        pytest.raises(RenderError, match=r"the connection broke: no answer for 0\.3 s"),
    ):
        pool.render(tasks(1))
