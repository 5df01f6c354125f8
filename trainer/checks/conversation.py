"""One stream to a worker that sends exactly what it is told to, for checks of the wire."""

import queue
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import grpc
from metasim.batches import take_batch
from metasim.v1 import render_pb2 as pb

from trainer.pool.security import Security

_RENDER = f"/{pb.DESCRIPTOR.services_by_name['Renderer'].full_name}/Render"

#: Largest message, either way.
_MESSAGE_BYTES = 256 << 20


class Broken(Exception):  # noqa: N818
    """The worker breaks a rule. `str()` says how."""


def open_channel(target: str, server_name: str, security: Security) -> grpc.Channel:
    """Return a channel to a worker.

    Args:
        target: gRPC target.
        server_name: name that the worker's certificate must be valid for.
    """
    options: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", _MESSAGE_BYTES),
        ("grpc.max_send_message_length", _MESSAGE_BYTES),
        ("grpc.enable_http_proxy", 0),
    ]
    credentials = security.credentials()
    if credentials is None:
        return grpc.insecure_channel(target, options)
    return grpc.secure_channel(target, credentials, [*options, ("grpc.ssl_target_name_override", server_name)])


class Conversation:
    """An open Render stream. A context manager.

    Args:
        timeout_s: how long the whole conversation may take.
    """

    def __init__(self, channel: grpc.Channel, security: Security, timeout_s: float) -> None:
        self._requests: queue.Queue[bytes | None] = queue.Queue()
        method = channel.stream_stream(_RENDER, response_deserializer=pb.RenderReplies.FromString)
        messages = iter(self._requests.get, None)
        self._call: Any = method(messages, timeout=timeout_s, metadata=security.metadata)
        self._replies: Iterator[pb.RenderReply] = (reply for message in self._call for reply in message.replies)

    def send(self, *requests: pb.RenderRequest) -> None:
        """Send requests, together where they may travel together."""
        waiting = deque(request.SerializeToString() for request in requests)
        while waiting:
            self.send_bytes(take_batch(waiting)[0])

    def send_bytes(self, message: bytes) -> None:
        """Send any bytes in the place of a message."""
        self._requests.put(message)

    def task(self, *tasks: pb.RenderTask) -> None:
        """Send tasks."""
        self.send(*(pb.RenderRequest(task=task) for task in tasks))

    def cancel(self, *ids: str) -> None:
        """Cancel tasks."""
        self.send(*(pb.RenderRequest(cancel=task_id) for task_id in ids))

    def asset(self, name: str, data: bytes) -> None:
        """Send an asset."""
        self.send(pb.RenderRequest(asset=pb.Asset(hash=name, data=data)))

    def half_close(self) -> None:
        """Close the client's side."""
        self._requests.put(None)

    def reply(self) -> pb.RenderReply:
        """Return the next reply.

        Raises:
            Broken: the stream ends instead.
        """
        try:
            return next(self._replies)
        except StopIteration:
            raise Broken("the stream ended although a reply was due") from None
        except grpc.RpcError as error:
            raise Broken(f"the stream ended with {error.code().name}: {error.details()}") from error

    def slots(self) -> pb.Slots:
        """Return the first reply, which must be the slots."""
        reply = self.reply()
        if not reply.HasField("slots"):
            raise Broken(f"the first reply is {reply.WhichOneof('kind')}; it must be slots")
        return reply.slots

    def until(self, kind: str) -> Any:
        """Return the content of the next reply of a kind; skip slots."""
        reply = self.reply()
        while reply.HasField("slots") and kind != "slots":
            reply = self.reply()
        found = reply.WhichOneof("kind")
        if found != kind:
            detail = f": {reply.error.message}" if found == "error" else ""
            raise Broken(f"the reply is {found}{detail}; it must be {kind}")
        return getattr(reply, kind)

    def answer(self) -> pb.RenderResult | pb.TaskError:
        """Return the next result or error; skip other replies."""
        while True:
            reply = self.reply()
            if reply.HasField("result"):
                return reply.result
            if reply.HasField("error"):
                return reply.error

    def answers(self, count: int) -> dict[str, pb.RenderResult | pb.TaskError]:
        """Return the next answers by their ids.

        Raises:
            Broken: an id is answered twice.
        """
        found: dict[str, pb.RenderResult | pb.TaskError] = {}
        for _ in range(count):
            answer = self.answer()
            if answer.id in found:
                raise Broken(f"the id {answer.id!r} is answered twice")
            found[answer.id] = answer
        return found

    def result(self) -> pb.RenderResult:
        """Return the next answer, which must be a result."""
        answer = self.answer()
        if isinstance(answer, pb.TaskError):
            raise Broken(f"task {answer.id!r} failed with {pb.Code.Name(answer.code)}: {answer.message}")
        return answer

    def error(self, *codes: "pb.Code.ValueType") -> pb.TaskError:
        """Return the next answer, which must be an error with one of the codes, of one line."""
        answer = self.answer()
        allowed = " or ".join(pb.Code.Name(code) for code in codes)
        if isinstance(answer, pb.RenderResult):
            raise Broken(f"task {answer.id!r} has a result; it must fail with {allowed}")
        if answer.code not in codes:
            raise Broken(f"the error is {pb.Code.Name(answer.code)} ({answer.message}); it must be {allowed}")
        if not answer.message or "\n" in answer.message:
            raise Broken(f"the message is {answer.message!r}; it must be one line")
        return answer

    def status(self) -> grpc.StatusCode:
        """Read to the end of the stream and return its status."""
        try:
            for _ in self._replies:
                pass
        except grpc.RpcError:
            pass
        return self._call.code()

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.half_close()
        self._call.cancel()
