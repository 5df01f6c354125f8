"""Render workers that only wait: hundreds of gRPC servers in one process, for figures that this machine cannot hold.

Each listens on a port of its own and speaks the protocol of a real worker with one process. It takes a fixed time for a
task by the clock: a delay of the event loop is not added to the tasks that follow, as it would not be if the worker had
a machine of its own.

`python -m trainer.bench.simulated_workers WORKERS SERVICE_MS SLOW SLOWNESS` serves until standard input ends: the first
SLOW workers take SLOWNESS times as long.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator

import grpc
from metasim.v1 import render_pb2 as pb

#: Tasks that a worker accepts: the one that it works on and those that wait, as real workers do.
WINDOW = 3
#: Size of the image of a result, about that of 64 x 64 pixels.
IMAGE_BYTES = 8192
_IMAGE = os.urandom(IMAGE_BYTES)
#: Options of the servers. Clients ping connections that are silent, as real workers permit.
SERVER_OPTIONS = [("grpc.so_reuseport", 0), ("grpc.http2.min_ping_interval_without_data_ms", 5_000)]


class _Stream:
    """One stream of tasks, which are answered one after the other."""

    def __init__(self, service_s: float) -> None:
        self._service_s = service_s
        self._loop = asyncio.get_running_loop()
        self._tasks: deque[str] = deque()
        self._free_s = 0.0
        self._replies: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(self, context: grpc.aio.ServicerContext) -> None:
        """Answer tasks until the client closes the stream."""
        self._reply(pb.RenderReply(slots=pb.Slots(count=WINDOW, processes=1)))
        writing = asyncio.create_task(self._write(context))
        try:
            while (message := await context.read()) is not grpc.aio.EOF:
                for request in message.requests:
                    self._take(request)
        finally:
            writing.cancel()

    def _take(self, request: pb.RenderRequest) -> None:
        if request.HasField("task"):
            self._tasks.append(request.task.id)
            if len(self._tasks) == 1:
                self._start(self._loop.time())
        elif request.cancel in list(self._tasks)[1:]:  # The first one has begun.
            self._tasks.remove(request.cancel)
            error = pb.TaskError(id=request.cancel, code=pb.CODE_CANCELLED, message="cancelled before it began")
            self._reply(pb.RenderReply(error=error))

    def _start(self, now_s: float) -> None:
        self._free_s = now_s + self._service_s
        self._loop.call_at(self._free_s, self._finish)

    def _finish(self) -> None:
        result = pb.RenderResult(id=self._tasks.popleft(), timing=pb.Timing(render_s=self._service_s, renders=1))
        result.layers.add(output=pb.OUTPUT_IMAGE_U8).tensor.data = _IMAGE
        self._reply(pb.RenderReply(result=result))
        if self._tasks:
            self._start(self._free_s)

    def _reply(self, reply: pb.RenderReply) -> None:
        self._replies.put_nowait(pb.RenderReplies(replies=[reply]).SerializeToString())

    async def _write(self, context: grpc.aio.ServicerContext) -> None:
        while True:
            await context.write(await self._replies.get())


async def _start_worker(service_s: float) -> tuple[grpc.aio.Server, str]:
    async def render(_: object, context: grpc.aio.ServicerContext) -> None:
        await _Stream(service_s).serve(context)

    handler = grpc.stream_stream_rpc_method_handler(render, request_deserializer=pb.RenderRequests.FromString)
    server = grpc.aio.server(options=SERVER_OPTIONS)
    service = pb.DESCRIPTOR.services_by_name["Renderer"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Render": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"


async def _serve(workers: int, service_s: float, slow: int, slowness: float) -> None:
    started = [await _start_worker(service_s * (slowness if n < slow else 1.0)) for n in range(workers)]
    sys.stdout.write(json.dumps({"addresses": [address for _, address in started]}) + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    os._exit(0)  # Hundreds of servers take seconds to stop.


@contextlib.contextmanager
def simulated_workers(workers: int, service_s: float, *, slow: int = 0, slowness: float = 1.0) -> Iterator[str]:
    """Start the workers in a process of their own and return the endpoint that names them all.

    Args:
        workers: number of workers.
        service_s: duration of a task.
        slow: number of slow workers among them.
        slowness: how many times longer a slow worker takes.
    """
    command = [sys.executable, "-m", "trainer.bench.simulated_workers"]
    command += [str(workers), str(1000 * service_s), str(slow), str(slowness)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the simulated workers have no standard streams")
        yield ",".join(json.loads(process.stdout.readline())["addresses"])
        process.stdin.close()


if __name__ == "__main__":
    _workers, _service_ms, _slow, _slowness = sys.argv[1:]
    asyncio.run(_serve(int(_workers), float(_service_ms) / 1000, int(_slow), float(_slowness)))
