"""One worker: a channel and a stream of tasks, opened again whenever they break."""

import asyncio
from collections import deque
from typing import Protocol

import grpc
from metasim.batches import take_batch
from metasim.v1 import render_pb2 as pb

from trainer.pool.assets import AssetSource
from trainer.pool.diagnosis import tls_problem
from trainer.pool.hedging import Pace
from trainer.pool.security import Security
from trainer.pool.settings import PoolSettings
from trainer.pool.standing import Standing
from trainer.pool.ticket import Ticket

_METHOD = f"/{pb.DESCRIPTOR.services_by_name['Renderer'].full_name}/Render"

#: Pauses between attempts to connect: doubled from the first to the last.
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 2.0

_REFUSALS = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


class Owner(Protocol):
    """Who hears what becomes of the tasks of a stream. All calls come from the event loop's thread."""

    def on_slots(self, stream: "WorkerStream") -> None:
        """The worker takes more tasks, or fewer."""

    def on_result(self, stream: "WorkerStream", ticket: Ticket, result: pb.RenderResult) -> None:
        """The task is rendered."""

    def on_error(self, stream: "WorkerStream", ticket: Ticket, error: pb.TaskError) -> None:
        """The worker could not render it."""

    def on_lost(self, stream: "WorkerStream", tickets: list[Ticket], culprit: Ticket | None) -> None:
        """There is no connection; these tasks went down with it, perhaps because one of them took too long."""


