"""The gRPC service: streams of tasks in front of a pool of engine processes."""

import asyncio
import importlib.metadata
import os
import socket
import time
from collections.abc import AsyncIterator

import grpc
from google.protobuf.message import DecodeError
from metasim.v1 import render_pb2 as pb

from render_server.assets import AssetCache, AssetRefused
from render_server.limits import Limits
from render_server.process_pool import ProcessPool
from render_server.resident import total_resident_bytes
from render_server.stream import TaskStream

#: Full name of the service, as health checks and reflection know it.
SERVICE = pb.DESCRIPTOR.services_by_name["Renderer"].full_name


class RenderService:
    """Answers `metasim.v1.Renderer`. Takes no tasks until it is opened.

    Args:
        pool: renders the tasks.
        cache: the worker's assets.
        limits: the worker's bounds.
        slots: tasks that a client may have unanswered.
    """

    def __init__(self, pool: ProcessPool, cache: AssetCache, limits: Limits, slots: int) -> None:
        self._pool = pool
        self._cache = cache
        self._limits = limits
        self._slots = slots
        self._open = False
        self._drained = asyncio.Event()
        self._streams: set[TaskStream] = set()
        self._started_s = time.monotonic()

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
        response = pb.DescribeResponse(
            version=importlib.metadata.version("metasim"),
            slots=self._slots if self._open else 0,
            processes=self._pool.count,
            uptime_s=time.monotonic() - self._started_s,
            tasks_done=self._pool.tasks_done,
            tasks_failed=self._pool.tasks_failed,
            renders=self._pool.renders,
            process_restarts=self._pool.restarts,
            host=socket.gethostname(),
            busy_processes=self._pool.busy,
            queued_tasks=self._pool.queued,
            streams=len(self._streams),
            memory_bytes=total_resident_bytes([os.getpid(), *self._pool.pids]),
        )
        response.MergeFrom(self._pool.description)
        return response

    async def _render(self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
        stream = TaskStream(self._pool, self._cache, self._limits)
        self._streams.add(stream)
        if self._drained.is_set():
            stream.drain()
        else:
            stream.set_slots(self._slots if self._open else 0)
        receiving = asyncio.create_task(_receive(stream, requests))
        sending = asyncio.create_task(_send(stream, context))
        draining = asyncio.create_task(self._drained.wait())
        try:
            await asyncio.wait({receiving, sending, draining}, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done() and (complaint := receiving.result()) is not None:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, complaint)
            if not sending.done():
                await stream.finished()
                stream.replies.put_nowait(None)
            await sending
        finally:
            stream.abandon()
            for task in (receiving, sending, draining):
                task.cancel()
            self._streams.discard(stream)
            stream.closed.set()


async def _receive(stream: TaskStream, requests: AsyncIterator[bytes]) -> str | None:
    """Takes requests until the client closes its side; what is wrong with the stream, if anything."""
    async for data in requests:
        try:
            stream.take(pb.RenderRequest.FromString(data))
        except DecodeError:
            return f"a message of {len(data)} bytes is not a metasim.v1.RenderRequest"
        except AssetRefused as error:
            return str(error)
    return None


async def _send(stream: TaskStream, context: grpc.aio.ServicerContext) -> None:
    while (reply := await stream.replies.get()) is not None:
        await context.write(reply)
