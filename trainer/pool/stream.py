"""One worker: a channel and a stream of tasks, opened again whenever they break."""

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import grpc
from metasim.v1 import render_pb2 as pb

from trainer.errors import RenderError
from trainer.pool.assets import AssetSource
from trainer.pool.settings import PoolSettings

_METHOD = f"/{pb.DESCRIPTOR.services_by_name['Renderer'].full_name}/Render"

#: Pauses between attempts to connect: doubled from the first to the last.
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 2.0


@dataclass(eq=False)
class Ticket:
    """A task that the caller waits for.

    Attributes:
        id: `RenderTask.id`.
        request: the serialized RenderRequest.
        future: what the caller holds.
        attempts: how often it has failed or been lost.
        avoid: addresses of workers that failed at it.
        registry: the tickets without an outcome by id; an outcome takes this one out.
        sent_s: when it was sent last, in the event loop's time.
        abandoned: nobody waits for the answer any more.
    """

    id: str
    request: bytes
    future: "Future[pb.RenderResult]"
    registry: "dict[str, Ticket]"
    attempts: int = 0
    avoid: set[str] = field(default_factory=set)
    sent_s: float = 0.0
    abandoned: bool = False

    def begin(self) -> bool:
        """Marks the task as sent; False if its caller has cancelled it."""
        if self.future.running() or self.future.set_running_or_notify_cancel():
            return True
        self.registry.pop(self.id, None)
        return False

    def succeed(self, result: pb.RenderResult) -> None:
        """Gives the caller the result, unless nobody waits."""
        self.registry.pop(self.id, None)  # First, so that the caller may use the id again.
        if not self.abandoned:
            self.future.set_result(result)

    def fail(self, error: RenderError) -> None:
        """Raises the error at the caller, unless nobody waits."""
        self.registry.pop(self.id, None)
        if not self.abandoned:
            self.future.set_exception(error)

    def abandon(self) -> None:
        """Nobody waits for the outcome."""
        self.registry.pop(self.id, None)
        self.abandoned = True
        self.future.cancel()


class Owner(Protocol):
    """Who hears what becomes of the tasks of a stream. All calls come from the event loop's thread."""

    def on_credit(self) -> None:
        """The worker takes more tasks."""

    def on_result(self, ticket: Ticket, result: pb.RenderResult) -> None:
        """The task is rendered."""

    def on_error(self, ticket: Ticket, error: pb.TaskError, address: str) -> None:
        """The worker could not render it."""

    def on_lost(self, tickets: list[Ticket], address: str, reason: str) -> None:
        """The worker went away with these tasks."""


class WorkerStream:
    """Keeps a stream to one address open.

    Args:
        address: gRPC target.
        owner: hears of answers and losses.
        assets: answers the worker's requests for assets.
        settings: times and sizes.

    Attributes:
        slots: tasks that the worker wants to hold; 0 while there is no connection.
        outstanding: unanswered tasks by id, the one sent first coming first.
        connected: whether the worker has said something since the stream was opened.
        problem: why the worker takes no tasks.
    """

    def __init__(self, address: str, owner: Owner, assets: AssetSource, settings: PoolSettings) -> None:
        self.address = address
        self.slots = 0
        self.outstanding: dict[str, Ticket] = {}
        self.connected = False
        self.problem = "not tried yet"
        self._owner = owner
        self._assets = assets
        self._settings = settings
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._call: grpc.aio.StreamStreamCall | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._runner = asyncio.create_task(self._run())

    @property
    def load(self) -> float:
        """Unanswered tasks per slot; infinite when the worker takes none."""
        return len(self.outstanding) / self.slots if self.slots > 0 else float("inf")

    def send(self, ticket: Ticket) -> None:
        """Gives the worker a task."""
        ticket.sent_s = asyncio.get_running_loop().time()
        self.outstanding[ticket.id] = ticket
        self._outbox.put_nowait(ticket.request)

    def cancel(self, ticket: Ticket) -> None:
        """Tells the worker that the answer is not wanted. It still comes, and gives the slot back."""
        self._outbox.put_nowait(pb.RenderRequest(cancel=ticket.id).SerializeToString())

    def reset(self, reason: str) -> None:
        """Gives the connection up and opens another."""
        self.problem = reason
        if self._call is not None:
            self._call.cancel()

    async def close(self) -> None:
        """Ends the stream. Unanswered tasks stay unanswered."""
        self._runner.cancel()
        await asyncio.gather(self._runner, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._converse()
                self.problem = "the worker ended the stream"
            except grpc.aio.AioRpcError as error:
                self.problem = error.details() or str(error.code())
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Else it was the call that was cancelled, by `reset`.
            self._lose()
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, _LAST_PAUSE_S)

    async def _converse(self) -> None:
        options = [
            ("grpc.max_receive_message_length", self._settings.message_bytes),
            ("grpc.max_send_message_length", self._settings.message_bytes),
            # A worker that vanished without a word (its machine lost power) is noticed by its silence.
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.http2.max_pings_without_data", 0),
            # Else a new channel waits out the back-off of its predecessor.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_http_proxy", 0),
        ]
        async with grpc.aio.insecure_channel(self.address, options=options) as channel:
            self._outbox = asyncio.Queue()
            self._call = _open_stream(channel)
            sender = asyncio.create_task(_send(self._call, self._outbox))
            try:
                async for reply in self._call:
                    self._pause_s = _FIRST_PAUSE_S
                    self.connected = True
                    self._take(reply)
            finally:
                self._call = None
                self.connected = False
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)

    def _take(self, reply: pb.RenderReply) -> None:
        kind = reply.WhichOneof("kind")
        if kind == "result":
            ticket = self.outstanding.pop(reply.result.id, None)
            if ticket is not None:
                self._owner.on_result(ticket, reply.result)
        elif kind == "error":
            ticket = self.outstanding.pop(reply.error.id, None)
            if ticket is not None:
                self._owner.on_error(ticket, reply.error, self.address)
        elif kind == "slots":
            self.slots = reply.slots.count
            self.problem = "" if self.slots else "the worker takes no tasks yet"
            self._owner.on_credit()
        elif kind == "assets_wanted":
            for name in reply.assets_wanted.hashes:
                self._give(name)

    def _give(self, name: str) -> None:
        try:
            data = self._assets(name)
        except Exception as error:  # Whatever the caller's source raises is told to the tasks that need the asset.
            needy = [ticket for ticket in self.outstanding.values() if name.encode() in ticket.request]
            for ticket in needy:
                del self.outstanding[ticket.id]
                self.cancel(ticket)
                message = f"asset {name} cannot be had: {type(error).__name__}: {error}"
                refusal = pb.TaskError(id=ticket.id, code=pb.CODE_INVALID_ARGUMENT, message=message)
                self._owner.on_error(ticket, refusal, self.address)
            return
        self._outbox.put_nowait(pb.RenderRequest(asset=pb.Asset(hash=name, data=data)).SerializeToString())

    def _lose(self) -> None:
        self.slots = 0
        tickets = list(self.outstanding.values())
        self.outstanding.clear()
        self._owner.on_lost(tickets, self.address, self.problem)


def _open_stream(channel: grpc.aio.Channel) -> grpc.aio.StreamStreamCall:
    method = channel.stream_stream(_METHOD, request_serializer=None, response_deserializer=pb.RenderReply.FromString)
    return method(None)  # Requests are written one by one, already serialized.


async def _send(call: grpc.aio.StreamStreamCall, outbox: asyncio.Queue[bytes]) -> None:
    while True:
        await call.write(await outbox.get())
