"""Render workers that only take their time: many of them in one process, for figures that this machine cannot hold.

Each speaks the protocol of a real one at a port of its own and has one process, which renders nothing: it works through
its tasks one after the other, so many seconds each, by the clock. A moment that the event loop comes late is not
added to what follows, as it would not be if the worker had a machine of its own.

`python -m trainer.simulated_workers WORKERS SERVICE_MS SLOW SLOWNESS` serves until standard input ends: the first SLOW
workers take SLOWNESS times as long.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator

import grpc
from metasim.v1 import render_pb2 as pb

_SERVICE = pb.DESCRIPTOR.services_by_name["Renderer"].full_name
#: Tasks that a worker wants beyond the one that it works on, as real ones do.
_QUEUE = 2
#: Bytes of a result, about those of a 64 x 64 image.
_RESULT_BYTES = 8192
_PIXELS = os.urandom(_RESULT_BYTES)


class _Worker:
    """One stream of one worker."""

    def __init__(self, service_s: float) -> None:
        self._service_s = service_s
        self._waiting: deque[str] = deque()
        self._free_s = 0.0
        self._loop = asyncio.get_running_loop()
        self.replies: asyncio.Queue[bytes] = asyncio.Queue()
        self.replies.put_nowait(pb.RenderReply(slots=pb.Slots(count=1 + _QUEUE)).SerializeToString())

    def take(self, data: bytes) -> None:
        """Acts on a request."""
        request = pb.RenderRequest.FromString(data)
        if request.HasField("task"):
            self._waiting.append(request.task.id)
            if len(self._waiting) == 1:
                self._begin(self._loop.time())
        elif request.cancel in list(self._waiting)[1:]:  # The first one has begun.
            self._waiting.remove(request.cancel)
            error = pb.TaskError(id=request.cancel, code=pb.CODE_CANCELLED, message="cancelled before it began")
            self.replies.put_nowait(pb.RenderReply(error=error).SerializeToString())

    def _begin(self, now_s: float) -> None:
        self._free_s = now_s + self._service_s
        self._loop.call_at(self._free_s, self._finish)

    def _finish(self) -> None:
        result = pb.RenderResult(id=self._waiting.popleft(), timing=pb.Timing(render_s=self._service_s, renders=1))
        result.layers.add(output=pb.OUTPUT_IMAGE_U8).tensor.data = _PIXELS
        self.replies.put_nowait(pb.RenderReply(result=result).SerializeToString())
        if self._waiting:
            self._begin(self._free_s)


def _handler(service_s: float) -> grpc.GenericRpcHandler:
    async def render(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
        worker = _Worker(service_s)

        async def receive() -> None:
            async for data in requests:
                worker.take(data)

        receiving = asyncio.create_task(receive())
        try:
            while True:
                await context.write(await worker.replies.get())
        finally:
            receiving.cancel()

    return grpc.method_handlers_generic_handler(_SERVICE, {"Render": grpc.stream_stream_rpc_method_handler(render)})


async def _serve(workers: int, service_s: float, slow: int, slowness: float) -> None:
    addresses, servers = [], []
    for count, factor in ((slow, slowness), (workers - slow, 1.0)):
        if not count:
            continue
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((_handler(service_s * factor),))
        addresses += [f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}" for _ in range(count)]
        await server.start()
        servers.append(server)
    sys.stdout.write(json.dumps({"addresses": addresses}) + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    for server in servers:
        await server.stop(None)


@contextlib.contextmanager
def simulated_workers(workers: int, service_s: float, *, slow: int = 0, slowness: float = 1.0) -> Iterator[str]:
    """Starts them in a process of their own; the endpoint that names them all.

    Args:
        workers: how many.
        service_s: time that a task takes.
        slow: how many of them are slow.
        slowness: how many times as long those take.
    """
    command = [sys.executable, "-m", "trainer.simulated_workers"]
    command += [str(workers), str(1000 * service_s), str(slow), str(slowness)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the simulated workers have no standard streams")
        yield ",".join(json.loads(process.stdout.readline())["addresses"])
        process.stdin.close()


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    _workers, _service_ms, _slow, _slowness = sys.argv[1:]
    asyncio.run(_serve(int(_workers), float(_service_ms) / 1000, int(_slow), float(_slowness)))
