"""Render workers that only take their time: hundreds in one process, for figures that this machine cannot hold.

Each listens at a port of its own and speaks the protocol of a real one. It has one process, which renders nothing: it
works through its tasks one after the other, so many seconds each, by the clock. A moment that the event loop comes late
is not added to what follows, as it would not be if the worker had a machine of its own.

What gRPC's server costs, 0.2 ms a task, would be more than the client's share, so this is the little of HTTP/2 that one
stream of one client needs (RFC 9113): for measurements between processes of one machine, and nothing else.

`python -m trainer.bench.simulated_workers WORKERS SERVICE_MS SLOW SLOWNESS` serves until standard input ends: the first
SLOW workers take SLOWNESS times as long.
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

from metasim.v1 import render_pb2 as pb

#: Tasks that a worker wants beyond the one that it works on, as real ones do.
_QUEUE = 2
#: Bytes of a result, about those of a 64 x 64 image. Small enough for one frame.
_PIXELS = os.urandom(8192)

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 4, 6, 8
_ACK, _END_HEADERS, _PADDED = 1, 4, 8
_INITIAL_WINDOW_SIZE = 4
_WINDOW = 65_535
#: ":status: 200", "content-type: application/grpc", as HPACK (RFC 7541) from the static table.
_RESPONSE = b"\x88\x0f\x10\x10application/grpc"


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class _Worker(asyncio.Protocol):
    """One connection to a worker, with one stream of tasks."""

    def __init__(self, service_s: float) -> None:
        self._service_s = service_s
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._messages = bytearray()
        self._stream = 0
        #: What the client lets us send: on the connection, and on a stream.
        self._windows = {0: _WINDOW, 1: _WINDOW}
        self._unsent: deque[bytes] = deque()
        self._tasks: deque[str] = deque()
        self._free_s = 0.0
        self._begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        ours = struct.pack(">HI", _INITIAL_WINDOW_SIZE, (1 << 31) - 1)  # The client may send whatever it likes.
        everything = struct.pack(">I", (1 << 31) - 1 - _WINDOW)
        self._transport.write(_frame(_SETTINGS, 0, 0, ours) + _frame(_WINDOW_UPDATE, 0, 0, everything))

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._received += data
        if not self._begun:
            if len(self._received) < len(_PREFACE):
                return
            del self._received[: len(_PREFACE)]
            self._begun = True
        while len(self._received) >= 9:
            size = int.from_bytes(self._received[:3], "big")
            if len(self._received) < 9 + size:
                break
            kind, flags, stream = struct.unpack_from(">BBI", self._received, 3)
            payload = bytes(self._received[9 : 9 + size])
            del self._received[: 9 + size]
            self._on_frame(kind, flags, stream, payload)

    def _on_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            if flags & _PADDED:
                payload = payload[1 : len(payload) - payload[0]]
            self._messages += payload
            while len(self._messages) >= 5 and len(self._messages) >= (size := self._next_size()):
                message = pb.RenderRequests.FromString(bytes(self._messages[5:size]))
                del self._messages[:size]
                for request in message.requests:
                    self._take(request)
        elif kind == _HEADERS:
            self._stream = stream
            self._transport.write(_frame(_HEADERS, _END_HEADERS, stream, _RESPONSE))
            self._reply(pb.RenderReply(slots=pb.Slots(count=1 + _QUEUE)))
        elif kind == _WINDOW_UPDATE:
            self._windows[min(stream, 1)] += int.from_bytes(payload, "big")
            self._flush()
        elif kind == _PING and not flags & _ACK:
            self._transport.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _SETTINGS and not flags & _ACK:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == _INITIAL_WINDOW_SIZE:
                    self._windows[1] += value - _WINDOW
            self._transport.write(_frame(_SETTINGS, _ACK, 0))

    def _next_size(self) -> int:
        """Bytes of the next gRPC message, with the five before it."""
        return 5 + int.from_bytes(self._messages[1:5], "big")

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
        result.layers.add(output=pb.OUTPUT_IMAGE_U8).tensor.data = _PIXELS
        self._reply(pb.RenderReply(result=result))
        if self._tasks:
            self._start(self._free_s)

    def _reply(self, reply: pb.RenderReply) -> None:
        data = pb.RenderReplies(replies=[reply]).SerializeToString()
        self._unsent.append(b"\0" + struct.pack(">I", len(data)) + data)
        self._flush()

    def _flush(self) -> None:
        while self._unsent and len(self._unsent[0]) <= min(self._windows.values()):
            message = self._unsent.popleft()
            for window in self._windows:
                self._windows[window] -= len(message)
            self._transport.write(_frame(_DATA, 0, self._stream, message))


async def _serve(workers: int, service_s: float, slow: int, slowness: float) -> None:
    loop = asyncio.get_running_loop()
    addresses = []
    for number in range(workers):
        own_s = service_s * (slowness if number < slow else 1.0)
        server = await loop.create_server(lambda own_s=own_s: _Worker(own_s), "127.0.0.1", 0)  # type: ignore[misc]
        addresses.append("{}:{}".format(*server.sockets[0].getsockname()))
    sys.stdout.write(json.dumps({"addresses": addresses}) + "\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.buffer.read)


@contextlib.contextmanager
def simulated_workers(workers: int, service_s: float, *, slow: int = 0, slowness: float = 1.0) -> Iterator[str]:
    """Starts them in a process of their own; the endpoint that names them all.

    Args:
        workers: how many.
        service_s: time that a task takes.
        slow: how many of them are slow.
        slowness: how many times as long those take.
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
