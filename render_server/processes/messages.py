"""Messages between the front and its engine processes: framed bytes on a socket pair."""

import enum
import math
import socket
import struct
from dataclasses import dataclass

_HEADER = struct.Struct("<BQ5dIQ")


class MessageKind(enum.IntEnum):
    """The kind of a message. `body` is one line of text unless stated otherwise."""

    READY = 0  # Process: the engine is warm; `body` is a serialized DescribeResponse.
    TASK = 1  # Front: `body` is a serialized RenderTask.
    RESULT = 2  # Process: `body` is a serialized RenderReply.
    INVALID = 3  # Process: the task is malformed.
    FAILED = 4  # Process: the renderer failed.
    TOO_LARGE = 5  # Process: the task exceeds this worker's limits.
    UNUSABLE = 6  # Process, instead of READY: this machine cannot run the engine.
    CANCEL = 7  # Front: the task of that number is no longer wanted; without effect once it has begun.
    SKIPPED = 8  # Process: the task was cancelled, or its deadline passed, before it began. No body.
    UNSUPPORTED = 9  # Process: this engine cannot draw the task; `features` says what it lacks.
    NO_SPACE = 10  # Process: no space is left for temporary files; it may work later.


@dataclass(frozen=True)
class Message:
    """One message between the front and a process.

    Attributes:
        kind: what the message says.
        body: its content.
        number: with TASK: counts the tasks of the process. With CANCEL: number of the task. With UNSUPPORTED: bit f is
            set if the engine lacks the `metasim.v1.Feature` f.
        queue_s: with TASK and RESULT: how long the task waited at the front.
        deadline_s: with TASK: when it must have begun, by the machine's monotonic clock.
        build_s, render_s, encode_s: with RESULT: durations of the stages.
        renders: with RESULT: images rendered for the task.
    """

    kind: MessageKind
    body: bytes = b""
    number: int = 0
    queue_s: float = 0.0
    deadline_s: float = math.inf
    build_s: float = 0.0
    render_s: float = 0.0
    encode_s: float = 0.0
    renders: int = 0

    def header(self) -> bytes:
        """Return the bytes that precede `body` on the socket."""
        times = self.queue_s, self.deadline_s, self.build_s, self.render_s, self.encode_s
        return _HEADER.pack(self.kind, self.number, *times, self.renders, len(self.body))

    def text(self) -> str:
        """Return `body` as text."""
        return self.body.decode("utf-8", "replace")


def send(connection: socket.socket, message: Message) -> None:
    """Write a message to a blocking socket."""
    buffers = [message.header(), message.body]
    sent = connection.sendmsg(buffers)
    rest = memoryview(b"".join(buffers))[sent:] if sent < _HEADER.size + len(message.body) else b""
    if rest:
        connection.sendall(rest)


class MessageSplitter:
    """Splits the bytes that arrive from a socket into messages."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Take the next bytes and return the messages that they complete."""
        self._rest += data
        messages, at = [], 0
        with memoryview(self._rest) as view:
            while len(view) - at >= _HEADER.size:
                kind, *fields, length = _HEADER.unpack_from(view, at)
                begin = at + _HEADER.size
                if len(view) - begin < length:
                    break
                at = begin + length
                messages.append(Message(MessageKind(kind), bytes(view[begin:at]), *fields))
        del self._rest[:at]
        return messages
