"""The cost of a bare bidirectional `grpc.aio` stream: a lower bound of what the pool's client can cost."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack

import grpc
from metasim.v1 import render_pb2 as pb

from trainer.pool.event_loop import shared_loop

_METHOD = f"/{pb.DESCRIPTOR.services_by_name['Renderer'].full_name}/Render"


def echo_cpu_s(addresses: Sequence[str], requests: Sequence[bytes]) -> float:
    """Return the processor time of this process per message, in seconds, of sending a request and reading its reply.

    Args:
        addresses: workers. Each gets a stream with one unanswered request; connecting does not count.
        requests: serialized RenderRequests.
    """
    return asyncio.run_coroutine_threadsafe(_echo(addresses, requests), shared_loop()).result()


async def _echo(addresses: Sequence[str], requests: Sequence[bytes]) -> float:
    async with AsyncExitStack() as stack:
        calls = []
        for address in addresses:
            channel = grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
            await stack.enter_async_context(channel)
            calls.append(channel.stream_stream(_METHOD)())
        await asyncio.gather(*(call.read() for call in calls))  # The first message holds the slots.
        waiting = iter(requests)
        began_s = time.process_time()
        await asyncio.gather(*(_converse(call, waiting) for call in calls))
        return (time.process_time() - began_s) / len(requests)


async def _converse(call: grpc.aio.StreamStreamCall, waiting: Iterator[bytes]) -> None:
    for request in waiting:
        await call.write(request)
        await call.read()
    await call.done_writing()
