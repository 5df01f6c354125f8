"""What travels between the front and its engine processes: framed bytes on a socket pair."""

import asyncio
import enum
import socket
import struct
from dataclasses import dataclass

_HEADER = struct.Struct("<BdIQ")


class Kind(enum.IntEnum):
    """What a frame says."""

    READY = 0  # Process: the engine is warm; `body` is a serialized DescribeResponse.
    TASK = 1  # Front: a serialized RenderTask.
    RESULT = 2  # Process: a serialized RenderReply.
    INVALID = 3  # Process: the task is wrong; `body` is the error's line.
    FAILED = 4  # Process: the renderer broke down; `body` is the error's line.
    TOO_LARGE = 5  # Process: the reply exceeds the message limit; `body` is the error's line.
    UNUSABLE = 6  # Process, instead of READY: this machine cannot run the engine; `body` is the error's line.


@dataclass(frozen=True)
class Frame:
    """One message between the front and a process.

    Attributes:
        kind: what it says.
        body: its content.
        queue_s: with TASK: how long the task waited at the front.
        renders: with RESULT: images rendered for the task.
    """

    kind: Kind
    body: bytes = b""
    queue_s: float = 0.0
    renders: int = 0

    def header(self) -> bytes:
        """What precedes `body` on the socket."""
        return _HEADER.pack(self.kind, self.queue_s, self.renders, len(self.body))

    def text(self) -> str:
        """`body` of the kinds that carry an error's line."""
        return self.body.decode("utf-8", "replace")


def send(connection: socket.socket, frame: Frame) -> None:
    """Writes a frame to a blocking socket."""
    buffers = [frame.header(), frame.body]
    sent = connection.sendmsg(buffers)
    rest = memoryview(b"".join(buffers))[sent:] if sent < _HEADER.size + len(frame.body) else b""
    if rest:
        connection.sendall(rest)


def receive(connection: socket.socket) -> Frame | None:
    """Reads a frame from a blocking socket; None once the other side has gone."""
    header = _receive_exactly(connection, _HEADER.size)
    if header is None:
        return None
    kind, queue_s, renders, length = _HEADER.unpack(header)
    body = _receive_exactly(connection, length)
    return None if body is None else Frame(Kind(kind), bytes(body), queue_s, renders)


async def read(reader: asyncio.StreamReader) -> Frame:
    """Reads a frame at the front.

    Raises:
        asyncio.IncompleteReadError: the process has gone.
    """
    kind, queue_s, renders, length = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    return Frame(Kind(kind), await reader.readexactly(length), queue_s, renders)


def _receive_exactly(connection: socket.socket, length: int) -> bytearray | None:
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = connection.recv_into(view)
        if not count:
            return None
        view = view[count:]
    return data
