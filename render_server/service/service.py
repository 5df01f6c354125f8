"""The gRPC service in front of the pool of engine processes."""

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

from render_server.limits import Limits, limits_to_proto
from render_server.processes.memory import resident_bytes
from render_server.processes.process_pool import ProcessPool
from render_server.service.admission import Admission
from render_server.service.assets import AssetCache, AssetRefused
from render_server.service.stream import TaskStream

#: Full name of the service, as health checks and reflection know it.
SERVICE = pb.DESCRIPTOR.services_by_name["Renderer"].full_name

#: When a client may come again that found the worker full.
_FULL_RETRY_MS = 5_000

_log = logging.getLogger(__name__)


class RenderService:
    """Serves `metasim.v1.Renderer`. Takes no tasks until it is opened.

    Args:
        pool: renders the tasks.
        cache: the worker's assets.
        limits: the worker's limits.
        slots: tasks that a client may have unanswered, or more if they are short.
        encrypted, authenticated: how the server is protected, for `Describe`.
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
        self._counters = pool.counters
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
        """Smallest number of tasks that each client may have unanswered now."""
        return self._slots if self._open else 0

    @property
    def clients(self) -> int:
        """Number of open streams."""
        return len(self._streams)

    @property
    def queued(self) -> int:
        """Number of tasks that were accepted and have not begun."""
        return self._pool.queued + sum(stream.waiting for stream in list(self._streams))

    @property
    def held_bytes(self) -> int:
        """Size of unanswered tasks and unsent answers."""
        return self._admission.held_bytes

    def open(self) -> None:
        """Take tasks from now on, also from clients that are already connected."""
        self._open = True
        for stream in self._streams:
            stream.set_slots(self._slots)

    async def drain(self) -> None:
        """Give back the tasks that have not begun; wait until the others are answered and every stream has ended."""
        self._open = False
        self._drained.set()
        for stream in self._streams:
            stream.drain()
        while self._streams:
            await asyncio.gather(*(stream.closed.wait() for stream in list(self._streams)))

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handler that routes calls here.

        Messages pass as bytes: the process that renders a reply serializes it, and a request that cannot be parsed gets
        an error message of our own.
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
        counters = self._counters
        response = pb.DescribeResponse(
            version=importlib.metadata.version("metasim"),
            slots=self.slots,
            processes=self._pool.count,
            uptime_s=time.monotonic() - self._started_s,
            tasks_done=counters.tasks_done,
            tasks_failed=counters.tasks_failed,
            renders=counters.renders,
            process_restarts=counters.restarts.total(),
            process_recycles=counters.recycles.total(),
            host=socket.gethostname(),
            busy_processes=self._pool.busy,
            queued_tasks=self.queued,
            streams=len(self._streams),
            memory_bytes=resident_bytes(os.getpid()) + sum(self._pool.resident_bytes.values()),
            encrypted=self._encrypted,
            authenticated=self._authenticated,
            limits=limits_to_proto(self._limits),
        )
        response.MergeFrom(self._pool.description)
        return response

    async def _render(self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
        if len(self._streams) >= self._limits.streams:
            self._counters.refused_calls["streams"] += 1
            context.set_trailing_metadata((("grpc-retry-pushback-ms", str(_FULL_RETRY_MS)),))
            text = f"{len(self._streams)} clients are connected, the limit of this worker; use another or try later"
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
            if receiving.done() and (problem := receiving.result()) is not None:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, problem)
            if not sending.done():
                await stream.finished()
                stream.send_queue.end()
            await sending
        finally:
            stream.abandon()
            for task in (receiving, sending, draining):
                task.cancel()
            self._streams.discard(stream)
            stream.closed.set()
            _log.info("client %s has gone", context.peer(), extra={"fields": {"client": context.peer()}})

    async def _send(self, stream: TaskStream, context: grpc.aio.ServicerContext) -> None:
        while (message := await stream.send_queue.get()) is not None:
            began_s = time.perf_counter()
            await context.write(message)
            self._counters.observe("send", time.perf_counter() - began_s)


async def _receive(stream: TaskStream, requests: AsyncIterator[bytes]) -> str | None:
    """Take requests until the client closes its side; return what is wrong with the stream, if anything."""
    async for data in requests:
        try:
            for request in split_batch(data):
                stream.take(request)
        except (ValueError, DecodeError):
            return f"a message of {len(data)} bytes is not a metasim.v1.RenderRequests within its bounds"
        except AssetRefused as error:
            return str(error)
        await stream.send_queue.room()
    return None
