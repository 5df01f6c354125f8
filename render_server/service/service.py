"""The gRPC service: streams of tasks in front of a pool of engine processes."""

import asyncio
import importlib.metadata
import logging
import os
import socket
import time
from collections.abc import AsyncIterator

import grpc
from google.protobuf.message import DecodeError
from metasim.batches import split_batch
from metasim.v1 import render_pb2 as pb

from render_server.limits import Limits
from render_server.processes.process_pool import ProcessPool
from render_server.processes.resident import resident_bytes
from render_server.service.admission import Admission
from render_server.service.assets import AssetCache, AssetRefused
from render_server.service.stream import TaskStream

#: Full name of the service, as health checks and reflection know it.
SERVICE = pb.DESCRIPTOR.services_by_name["Renderer"].full_name

#: When a client that found no place may come again.
_FULL_RETRY_MS = 5_000

_log = logging.getLogger(__name__)


class RenderService:
    """Answers `metasim.v1.Renderer`. Takes no tasks until it is opened.

    Args:
        pool: renders the tasks.
        cache: the worker's assets.
        limits: the worker's bounds.
        slots: tasks that a client may have unanswered, or more where they take no time.
        encrypted, authenticated: how the server is protected, for descriptions.
    """

    def __init__(
        self,
        pool: ProcessPool,
        cache: AssetCache,
        limits: Limits,
        slots: int,
        *,
        encrypted: bool = False,
        authenticated: bool = False,
    ) -> None:
        self._pool = pool
        self._tally = pool.tally
        self._admission = Admission(limits)
        self._encrypted = encrypted
        self._authenticated = authenticated
        self._cache = cache
        self._limits = limits
        self._slots = slots
        self._open = False
        self._drained = asyncio.Event()
        self._streams: set[TaskStream] = set()
        self._started_s = time.monotonic()

    @property
    def slots(self) -> int:
        """Tasks that each client may have unanswered now, at least."""
        return self._slots if self._open else 0

    @property
    def clients(self) -> int:
        """Streams that are open."""
        return len(self._streams)

    @property
    def queued(self) -> int:
        """Tasks that were accepted and have not begun."""
        return self._pool.queued + sum(stream.waiting for stream in list(self._streams))

    @property
    def held_bytes(self) -> int:
        """Size of the tasks that are unanswered and of the answers that are not sent."""
        return self._admission.held_bytes

    def open(self) -> None:
        """Takes tasks from now on, also from clients that came earlier."""
        self._open = True
        for stream in self._streams:
            stream.set_slots(self._slots)

    async def drain(self) -> None:
        """Gives back what has not begun, and returns when the rest is answered and every stream has been ended."""
        self._open = False
        self._drained.set()
        for stream in self._streams:
            stream.drain()
        while self._streams:
            await asyncio.gather(*(stream.closed.wait() for stream in list(self._streams)))

    def handler(self) -> grpc.GenericRpcHandler:
        """What a server needs to route calls here.

        Messages pass as bytes: a reply was serialized by the process that rendered it, and a request that cannot be
        parsed is refused in words instead of ending in an error of gRPC's own.
        """
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Render": grpc.stream_stream_rpc_method_handler(self._render),
                "Describe": grpc.unary_unary_rpc_method_handler(
                    self._describe,
                    request_deserializer=pb.DescribeRequest.FromString,
                    response_serializer=pb.DescribeResponse.SerializeToString,
                ),
            },
        )

    async def _describe(self, request: pb.DescribeRequest, context: grpc.aio.ServicerContext) -> pb.DescribeResponse:  # noqa: ARG002
        tally = self._tally
        response = pb.DescribeResponse(
            version=importlib.metadata.version("metasim"),
            slots=self.slots,
            processes=self._pool.count,
            uptime_s=time.monotonic() - self._started_s,
            tasks_done=tally.tasks_done,
            tasks_failed=tally.tasks_failed,
            renders=tally.renders,
            process_restarts=tally.restarts.total(),
            process_recycles=tally.recycles.total(),
            host=socket.gethostname(),
            busy_processes=self._pool.busy,
            queued_tasks=self.queued,
            streams=len(self._streams),
            memory_bytes=resident_bytes(os.getpid()) + sum(self._pool.resident_bytes.values()),
            encrypted=self._encrypted,
            authenticated=self._authenticated,
        )
        response.MergeFrom(self._pool.description)
        return response

    async def _render(self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
        if len(self._streams) >= self._limits.streams:
            self._tally.refused_calls["streams"] += 1
            context.set_trailing_metadata((("grpc-retry-pushback-ms", str(_FULL_RETRY_MS)),))
            text = f"{len(self._streams)} clients are connected, as many as this worker takes; try another or later"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        stream = TaskStream(self._pool, self._cache, self._limits, self._admission)
        self._streams.add(stream)
        _log.info("client %s connected", context.peer(), extra={"fields": {"client": context.peer()}})
        if self._drained.is_set():
            stream.drain()
        else:
            stream.set_slots(self.slots)
        receiving = asyncio.create_task(_receive(stream, requests))
        sending = asyncio.create_task(self._send(stream, context))
        draining = asyncio.create_task(self._drained.wait())
        try:
            await asyncio.wait({receiving, sending, draining}, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done() and (complaint := receiving.result()) is not None:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, complaint)
            if not sending.done():
                await stream.finished()
                stream.outbox.end()
            await sending
        finally:
            stream.abandon()
            for task in (receiving, sending, draining):
                task.cancel()
            self._streams.discard(stream)
            stream.closed.set()
            _log.info("client %s has gone", context.peer(), extra={"fields": {"client": context.peer()}})

    async def _send(self, stream: TaskStream, context: grpc.aio.ServicerContext) -> None:
        while (message := await stream.outbox.get()) is not None:
            began_s = time.perf_counter()
            await context.write(message)
            self._tally.observe("send", time.perf_counter() - began_s)


async def _receive(stream: TaskStream, requests: AsyncIterator[bytes]) -> str | None:
    """Takes requests until the client closes its side; what is wrong with the stream, if anything."""
    async for data in requests:
        try:
            for request in split_batch(data):
                stream.take(request)
        except (ValueError, DecodeError):
            return f"a message of {len(data)} bytes is no metasim.v1.RenderRequests within its bounds"
        except AssetRefused as error:
            return str(error)
        await stream.outbox.room()
    return None
