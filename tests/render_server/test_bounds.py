"""Bounds on what a worker holds: over all clients, with clients that do not read, and with a full disk."""

import asyncio
import errno
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from metasim.batches import split_batch
from metasim.hashing import content_hash
from metasim.v1 import render_pb2 as pb
from support.servers import METHOD, Conversation, server
from support.tasks import ASSETS, sprite_png, sprite_task

from render_server.checks.total_samples import check_total_samples
from render_server.limits import LimitExceeded, Limits
from render_server.processes.engine_process import EngineSettings
from render_server.processes.process_pool import ProcessPool
from render_server.service.admission import Admission, WorkerFull
from render_server.service.assets import AssetCache, AssetNotKept
from render_server.service.send_queue import SendQueue
from render_server.service.stream import TaskStream


def test_tasks_and_bytes_of_all_clients_are_limited() -> None:
    admission = Admission(Limits(held_tasks=2, held_bytes=100))
    admission.admit(60)
    with pytest.raises(WorkerFull, match="holds 60 bytes and would exceed its limit of 100 with 41 more; send"):
        admission.admit(41)
    admission.admit(40)
    admission.release(60)
    admission.admit(0)
    with pytest.raises(WorkerFull, match="holds 2 tasks of all its clients, its limit; send it again later"):
        admission.admit(0)


def test_a_full_worker_says_when_to_send_a_task_again() -> None:
    options = ("--workers", "1", "--queue", "7", "--max-held-tasks", "2", "--fake-service-ms", "300")
    with server("--engine", "fake", *options) as running:
        with Conversation(running.address) as first, Conversation(running.address) as second:
            for name, data in ASSETS.items():
                first.send(asset=pb.Asset(hash=name, data=data))
            first.send(task=sprite_task("a"))
            first.send(task=sprite_task("b"))
            assert first.receive().slots.count == 8
            assert second.receive().slots.count == 8
            assert first.answer().id == "a"
            second.send(task=sprite_task("c"))
            second.send(task=sprite_task("d"))
            error = second.answer()
            assert (error.id, error.code) == ("d", pb.CODE_RESOURCE_EXHAUSTED)  # type: ignore[union-attr]
            assert 0.05 <= error.retry_after_s <= 10  # type: ignore[union-attr]
            assert {first.answer().id, second.answer().id} == {"b", "c"}
        assert running.stop() == 0


def test_too_many_clients_are_told_when_to_connect_again() -> None:
    with server("--engine", "fake", "--workers", "1", "--max-clients", "1") as running:
        with Conversation(running.address) as first:
            assert first.receive().slots.count == 3
            with Conversation(running.address) as second, pytest.raises(grpc.RpcError) as caught:
                second.receive()
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert caught.value.details() == (
                "1 clients are connected, the limit of this worker; use another or try later"
            )
            assert ("grpc-retry-pushback-ms", "5000") in caught.value.trailing_metadata()
        with grpc.insecure_channel(running.address) as channel:
            status = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()).status
            assert status == health_pb2.HealthCheckResponse.SERVING


def test_a_send_queue_is_full_until_the_client_takes_replies() -> None:
    async def main() -> None:
        admission = Admission(Limits())
        send_queue = SendQueue(admission)
        for _ in range(65):
            send_queue.put(b"1234")
        assert admission.held_bytes == 65 * 4
        assert send_queue.full
        message = await send_queue.get()
        assert message is not None
        assert list(split_batch(message)) == [b"1234"] * 64
        assert admission.held_bytes == 4
        await send_queue.room()
        send_queue.put(bytes(33 << 20))
        assert send_queue.full
        send_queue.discard()
        assert admission.held_bytes == 0
        assert await send_queue.get() is None

    asyncio.run(main())


