"""More than ten thousand malformed requests: each is answered properly, memory stays bounded, the next good task works.

Most go to a stream with an engine in this process, some over the wire to a server. The choices are hypothesis's, the
same in each run.
"""

import asyncio
import os
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import zstandard
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from metasim.hashing import content_hash
from metasim.tensors import tensor_to_proto
from metasim.v1 import render_pb2 as pb
from metasim.v1 import tensor_pb2
from support.mutations import Choose, mutate, mutate_bytes
from support.servers import Conversation, Server, engine_processes, server
from support.tasks import ASSETS, sprite_png, sprite_task

from render_server.counters import Counters
from render_server.engines import create_engine
from render_server.limits import Limits
from render_server.processes.job import Job
from render_server.processes.memory import resident_bytes
from render_server.processes.messages import Message, MessageKind
from render_server.processes.process import answer_task
from render_server.processes.process_pool import ProcessPool
from render_server.service.admission import Admission
from render_server.service.assets import AssetCache, AssetRefused
from render_server.service.stream import TaskStream

#: What a client may be told about a request that it should not have made.
PROPER = {
    pb.CODE_INVALID_ARGUMENT,
    pb.CODE_RESOURCE_EXHAUSTED,
    pb.CODE_CANCELLED,
    pb.CODE_DEADLINE_EXCEEDED,
    pb.CODE_UNIMPLEMENTED,
    pb.CODE_ALREADY_EXISTS,
}

#: What the requests may make a process hold beyond what it held before.
ROOM_BYTES = 192 << 20

#: Larger tasks are accepted, and not rendered here.
RENDERED_PIXELS = 64 * 64
RENDERED_COLUMNS = 100

REQUESTS_PER_EXAMPLE = 10

#: What is small until it is decompressed; the gradient of these tasks has 12,288 bytes.
BOMBS = [zstandard.compress(bytes(size)) for size in (12_288, 64 << 20, 12_287)]

Draw = Callable[[Choose[Any]], bytes]


class InlinePool(ProcessPool):
    """Renders in this process, as an engine process would."""

    def __init__(self, engine: str, folder: Path) -> None:
        self.counters = Counters()
        self.count = 1
        self.rendered = 0
        self._engine = create_engine(engine)
        self._folder = folder

    @property
    def wait_s(self) -> float:
        return 1.0

    def submit(self, job: Job) -> None:
        task = pb.RenderTask.FromString(job.body)
        if task.settings.width_px * task.settings.height_px > RENDERED_PIXELS or len(task.columns) > RENDERED_COLUMNS:
            job.fail(pb.CODE_RESOURCE_EXHAUSTED, "too large for this test")
            return
        self.rendered += 1
        frame = answer_task(self._engine, Message(MessageKind.TASK, job.body), self._folder, 1 << 30)
        codes = {
            MessageKind.INVALID: pb.CODE_INVALID_ARGUMENT,
            MessageKind.TOO_LARGE: pb.CODE_RESOURCE_EXHAUSTED,
            MessageKind.UNSUPPORTED: pb.CODE_UNIMPLEMENTED,
        }
        if frame.kind == MessageKind.RESULT:
            job.finish(frame.body)
        else:
            job.fail(codes.get(frame.kind, pb.CODE_INTERNAL), frame.text())