class WorkerStream:
    """Keeps a stream to one address open.

    Args:
        address: gRPC target.
        name: what the worker's certificate must be made out to.
        owner: hears of answers and losses.
        assets: answers the worker's requests for assets.
        settings: times and sizes.
        security: certificates and token.

    Attributes:
        slots: tasks that the worker wants to hold; 0 while there is no connection.
        processes: tasks that it renders at the same time.
        outstanding: unanswered tasks by id, the one sent first coming first.
        connected: whether the worker has said something since the stream was opened.
        problem: why the worker takes no tasks.
        refused: that is about certificates or a token, so waiting does not help.
        pace: how fast it is.
        standing: what its failures are worth.
        busy_until_s: when it wants to be asked again, in the event loop's time.
    """

    def __init__(
        self, address: str, name: str, owner: Owner, assets: AssetSource, settings: PoolSettings, security: Security
    ) -> None:
        self.address = address
        self.slots = 0
        self.processes = 0
        self.outstanding: dict[str, Ticket] = {}
        self.connected = False
        self.problem = "not tried yet"
        self.refused = False
        self.pace = Pace()
        self.standing = Standing(settings.max_worker_failures, settings.set_aside_s)
        self.busy_until_s = float("-inf")
        self._name = name
        self._owner = owner
        self._assets = assets
        self._settings = settings
        self._security = security
        self._outbox: deque[bytes] = deque()
        self._outgoing = asyncio.Event()
        self._call: grpc.aio.StreamStreamCall | None = None
        self._culprit: Ticket | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._attempts = 0
        self._loop = asyncio.get_running_loop()
        self._runner = asyncio.create_task(self._run())

    @property
    def load(self) -> float:
        """Unanswered tasks per slot; infinite when the worker takes none."""
        return len(self.outstanding) / self.slots if self.slots > 0 else float("inf")

    def free(self, now_s: float) -> int:
        """How many more tasks it may be given, not minding that it may be set aside."""
        if now_s < self.busy_until_s:
            return 0
        slots = min(self.slots, 1) if self.standing.on_trial else self.slots
        return slots - len(self.outstanding)

    def room(self, now_s: float) -> bool:
        """Whether it is to be given a task."""
        return self.free(now_s) > 0 and not self.standing.aside(now_s)

    def may_take(self, ticket: Ticket) -> bool:
        """Whether nothing speaks against this task, such as an earlier failure or another task of the same id."""
        return not ticket.done and not ticket.avoid and ticket.id not in self.outstanding

    def send(self, ticket: Ticket) -> None:
        """Gives the worker a task."""
        ticket.holders[self] = self._loop.time()
        self.outstanding[ticket.id] = ticket
        self._put(ticket.request)

    def cancel(self, ticket: Ticket) -> None:
        """Tells the worker that the answer is not wanted. It still comes, and gives the slot back."""
        self._put(pb.RenderRequest(cancel=ticket.id).SerializeToString())

    def give_up_overdue(self) -> None:
        """Drops the connection if the worker keeps a task for longer than it may."""
        now_s = self._loop.time()
        for ticket in self.outstanding.values():
            if now_s - ticket.holders[self] > ticket.answer_timeout_s:
                self.problem = f"no answer for {ticket.answer_timeout_s:g} s"
                self._culprit = ticket
                if self._call is not None:
                    self._call.cancel()
                return

    async def close(self) -> None:
        """Ends the stream. Unanswered tasks stay unanswered."""
        self._runner.cancel()
        await asyncio.gather(self._runner, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._converse()
                self.problem, self.refused = "the worker ended the stream", False
            except grpc.aio.AioRpcError as error:
                await self._understand(error)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Else it was the call that was cancelled, because a task was overdue.
            self._lose()
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, _LAST_PAUSE_S)

    async def _understand(self, error: grpc.aio.AioRpcError) -> None:
        self._attempts += 1
        self.problem, self.refused = error.details() or str(error.code()), False
        if error.code() in _REFUSALS:
            self.refused = True
            self.problem = (
                "it refuses the token in METASIM_TOKEN_FILE or METASIM_TOKEN"
                if self._security.token
                else "it wants a token: set METASIM_TOKEN_FILE or METASIM_TOKEN"
            )
        elif error.code() == grpc.StatusCode.UNAVAILABLE and self._attempts & (self._attempts - 1) == 0:
            # Now and then only: it is one more connection, in a thread.
            found = await self._loop.run_in_executor(None, tls_problem, self.address, self._name, self._security)
            if found is not None:
                self.problem, self.refused = found, True

    async def _converse(self) -> None:
        async with self._channel() as channel:
            self._outbox.clear()
            self._call = _open_stream(channel, self._security)
            sender = asyncio.create_task(self._send(self._call))
            try:
                while (message := await self._call.read()) is not grpc.aio.EOF:  # Cheaper than its iterator.
                    if not self.connected:
                        self._pause_s, self._attempts = _FIRST_PAUSE_S, 0
                        self.connected = True
                    self._observe_pace(message)
                    for reply in message.replies:
                        self._take(reply)
            finally:
                self._call = None
                self.connected = False
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)

    def _channel(self) -> grpc.aio.Channel:
        options: list[tuple[str, int | str]] = [
            ("grpc.max_receive_message_length", self._settings.message_bytes),
            ("grpc.max_send_message_length", self._settings.message_bytes),
            # A worker that vanished without a word (its machine lost power) is noticed by its silence.
            ("grpc.keepalive_time_ms", round(self._settings.silence_s * 2000 / 3)),
            ("grpc.keepalive_timeout_ms", round(self._settings.silence_s * 1000 / 3)),
            # The same for gRPC's pings of its own, of which one may be under way when the worker vanishes.
            ("grpc.http2.ping_timeout_ms", round(self._settings.silence_s * 1000 / 3)),
            ("grpc.http2.max_pings_without_data", 0),
            # Else a new channel waits out the back-off of its predecessor.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_http_proxy", 0),
        ]
        credentials = self._security.credentials()
        if credentials is None:
            return grpc.aio.insecure_channel(self.address, options=options)
        options.append(("grpc.ssl_target_name_override", self._name))
        return grpc.aio.secure_channel(self.address, credentials, options=options)

    async def _send(self, call: grpc.aio.StreamStreamCall) -> None:
        while True:
            await self._outgoing.wait()
            while self._outbox:
                message, _ = take_batch(self._outbox)
                await call.write(message)
            self._outgoing.clear()

    def _observe_pace(self, message: pb.RenderReplies) -> None:
        results = [reply.result for reply in message.replies if reply.HasField("result")]
        sent_s = [self.outstanding[result.id].holders[self] for result in results if result.id in self.outstanding]
        if sent_s:
            timings = [result.timing for result in results]
            service_s = sum(timing.build_s + timing.render_s + timing.encode_s for timing in timings) / len(timings)
            self.pace.observe(self._loop.time(), min(sent_s), service_s, len(sent_s))

    def _take(self, reply: pb.RenderReply) -> None:
        kind = reply.WhichOneof("kind")
        if kind == "result":
            result = reply.result
            ticket = self.outstanding.pop(result.id, None)
            if ticket is not None:
                del ticket.holders[self]
                self._owner.on_result(self, ticket, result)
        elif kind == "error":
            ticket = self.outstanding.pop(reply.error.id, None)
            if ticket is not None:
                del ticket.holders[self]
                self._owner.on_error(self, ticket, reply.error)
        elif kind == "slots":
            self.slots, self.processes = reply.slots.count, reply.slots.processes
            self.problem, self.refused = "" if self.slots else "the worker takes no tasks yet", False
            self._owner.on_slots(self)
        elif kind == "assets_wanted":
            for name in reply.assets_wanted.hashes:
                self._give(name)

    def _give(self, name: str) -> None:
        try:
            data = self._assets(name)
        except Exception as error:  # Whatever the caller's source raises is told to the tasks that need the asset.
            needy = [ticket for ticket in self.outstanding.values() if name.encode() in ticket.request]
            for ticket in needy:
                del self.outstanding[ticket.id], ticket.holders[self]
                self.cancel(ticket)
                message = f"asset {name} cannot be had: {type(error).__name__}: {error}"
                refusal = pb.TaskError(id=ticket.id, code=pb.CODE_INVALID_ARGUMENT, message=message)
                self._owner.on_error(self, ticket, refusal)
            return
        self._put(pb.RenderRequest(asset=pb.Asset(hash=name, data=data)).SerializeToString())

    def _put(self, request: bytes) -> None:
        self._outbox.append(request)
        self._outgoing.set()

    def _lose(self) -> None:
        self.slots = 0
        self.pace = Pace()
        culprit, self._culprit = self._culprit, None
        tickets = list(self.outstanding.values())
        self.outstanding.clear()
        for ticket in tickets:
            del ticket.holders[self]
        self._owner.on_lost(self, tickets, culprit)


def _open_stream(channel: grpc.aio.Channel, security: Security) -> grpc.aio.StreamStreamCall:
    method = channel.stream_stream(_METHOD, request_serializer=None, response_deserializer=pb.RenderReplies.FromString)
    return method(None, metadata=security.metadata)  # Messages are written as they come, already serialized.
