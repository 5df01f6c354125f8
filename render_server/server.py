"""The life of a render worker, from its start to its end."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from render_server.counters import Counters
from render_server.devices import GPU_START_S
from render_server.errors import EngineUnavailable, RenderServerError
from render_server.limits import Limits
from render_server.processes.engine_process import START_S, EngineSettings
from render_server.processes.gpu_claim import NVIDIA, claim_gpu, lock_folder, unreserved, visible_gpus
from render_server.processes.process_pool import ProcessPool
from render_server.processes.recycling import RecyclingPolicy
from render_server.processes.sharing import measured_processes
from render_server.processes.work_folder import WorkFolder, WorkFolderUnusable
from render_server.service.assets import AssetCache
from render_server.service.security import Security, TokenCheck
from render_server.service.service import SERVICE, RenderService

#: How long clients may take to read the last answers when the worker ends.
_LAST_ANSWERS_S = 2.0

#: Number of other calls, such as health checks, that may run beside the streams.
_OTHER_CALLS = 256

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class AddressUnusable(RenderServerError):  # noqa: N818
    """The worker cannot listen on its address."""


class MetricsUnusable(RenderServerError):  # noqa: N818
    """Metrics cannot be served."""


#: Errors that whoever starts the worker can fix.
UNUSABLE = (AddressUnusable, MetricsUnusable, EngineUnavailable, WorkFolderUnusable)


@dataclass(frozen=True)
class ServerSettings:
    """Settings of a worker."""

    #: Name of the engine.
    engine: str
    #: Interface to listen on: a name or an address.
    host: str
    #: Port to listen on; 0: a free one.
    port: int
    #: Number of engine processes.
    workers: int
    #: Tasks that a client may send beyond one per process, or more if they are short.
    queue: int
    #: Limits of what is accepted.
    limits: Limits
    #: Kind of device that renders.
    device: str = "cpu"
    #: Shortest time that the engine "fake" takes for a task.
    service_time_s: float = 0.0
    #: End at once when standard input is closed, as happens when the program that started the worker ends.
    stop_with_stdin: bool = False
    #: TLS, client certificates and token.
    security: Security = field(default_factory=Security)
    #: When a process is replaced although it works.
    recycling: RecyclingPolicy = field(default_factory=RecyclingPolicy)
    #: Port of the metrics; 0: no metrics.
    metrics_port: int = 0
    #: Format of the log of the processes.
    log_format: str = "text"
    #: Folder in which the workers of this machine lock their GPUs; None: the default folder.
    gpu_locks: Path | None = None
    #: Place or UUID of a GPU that is left to others where there is another one; empty: none.
    reserved_gpu: str = ""


class _Interrupted(Exception):  # noqa: N818
    """The worker is to end."""


async def serve(settings: ServerSettings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish the tasks that have begun and return. A second signal ends at once.

    Args:
        settings: how to run.
        announce: called with the bound address once the worker is ready.

    Raises:
        AddressUnusable: the address is in use or does not belong to this machine.
        RenderServerError: the engine cannot run here, or its processes cannot be replaced.
    """
    stop, kill = _stop_events(settings)
    with contextlib.ExitStack() as held:
        engine, folder = _engine_settings(settings, held)
        pool = ProcessPool(engine, settings.workers, recycling=settings.recycling)
        service = RenderService(
            pool,
            AssetCache(folder.assets, settings.limits),
            settings.limits,
            slots=settings.workers + settings.queue,
            encrypted=settings.security.encrypted,
            authenticated=settings.security.authenticated,
        )
        server, checks = _make_server(service, settings, pool.counters)
        await _report(checks, health_pb2.HealthCheckResponse.NOT_SERVING)
        address = _bind(server, settings)
        if settings.metrics_port:
            held.callback(_serve_metrics(pool, service, settings))
        await server.start()
        try:
            await _unless(stop, pool.start())
            service.open()
            await _report(checks, health_pb2.HealthCheckResponse.SERVING)
            announce(address)
            await _unless(stop, pool.run())
        except _Interrupted:
            _log.info("shutting down: finishing the tasks that have begun")
            await _report(checks, health_pb2.HealthCheckResponse.NOT_SERVING)
            try:
                await _unless(kill, _finish(service, pool))
            except _Interrupted:
                _log.warning("ended at once: tasks that had begun are lost")
        finally:
            await server.stop(_LAST_ANSWERS_S if not kill.is_set() else 0)
            await pool.close()


