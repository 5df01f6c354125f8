"""What travels between the front and its engine processes: framed bytes on a socket pair."""

import enum
import math
import socket
import struct
from dataclasses import dataclass

_HEADER = struct.Struct("<BQ5dIQ")


class Kind(enum.IntEnum):
    """What a frame says."""

    READY = 0  # Process: the engine is warm; `body` is a serialized DescribeResponse.
    TASK = 1  # Front: a serialized RenderTask.
    RESULT = 2  # Process: a serialized RenderReply.
    INVALID = 3  # Process: the task is wrong; `body` is the error's line.
    FAILED = 4  # Process: the renderer broke down; `body` is the error's line.
    TOO_LARGE = 5  # Process: the reply exceeds the message limit; `body` is the error's line.
    UNUSABLE = 6  # Process, instead of READY: this machine cannot run the engine; `body` is the error's line.
    CANCEL = 7  # Front: the task of that number is not wanted any more; without effect once it has begun.
    SKIPPED = 8  # Process: the task was cancelled, or its deadline passed, before it began.


@dataclass(frozen=True)
class Frame:
    """One message between the front and a process.

    Attributes:
        kind: what it says.
        body: its content.
        number: with TASK: counts the tasks of the process; with CANCEL: the number of the task.
        queue_s: with TASK and RESULT: how long the task waited at the front.
        deadline_s: with TASK: when it must have begun, by the machine's monotonic clock.
        build_s, render_s, encode_s: with RESULT: where the time went.
        renders: with RESULT: images rendered for the task.
    """

    kind: Kind
    body: bytes = b""
    number: int = 0
    queue_s: float = 0.0
    deadline_s: float = math.inf
    build_s: float = 0.0
    render_s: float = 0.0
    encode_s: float = 0.0
    renders: int = 0

    def header(self) -> bytes:
        """What precedes `body` on the socket."""
        times = self.queue_s, self.deadline_s, self.build_s, self.render_s, self.encode_s
        return _HEADER.pack(self.kind, self.number, *times, self.renders, len(self.body))

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


class Splitter:
    """Finds the frames in what comes from a socket, piece by piece."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete with these bytes."""
        self._rest += data
        frames, at = [], 0
        with memoryview(self._rest) as view:
            while len(view) - at >= _HEADER.size:
                kind, *fields, length = _HEADER.unpack_from(view, at)
                begin = at + _HEADER.size
                if len(view) - begin < length:
                    break
                at = begin + length
                frames.append(Frame(Kind(kind), bytes(view[begin:at]), *fields))
        del self._rest[:at]
        return frames