def test_a_client_that_does_not_read_replies_is_stopped_by_flow_control() -> None:
    """It gets all answers once it reads."""
    count = 10_000
    bad = pb.RenderRequest(task=pb.RenderTask(id="x" * 200))
    message = pb.RenderRequests(requests=[bad]).SerializeToString()
    with server("--engine", "fake", "--workers", "1") as running, grpc.insecure_channel(running.address) as channel:
        sent = 0

        def requests() -> object:
            nonlocal sent
            for _ in range(count):
                sent += 1
                yield message

        call = channel.stream_stream(METHOD, response_deserializer=pb.RenderReplies.FromString)(requests(), timeout=60)
        assert next(call).replies[0].HasField("slots")
        assert sent < count
        assert sum(reply.HasField("error") for message in call for reply in message.replies) == count


def test_a_full_disk_refuses_an_asset_and_keeps_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = AssetCache(tmp_path, Limits())
    data = sprite_png()
    write = Path.write_bytes

    def no_space(path: Path, content: bytes) -> int:
        write(path, content[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_space)
    name = content_hash(data)
    with pytest.raises(AssetNotKept) as caught:
        cache.put(name, data)
    assert str(caught.value) == (
        f"asset {name} of {len(data)} bytes cannot be written to the worker's disk: No space left on device"
    )
    assert (list(tmp_path.iterdir()), cache.total_bytes) == ([], 0)
    monkeypatch.undo()
    cache.put(name, data)
    assert name in cache


def test_tasks_that_wait_for_an_asset_that_the_disk_does_not_take_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        pool = ProcessPool(EngineSettings("fake", tmp_path, tmp_path, Limits()), 1)
        stream = TaskStream(pool, AssetCache(tmp_path, Limits()), Limits(), Admission(Limits()))
        stream.set_slots(1)
        task = sprite_task("waits")
        stream.take(pb.RenderRequest(task=task).SerializeToString())
        name = task.scene.nodes[2].sprite.asset
        stream.take(pb.RenderRequest(asset=pb.Asset(hash=name, data=ASSETS[name])).SerializeToString())
        message = await stream.send_queue.get()
        replies = pb.RenderReplies.FromString(message or b"").replies
        assert [reply.WhichOneof("kind") for reply in replies] == ["slots", "assets_wanted", "error"]
        error = replies[2].error
        assert (error.id, error.code, error.retry_after_s) == ("waits", pb.CODE_RESOURCE_EXHAUSTED, 10.0)

    def no_space(path: Path, content: bytes) -> int:  # noqa: ARG001
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_space)
    asyncio.run(main())


def _set(**fields: int) -> Callable[[pb.RenderTask], None]:
    def change(task: pb.RenderTask) -> None:
        for name, value in fields.items():
            setattr(task.settings, name, value)

    return change


@pytest.mark.parametrize(
    ("change", "samples"),
    [
        (_set(), 32 * 32 * 13),
        (_set(samples=10), 32 * 32 * 130),
        (lambda task: task.ClearField("columns"), 32 * 32),
        (lambda task: setattr(task.probes, "difference", pb.DIFFERENCE_FORWARD), 32 * 32 * 7),
        (lambda task: setattr(task.probes, "samples", 5), 32 * 32 * 61),
        (lambda task: setattr(task.columns[0], "audit", True), 32 * 32 * 15),
    ],
)
def test_the_samples_of_a_task_are_limited(change: Callable[[pb.RenderTask], None], samples: int) -> None:
    task = sprite_task()
    change(task)
    check_total_samples(task, Limits(total_samples=samples))
    with pytest.raises(LimitExceeded, match=r"^settings\.samples is .* in total, of .* renders of 1024 pixels\)"):
        check_total_samples(task, Limits(total_samples=samples - 1))


def test_a_worker_is_not_serving_before_it_has_rendered_an_image() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "render_server.cli", "serve", "--engine", "fake", "--port", str(port)]
    command += ["--workers", "1", "--fake-service-ms", "2500"]
    seen = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                while health_pb2.HealthCheckResponse.SERVING not in seen:
                    answer = stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=30)
                    seen.append(answer.status)
                    time.sleep(0.05)
            assert process.stdout is not None
            assert "address" in process.stdout.readline()
        finally:
            process.terminate()
    assert seen[0] == health_pb2.HealthCheckResponse.NOT_SERVING
