"""Render workers that answer at once, all with the same result: for figures of what a client can take.

`python -m trainer.bench.instant_workers WORKERS` reads two serialized RenderResults from standard input, each after its
length, and serves until standard input ends: the first with layers as tensors, the second with image files for tasks
that ask for these.
"""

import asyncio
import contextlib
import json
import os
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Iterator

import grpc
from metasim.batches import take_batch
from metasim.v1 import render_pb2 as pb

from trainer.bench.simulated_workers import SERVER_OPTIONS

#: Tasks that a worker accepts, and that it says it renders at the same time.
SLOTS, PROCESSES = 96, 32
_LENGTH = struct.Struct(">Q")


def _with_id(task_id: str, body: bytes) -> bytes:
    """Return a serialized RenderReply: parts of a message may follow each other."""
    head = pb.RenderResult(id=task_id).SerializeToString()
    field = pb.RenderReply.DESCRIPTOR.fields_by_name["result"].number
    return bytes([field << 3 | 2]) + _varint(len(head) + len(body)) + head + body


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


async def _start(tensors: bytes, files: bytes) -> tuple[grpc.aio.Server, str]:
    async def render(_: object, context: grpc.aio.ServicerContext) -> None:
        slots = pb.RenderReply(slots=pb.Slots(count=SLOTS, processes=PROCESSES))
        await context.write(pb.RenderReplies(replies=[slots]).SerializeToString())
        while (message := await context.read()) is not grpc.aio.EOF:
            tasks = [request.task for request in message.requests if request.HasField("task")]

            replies = deque(_with_id(task.id, files if task.encodings else tensors) for task in tasks)
            while replies:
                await context.write(take_batch(replies)[0])

    async def describe(*_: object) -> pb.DescribeResponse:
        return pb.DescribeResponse(
            version="0",
            engine="instant",
            engine_version="1",
            device="cpu",
            slots=SLOTS,
            processes=PROCESSES,
            image_formats=[pb.IMAGE_FORMAT_PNG],
        )

    server = grpc.aio.server(options=SERVER_OPTIONS)
    service = pb.DESCRIPTOR.services_by_name["Renderer"].full_name
    handlers = {
        "Render": grpc.stream_stream_rpc_method_handler(render, request_deserializer=pb.RenderRequests.FromString),
        "Describe": grpc.unary_unary_rpc_method_handler(
            describe, pb.DescribeRequest.FromString, pb.DescribeResponse.SerializeToString
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"


async def _serve(workers: int, tensors: bytes, files: bytes) -> None:
    started = [await _start(tensors, files) for _ in range(workers)]
    sys.stdout.write(json.dumps([address for _, address in started]) + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    os._exit(0)


@contextlib.contextmanager
def instant_workers(workers: int, tensors: pb.RenderResult, files: pb.RenderResult) -> Iterator[str]:
    """Start the workers in a process of their own and return the endpoint that names them all.

    Args:
        tensors: the answer, without an id.
        files: the answer to tasks that ask for image files.
    """
    command = [sys.executable, "-m", "trainer.bench.instant_workers", str(workers)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the workers have no standard streams")
        for result in (tensors, files):
            data = result.SerializeToString()
            process.stdin.write(_LENGTH.pack(len(data)) + data)
        process.stdin.flush()
        yield ",".join(json.loads(process.stdout.readline()))
        process.stdin.close()


def _message() -> bytes:
    [length] = _LENGTH.unpack(sys.stdin.buffer.read(_LENGTH.size))
    return sys.stdin.buffer.read(length)


if __name__ == "__main__":
    _tensors, _files = _message(), _message()
    asyncio.run(_serve(int(sys.argv[1]), _tensors, _files))