class Worker:
    """A worker without a server."""

    def __init__(self, engine: str, folder: Path) -> None:
        limits = Limits(asset_bytes=1 << 20, cache_bytes=1 << 20, task_timeout_s=60)
        self.pool = InlinePool(engine, folder)
        self.limits = limits
        self.folder = folder
        self.cache = AssetCache(folder, limits)
        self.admission = Admission(limits)
        self.codes: Counter[str] = Counter()
        self.requests = 0
        for name, data in ASSETS.items():
            self.cache.put(name, data)

    async def take(self, requests: list[bytes]) -> None:
        """Sends requests and a good task over a stream, as a client does that knows no rules."""
        stream = TaskStream(self.pool, self.cache, self.limits, self.admission)
        stream.set_slots(len(requests) + 1)
        for data in requests:
            self.requests += 1
            try:
                stream.take(data)
            except (DecodeError, AssetRefused) as error:  # The service ends such a stream with INVALID_ARGUMENT.
                self.codes[type(error).__name__] += 1
        for task_id in stream.unanswered:
            stream.take(pb.RenderRequest(cancel=task_id).SerializeToString())
        assert not stream.unanswered
        for name, data in ASSETS.items():
            self.cache.put(name, data)
        stream.take(pb.RenderRequest(task=sprite_task("the good one")).SerializeToString())
        stream.send_queue.end()
        replies = []
        while (message := await stream.send_queue.get()) is not None:
            replies += pb.RenderReplies.FromString(message).replies
        for reply in replies[:-1]:
            if reply.HasField("error"):
                self.codes[pb.Code.Name(reply.error.code)] += 1
                assert reply.error.code in PROPER, reply.error.message
                assert reply.error.message
                assert "\n" not in reply.error.message
                assert len(reply.error.message) < 2_000
            elif reply.HasField("result"):
                self.codes["result"] += 1
        assert replies[-1].result.id == "the good one", replies[-1]
        stream.abandon()
        assert (self.admission.tasks, self.admission.held_bytes) == (0, 0)


@pytest.fixture(params=["fake", "raster"])
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> Worker:
    return Worker(request.param, tmp_path)


def the_same_every_time(examples: int) -> settings:
    """That many examples. They are not made smaller when one fails: each takes its time."""
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def chooser(data: st.DataObject) -> Choose[Any]:
    """Lets hypothesis choose."""
    return lambda options: options[data.draw(st.integers(0, len(options) - 1))]


def fuzz(worker: Worker, examples: int, draw: Draw) -> None:
    """Sends what `draw` makes of hypothesis's choices."""

    @the_same_every_time(examples)
    @given(st.data())
    def run(data: st.DataObject) -> None:
        choose = chooser(data)
        loop.run_until_complete(worker.take([draw(choose) for _ in range(REQUESTS_PER_EXAMPLE)]))

    loop = asyncio.new_event_loop()
    before = resident_bytes(os.getpid())
    try:
        run()
    finally:
        loop.close()
    assert worker.requests >= examples * REQUESTS_PER_EXAMPLE
    assert resident_bytes(os.getpid()) - before < ROOM_BYTES


def good_task(choose: Choose[Any]) -> pb.RenderTask:
    task = sprite_task(choose(("a", "b", "c", "d")), seed=choose(range(4)), columns=choose((True, False)))
    if task.columns and choose((True, False, False)):
        task.image_gradient.CopyFrom(tensor_to_proto(np.zeros((32, 32, 3), np.float32), compress=choose((True, False))))
    return task


def mutated_task(choose: Choose[Any]) -> bytes:
    task = good_task(choose)
    for _ in range(choose((1, 1, 2, 3, 5))):
        mutate(task, choose)
    return pb.RenderRequest(task=task).SerializeToString()


def mutated_bytes(choose: Choose[Any]) -> bytes:
    data = pb.RenderRequest(task=good_task(choose)).SerializeToString()
    for _ in range(choose((1, 1, 2))):
        data = mutate_bytes(data, choose)
    return data


