"""The connection to one worker: a channel and a stream of tasks, reopened whenever they break."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

import grpc
from metasim.batches import take_batch
from metasim.v1 import render_pb2 as pb

from trainer.pool.assets import AssetSource
from trainer.pool.circuit_breaker import CircuitBreaker
from trainer.pool.diagnosis import tls_problem
from trainer.pool.options import PoolSettings
from trainer.pool.pace import Pace
from trainer.pool.pending_task import PendingTask
from trainer.pool.security import Security

_SERVICE = pb.DESCRIPTOR.services_by_name["Renderer"].full_name
_METHOD, _DESCRIBE = f"/{_SERVICE}/Render", f"/{_SERVICE}/Describe"

#: First and longest pause between attempts to connect; the pause doubles.
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 2.0

_REFUSALS = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
#: Of a call that has reached the worker and failed there.
_FAILURES = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)


class StreamListener(Protocol):
    """Receives the events of a stream. All calls come from the thread of the event loop."""

    def on_slots(self, stream: "WorkerStream") -> None:
        """The worker has changed the number of tasks that it accepts."""

    def on_result(self, stream: "WorkerStream", task: PendingTask, result: pb.RenderResult) -> None:
        """The worker has rendered the task."""

    def on_error(self, stream: "WorkerStream", task: PendingTask, error: pb.TaskError) -> None:
        """The worker has failed at the task."""

    def on_lost(self, stream: "WorkerStream", tasks: list[PendingTask], culprit: PendingTask | None) -> None:
        """The connection is lost, and these tasks with it. The culprit is the task that took too long, if one did."""


class WorkerStream:
    """Keeps a stream to one address open.

    Args:
        address: gRPC target.
        name: name that the worker's certificate must be issued to.
        listener: receives results, errors and losses.
        assets: returns the bytes of an asset that the worker asks for.
        settings: timeouts and limits.
        security: certificates and token.
        admit: returns why a worker that describes itself so gets no tasks; empty if it gets some.

    Attributes:
        slots: number of tasks that the worker accepts; 0 while there is no connection.
        processes: number of tasks that it renders at the same time.
        outstanding: unanswered tasks by id, in the order of sending.
        connected: whether the worker has sent a message since the stream was opened.
        problem: why the worker accepts no tasks.
        refused: whether the problem is a certificate, a token or the worker's kind, so that waiting does not help.
        failed: whether the worker was reached, and the last call failed there.
        pace: estimate of its speed.
        breaker: counts its failures.
        busy_until_s: when it accepts tasks again, in the time of the event loop.
        lacks: features that its engine has been found to lack, while the connection lasts.
    """

    def __init__(
        self,
        address: str,
        name: str,
        listener: StreamListener,
        assets: AssetSource,
        settings: PoolSettings,
        security: Security,
        admit: Callable[[pb.DescribeResponse], str] = lambda _: "",
    ) -> None:
        self.address = address
        self.slots = 0
        self.processes = 0
        self.outstanding: dict[str, PendingTask] = {}
        self.connected = False
        self.problem = "not tried yet"
        self.refused = False
        self.failed = False
        self.pace = Pace()
        self.breaker = CircuitBreaker(settings.max_worker_failures, settings.circuit_open_s)
        self.busy_until_s = float("-inf")
        self.lacks: set[pb.Feature.ValueType] = set()
        self._name = name
        self._listener = listener
        self._assets = assets
        self._settings = settings
        self._security = security
        self._admit = admit
        self._judged = False
        self._culprit: PendingTask | None = None
        self._call: grpc.aio.StreamStreamCall | None = None
        self._outbox: deque[bytes] = deque()
        self._outgoing = asyncio.Event()
        self._pause_s = _FIRST_PAUSE_S
        self._attempts = 0
        self._loop = asyncio.get_running_loop()
        self._runner = asyncio.create_task(self._run())

    @property
    def load(self) -> float:
        """Return the number of unanswered tasks per slot; infinite if the worker accepts none."""
        return len(self.outstanding) / self.slots if self.slots > 0 else float("inf")

    def free(self, now_s: float) -> int:
        """Return the number of free slots, whether or not the circuit is open."""
        if now_s < self.busy_until_s:
            return 0
        slots = min(self.slots, 1) if self.breaker.half_open else self.slots
        return slots - len(self.outstanding)

    def room(self, now_s: float) -> bool:
        """Return whether the worker is to get a task."""
        return self.free(now_s) > 0 and not self.breaker.is_open(now_s)

    def may_take(self, task: PendingTask) -> bool:
        """Return whether the worker may get this task: no worker failed at it, and no task has its id."""
        return not task.done and not task.avoid and task.id not in self.outstanding

    def send(self, task: PendingTask) -> None:
        """Send a task to the worker."""
        task.holders[self] = self._loop.time()
        self.outstanding[task.id] = task
        self._put(task.request)

    def cancel(self, task: PendingTask) -> None:
        """Tell the worker that the answer is not wanted. The worker still answers, which frees the slot."""
        self._put(pb.RenderRequest(cancel=task.id).SerializeToString())

    def drop_overdue(self) -> None:
        """Drop the connection if the worker has kept a task for longer than it may."""
        now_s = self._loop.time()
        for task in self.outstanding.values():
            if now_s - task.holders[self] > task.answer_timeout_s:
                self.problem = f"no answer for {task.answer_timeout_s:g} s"
                self._culprit = task
                if self._call is not None:
                    self._call.cancel()
                return

    async def close(self) -> None:
        """End the stream. Unanswered tasks stay unanswered."""
        self._runner.cancel()
        await asyncio.gather(self._runner, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._converse()
                self.problem, self.refused = "the worker ended the stream", False
            except grpc.aio.AioRpcError as error:
                await self._diagnose(error)
            except _NotAdmitted as error:
                self.problem, self.refused = str(error), True
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # The call was cancelled, because a task was overdue or the worker has just become ready.
            self._lose()
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, _LAST_PAUSE_S)

    async def _diagnose(self, error: grpc.aio.AioRpcError) -> None:
        self._attempts += 1
        self.problem, self.refused = error.details() or str(error.code()), False
        self.failed = error.code() in _FAILURES
        if error.code() in _REFUSALS:
            self.refused = True
            self.problem = (
                "it refuses the token in METASIM_TOKEN_FILE or METASIM_TOKEN"
                if self._security.token
                else "it requires a token: set METASIM_TOKEN_FILE or METASIM_TOKEN"
            )
        elif error.code() == grpc.StatusCode.UNAVAILABLE and self._attempts & (self._attempts - 1) == 0:
            # Seldom, since it takes another connection, in a thread.
            found = await self._loop.run_in_executor(None, tls_problem, self.address, self._name, self._security)
            if found is not None:
                self.problem, self.refused = found, True

    async def _converse(self) -> None:
        async with self._channel() as channel:
            self._outbox.clear()
            await self._judge(channel)
            self._call = _open_stream(channel, self._security)
            sender = asyncio.create_task(self._send(self._call))
            try:
                while (message := await self._call.read()) is not grpc.aio.EOF:  # Cheaper than its iterator.
                    if not self.connected:
                        self._pause_s, self._attempts = _FIRST_PAUSE_S, 0
                        self.connected = True
                    self._take(message.replies)
            finally:
                self._call = None
                self.connected = False
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)

    async def _judge(self, channel: grpc.aio.Channel) -> None:
        """Decide whether the worker may get tasks. A worker that starts does not know its version yet."""
        method = channel.unary_unary(
            _DESCRIBE, pb.DescribeRequest.SerializeToString, response_deserializer=pb.DescribeResponse.FromString
        )
        try:
            description = await method(
                pb.DescribeRequest(), metadata=self._security.metadata, timeout=self._settings.silence_s
            )
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.UNIMPLEMENTED:
                raise
            self._judged = True
            return
        self._judged = bool(description.engine_version)
        problem = self._admit(description) if self._judged else ""
        if problem:
            raise _NotAdmitted(problem)

    def _channel(self) -> grpc.aio.Channel:
        options: list[tuple[str, int | str]] = [
            ("grpc.max_receive_message_length", self._settings.message_bytes),
            ("grpc.max_send_message_length", self._settings.message_bytes),
            # Detects a worker that vanished without a word, for example because its machine lost power.
            ("grpc.keepalive_time_ms", round(self._settings.silence_s * 2000 / 3)),
            ("grpc.keepalive_timeout_ms", round(self._settings.silence_s * 1000 / 3)),
            # The same for gRPC's own pings, of which one may be under way when the worker vanishes.
            ("grpc.http2.ping_timeout_ms", round(self._settings.silence_s * 1000 / 3)),
            ("grpc.http2.max_pings_without_data", 0),
            # A shared pool would make a new channel wait for the back-off of its predecessor.
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

    def _take(self, replies: Iterable[pb.RenderReply]) -> None:
        """Pass on the replies of a message, results last: their pace is that of all together."""
        results: list[tuple[PendingTask, pb.RenderResult]] = []
        first_sent_s, service_s = float("inf"), 0.0
        for reply in replies:
            kind = reply.WhichOneof("kind")
            if kind == "result":
                result = reply.result
                task = self.outstanding.pop(result.id, None)
                if task is not None:
                    timing = result.timing
                    first_sent_s = min(first_sent_s, task.holders.pop(self))
                    service_s += timing.build_s + timing.render_s + timing.encode_s
                    results.append((task, result))
            elif kind == "error":
                task = self.outstanding.pop(reply.error.id, None)
                if task is not None:
                    del task.holders[self]
                    self._listener.on_error(self, task, reply.error)
            elif kind == "slots" and reply.slots.count and not self._judged:
                if self._call is not None:
                    self._call.cancel()  # It is ready: it knows its version now.
            elif kind == "slots":
                self.slots, self.processes = reply.slots.count, reply.slots.processes
                self.problem, self.refused = "" if self.slots else "the worker takes no tasks yet", False
                self._listener.on_slots(self)
            elif kind == "assets_wanted":
                for name in reply.assets_wanted.hashes:
                    self._give(name)
        if results:
            self.pace.observe(self._loop.time(), first_sent_s, service_s / len(results), len(results))
            for task, result in results:
                self._listener.on_result(self, task, result)

    def _give(self, name: str) -> None:
        try:
            data = self._assets(name)
        except Exception as error:  # Whatever the caller's source raises fails the tasks that need the asset.
            for task in [task for task in self.outstanding.values() if name.encode() in task.request]:
                del self.outstanding[task.id], task.holders[self]
                self.cancel(task)
                message = f"asset {name} cannot be had: {type(error).__name__}: {error}"
                refusal = pb.TaskError(id=task.id, code=pb.CODE_INVALID_ARGUMENT, message=message)
                self._listener.on_error(self, task, refusal)
            return
        self._put(pb.RenderRequest(asset=pb.Asset(hash=name, data=data)).SerializeToString())

    def _put(self, request: bytes) -> None:
        self._outbox.append(request)
        self._outgoing.set()

    def _lose(self) -> None:
        self.slots = 0
        self.lacks.clear()
        self.pace = Pace()
        culprit, self._culprit = self._culprit, None
        tasks = list(self.outstanding.values())
        self.outstanding.clear()
        for task in tasks:
            del task.holders[self]
        self._listener.on_lost(self, tasks, culprit)


class _NotAdmitted(Exception):  # noqa: N818
    """The worker's kind is not that of the pool."""


def _open_stream(channel: grpc.aio.Channel, security: Security) -> grpc.aio.StreamStreamCall:
    method = channel.stream_stream(_METHOD, request_serializer=None, response_deserializer=pb.RenderReplies.FromString)
    return method(None, metadata=security.metadata)  # Messages are serialized already.