async def processes_per_device(settings: ServerSettings, most: int) -> int:
    """Return how many processes render small scenes fastest on the worker's device; see `processes.sharing`.

    Raises:
        RenderServerError: the engine cannot run here.
    """
    with contextlib.ExitStack() as held:
        engine, _ = _engine_settings(settings, held)
        return await measured_processes(engine, most=most)


async def _finish(service: RenderService, pool: ProcessPool) -> None:
    """Drain the service; raise if the processes cannot be replaced meanwhile."""
    draining, breaking = asyncio.create_task(service.drain()), asyncio.create_task(pool.run())
    try:
        done, _ = await asyncio.wait({draining, breaking}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        draining.cancel()
        breaking.cancel()
        await asyncio.gather(draining, breaking, return_exceptions=True)


def _engine_settings(settings: ServerSettings, held: contextlib.ExitStack) -> tuple[EngineSettings, WorkFolder]:
    """Return what the processes run, with a folder and a GPU that are kept until the stack closes."""
    folder = held.enter_context(WorkFolder())
    gpus = unreserved(visible_gpus(), settings.reserved_gpu) if settings.device in NVIDIA else []
    claim = claim_gpu(settings.gpu_locks or lock_folder(), gpus)
    held.callback(claim.release)
    engine = EngineSettings(
        settings.engine,
        folder.assets,
        folder.scratch,
        settings.limits,
        device=settings.device,
        service_time_s=settings.service_time_s,
        environment=claim.environment,
        start_timeout_s=START_S if settings.device == "cpu" else GPU_START_S,
        log_format=settings.log_format,
    )
    return engine, folder


def _serve_metrics(pool: ProcessPool, service: RenderService, settings: ServerSettings) -> Callable[[], None]:
    # Imported here because everything else works without the package.
    try:
        from render_server.service.metrics import Metrics, serve_metrics
    except ImportError as error:
        raise MetricsUnusable("--metrics-port needs the package prometheus-client: install metasim[render]") from error
    try:
        return serve_metrics(Metrics(pool, service, os.getpid()), settings.host, settings.metrics_port)
    except OSError as error:
        where = f"{settings.host}:{settings.metrics_port}"
        raise MetricsUnusable(f"cannot serve metrics on {where}: {error.strerror}; choose another port") from error


def _stop_events(settings: ServerSettings) -> tuple[asyncio.Event, asyncio.Event]:
    loop = asyncio.get_running_loop()
    stop, kill = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            kill.set()
        stop.set()

    def on_stdin() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin.fileno())
            stop.set()
            kill.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    if settings.stop_with_stdin:
        loop.add_reader(sys.stdin.fileno(), on_stdin)
    return stop, kill


def _make_server(service: RenderService, settings: ServerSettings, counters: Counters) -> tuple[grpc.aio.Server, Any]:
    limits, token = settings.limits, settings.security.token
    server = grpc.aio.server(
        interceptors=[TokenCheck(token, counters)] if token else [],
        maximum_concurrent_rpcs=limits.streams + _OTHER_CALLS,
        options=[
            ("grpc.max_receive_message_length", limits.message_bytes),
            ("grpc.max_send_message_length", limits.message_bytes),
            ("grpc.so_reuseport", 0),
            # Clients ping to notice a connection that has gone silent.
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 1),
            # The worker pings too, or a client that was cut off would delay its end.
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 10_000),
        ],
    )
    server.add_generic_rpc_handlers((service.handler(),))
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return server, checks


def _bind(server: grpc.aio.Server, settings: ServerSettings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    credentials = settings.security.credentials()
    try:
        if credentials is None:
            port = server.add_insecure_port(f"{host}:{settings.port}")
        else:
            port = server.add_secure_port(f"{host}:{settings.port}", credentials)
    except RuntimeError as error:
        raise AddressUnusable(
            f"cannot listen on {host}:{settings.port}: it is in use or not an address of this machine; "
            "choose another --port (0 takes a free one) or --host"
        ) from error
    return f"{host}:{port}"


async def _report(checks: Any, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
    for name in ("", SERVICE):
        await checks.set(name, status)


async def _unless(event: asyncio.Event, work: Coroutine[None, None, _T]) -> _T:
    """Await `work`; raise `_Interrupted` if the event is set first."""
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise _Interrupted
    finally:
        waiting.cancel()
        working.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)
