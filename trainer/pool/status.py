"""The status of the workers behind an endpoint."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from metasim.v1 import render_pb2 as pb

from trainer.environment import Settings
from trainer.errors import PoolUnreachable
from trainer.pool.diagnosis import tls_problem
from trainer.pool.event_loop import shared_loop
from trainer.pool.renderer_kind import image_format_name
from trainer.pool.resolver import Endpoint, parse_endpoints
from trainer.pool.security import Security

_METHOD = f"/{pb.DESCRIPTOR.services_by_name['Renderer'].full_name}/Describe"


@dataclass(frozen=True)
class WorkerStatus:
    """The status of one worker."""

    address: str
    #: Why the worker does not answer; empty if it does.
    problem: str
    host: str = ""
    engine: str = ""
    engine_version: str = ""
    #: "cpu" or a kind of GPU.
    device: str = ""
    #: As its driver calls it; empty if unknown.
    device_name: str = ""
    #: Tasks that each client may send; 0 while the worker starts or drains.
    slots: int = 0
    processes: int = 0
    busy_processes: int = 0
    queued_tasks: int = 0
    clients: int = 0
    #: Over the time that it was watched.
    renders_per_s: float = 0.0
    tasks_done: int = 0
    tasks_failed: int = 0
    process_restarts: int = 0
    age_s: float = 0.0
    memory_bytes: int = 0
    version: str = ""
    #: Formats in which it encodes images, such as "png"; none: it is too old for it.
    image_formats: tuple[str, ...] = ()


def pool_status(
    endpoint: str, *, watch_s: float = 1.0, timeout_s: float = 3.0, security: Security | None = None
) -> list[WorkerStatus]:
    """Return the status of every worker, from two requests to each.

    Args:
        endpoint: as `RenderPool` takes it.
        watch_s: time between the requests, over which renders are counted.
        timeout_s: how long a worker may take to answer.
        security: certificates and token; default: those of the environment.

    Returns:
        The workers by address. Those that do not answer have a `problem`.

    Raises:
        InputError: the endpoint is malformed.
        PoolUnreachable: the name cannot be resolved.
    """
    endpoints = parse_endpoints(endpoint)
    security = security or Security.from_settings(Settings.from_environment())
    asking = _ask_all(endpoints, security, watch_s, timeout_s)
    return asyncio.run_coroutine_threadsafe(asking, shared_loop()).result()


async def _ask_all(
    endpoints: Sequence[Endpoint], security: Security, watch_s: float, timeout_s: float
) -> list[WorkerStatus]:
    names: dict[str, str] = {}
    for endpoint in endpoints:
        try:
            names.update(dict.fromkeys(await endpoint.resolve(), endpoint.server_name))
        except OSError as error:
            raise PoolUnreachable(f"{endpoint}: {error.strerror or error}") from None
    asked = [_ask(target, names[target], security, watch_s, timeout_s) for target in sorted(names)]
    return await asyncio.gather(*asked)


async def _ask(target: str, name: str, security: Security, watch_s: float, timeout_s: float) -> WorkerStatus:
    options: list[tuple[str, int | str]] = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    credentials = security.credentials()
    if credentials is None:
        channel = grpc.aio.insecure_channel(target, options=options)
    else:
        options.append(("grpc.ssl_target_name_override", name))
        channel = grpc.aio.secure_channel(target, credentials, options=options)
    async with channel:
        describe = channel.unary_unary(
            _METHOD, pb.DescribeRequest.SerializeToString, response_deserializer=pb.DescribeResponse.FromString
        )
        try:
            first = await describe(pb.DescribeRequest(), timeout=timeout_s, metadata=security.metadata)
            await asyncio.sleep(watch_s)
            second = await describe(pb.DescribeRequest(), timeout=timeout_s, metadata=security.metadata)
        except grpc.aio.AioRpcError as error:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(None, tls_problem, target, name, security)
            return WorkerStatus(target, found or f"{error.code().name}: {error.details()}")
    return _status(target, first, second)


def _status(target: str, first: pb.DescribeResponse, second: pb.DescribeResponse) -> WorkerStatus:
    watched_s = second.uptime_s - first.uptime_s
    return WorkerStatus(
        address=target,
        problem="",
        host=second.host,
        engine=second.engine,
        engine_version=second.engine_version,
        device=second.device,
        device_name=second.device_name,
        slots=second.slots,
        processes=second.processes,
        busy_processes=second.busy_processes,
        queued_tasks=second.queued_tasks,
        clients=second.streams,
        renders_per_s=(second.renders - first.renders) / watched_s if watched_s > 0 else 0.0,
        tasks_done=second.tasks_done,
        tasks_failed=second.tasks_failed,
        process_restarts=second.process_restarts,
        age_s=second.uptime_s,
        memory_bytes=second.memory_bytes,
        version=second.version,
        image_formats=tuple(image_format_name(value) for value in second.image_formats),
    )