def gradient(choose: Choose[Any]) -> bytes:
    """A good task with a bad image gradient."""
    task = sprite_task("gradient")
    shape = choose(([32, 32, 3], [32, 32], [], [2**32 - 1] * 3, [32, 32, 3, 1], [0, 32, 3], [3072], [2**31, 2**31, 4]))
    raw = np.full((32, 32, 3), choose((0.0, np.nan, np.inf, -6e4)), choose((np.float32, np.float16))).tobytes()
    bomb = choose(BOMBS)
    data = choose((raw, b"", raw[:-1], zstandard.compress(raw), bomb, bomb[: len(bomb) // 2], raw * 50))
    task.image_gradient.CopyFrom(
        tensor_pb2.Tensor(
            shape=shape, dtype=choose((0, 1, 2, 3, 4, 5, 99)), compression=choose((0, 1, 2, 2, 7)), data=data
        )
    )
    return pb.RenderRequest(task=task).SerializeToString()


def bad_asset(choose: Choose[Any]) -> bytes:
    """An asset that is not what it is called, or not what it should be, or a task that needs it."""
    png = sprite_png(choose(range(4)))
    huge = png[:16] + struct.pack(">II", choose((1, 2**31 - 1, 5000)), choose((0, 2**31 - 1, 5000))) + png[24:]
    data = choose((png, huge, png[: choose(range(1, len(png)))], mutate_bytes(png, choose), b"", bytes(2 << 20)))
    name = choose((content_hash(data), content_hash(data), content_hash(data), "0" * 64, "../" * 20, "/etc/passwd", ""))
    if choose((True, False)):
        return pb.RenderRequest(asset=pb.Asset(hash=name, data=data)).SerializeToString()
    task = sprite_task(choose(("e", "f", "g")), columns=False)
    task.scene.nodes[2].sprite.asset = name
    return pb.RenderRequest(task=task).SerializeToString()


def test_mutated_tasks(worker: Worker) -> None:
    fuzz(worker, 250, mutated_task)
    assert worker.codes["CODE_INVALID_ARGUMENT"] > 500
    assert worker.codes["CODE_RESOURCE_EXHAUSTED"] > 20
    assert worker.codes["result"] > 100


def test_mutated_bytes(worker: Worker) -> None:
    fuzz(worker, 200, mutated_bytes)
    assert worker.codes["DecodeError"] > 200


def test_image_gradients(worker: Worker) -> None:
    fuzz(worker, 50, gradient)
    assert worker.codes["CODE_INVALID_ARGUMENT"] > 200


def test_assets(worker: Worker) -> None:
    fuzz(worker, 50, bad_asset)
    kept = [path.name for path in worker.folder.iterdir()]
    assert all(len(name) == 64 and name in worker.cache for name in kept)
    assert sum(path.stat().st_size for path in worker.folder.iterdir()) == worker.cache.total_bytes
    assert worker.cache.total_bytes <= worker.limits.cache_bytes


@pytest.fixture(params=["fake", "raster"])
def running(request: pytest.FixtureRequest) -> Iterator[Server]:
    options = ("--workers", "1", "--queue", "31", "--max-asset-mib", "1", "--cache-mib", "1")
    with server("--engine", request.param, *options, "--max-pixels", "16384") as started:
        yield started


def test_over_the_wire(running: Server) -> None:
    pids = [running.process.pid, *engine_processes(running.process.pid)]
    before = sum(map(resident_bytes, pids))
    requests = 0
    statuses: set[grpc.StatusCode] = set()

    @the_same_every_time(50)
    @given(st.data())
    def run(data: st.DataObject) -> None:
        nonlocal requests
        choose = chooser(data)
        batch = [choose((mutated_task, mutated_bytes, gradient, bad_asset))(choose) for _ in range(12)]
        requests += len(batch)
        with Conversation(running.address) as talk:
            assert talk.receive().slots.count == 32
            for request in batch:
                talk.send_bytes(request)
            talk.half_close()
            try:
                for reply in talk.replies:
                    if reply.HasField("error"):
                        assert reply.error.code in PROPER, reply.error.message
                    elif reply.HasField("assets_wanted"):
                        talk.call.cancel()  # They never come, and the client goes.
            except grpc.RpcError as error:
                statuses.add(error.code())
        with Conversation(running.address) as talk:
            for name, content in ASSETS.items():
                talk.send(asset=pb.Asset(hash=name, data=content))
            talk.send(task=sprite_task("the good one"))
            answer = talk.answer()
            assert isinstance(answer, pb.RenderResult), answer

    run()
    assert requests >= 600
    ours = {grpc.StatusCode.CANCELLED}  # Where the server ends the stream first there is nothing to cancel.
    assert statuses - ours == {grpc.StatusCode.INVALID_ARGUMENT}
    assert [running.process.pid, *engine_processes(running.process.pid)] == pids, "a process was replaced"
    assert sum(map(resident_bytes, pids)) - before < ROOM_BYTES
    assert running.stop() == 0
