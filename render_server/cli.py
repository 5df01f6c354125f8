"""The command line of the worker: `metasim-render`."""

import asyncio
import dataclasses
import importlib.metadata
import json
import logging
import os
from pathlib import Path
from typing import Annotated, NoReturn

import typer

app = typer.Typer(
    name="metasim-render",
    help="Renders scene graphs for Meta-Sim trainers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line."""
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"metasim-render {importlib.metadata.version('metasim')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Renders scene graphs for Meta-Sim trainers."""


@app.command()
def serve(
    host: Annotated[
        str,
        typer.Option(
            envvar="METASIM_RENDER_HOST",
            help="Address to listen on. 127.0.0.1: this machine only; 0.0.0.0: every network.",
        ),
    ] = "127.0.0.1",
    # Without a variable: Kubernetes sets METASIM_RENDER_PORT to a URL where a service is called metasim-render.
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on. 0: a free one.")] = 50051,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            envvar="METASIM_RENDER_WORKERS",
            help="Number of engine processes, bounded by CPUs and memory. Default: one per CPU that this process "
            "may use; on a GPU one. 0: on a GPU as many as render small scenes fastest, which is measured at the "
            "start (not yet run on a GPU).",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            envvar="METASIM_RENDER_ENGINE",
            help="blender; raster (sprite scenes, no Blender needed); fake (blobs, for tests).",
        ),
    ] = "blender",
    device: Annotated[
        str,
        typer.Option(
            envvar="METASIM_RENDER_DEVICE",
            help="cpu, or cuda, optix, hip, oneapi or metal: a kind of GPU. auto: the best kind that renders a first "
            "image. Images may differ between kinds, so all workers of a pool need the same. Not yet run on a GPU.",
        ),
    ] = "cpu",
    queue: Annotated[
        int | None,
        typer.Option(
            min=0,
            envvar="METASIM_RENDER_QUEUE",
            help="Tasks that a client may send beyond one per process, or more if they are short. Default: 2 each.",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            envvar="METASIM_RENDER_TLS_CERT", metavar="FILE", help="Encrypt: the server's certificate chain, PEM."
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(envvar="METASIM_RENDER_TLS_KEY", metavar="FILE", help="The certificate's private key, PEM."),
    ] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(
            envvar="METASIM_RENDER_TLS_CLIENT_CA",
            metavar="FILE",
            help="Mutual TLS: accept only clients with a certificate of these authorities, PEM.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            envvar="METASIM_RENDER_TOKEN_FILE",
            metavar="FILE",
            help="Accept only calls with the metadata 'authorization: Bearer TOKEN', with the token in this file. "
            "Health checks need none.",
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            envvar="METASIM_RENDER_INSECURE",
            help="Listen to other machines without TLS or token. For networks in which every machine is trusted.",
        ),
    ] = False,
    metrics_port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65535,
            envvar="METASIM_RENDER_METRICS_PORT",
            help="Serve metrics for Prometheus on this port of --host, without TLS or token. 0: no metrics.",
        ),
    ] = 0,
    log_level: Annotated[
        str,
        typer.Option(envvar="METASIM_RENDER_LOG_LEVEL", help="Lowest level to log: debug, info, warning or error."),
    ] = "info",
    log_format: Annotated[
        str,
        typer.Option(envvar="METASIM_RENDER_LOG_FORMAT", help="text, or json: one JSON object per line."),
    ] = "text",
    max_memory: Annotated[
        int | None,
        typer.Option(
            min=0,
            envvar="METASIM_RENDER_MAX_MEMORY",
            metavar="MB",
            help="Memory that one engine process may hold, in MB. A process that exceeds it is killed; from three "
            "quarters of it on, the process is replaced after its task. 0: unbounded. Default: 4096, or an equal share "
            "of 80 % of the memory of this machine or container where that is less.",
        ),
    ] = None,
    recycle_after: Annotated[
        int,
        typer.Option(
            min=0,
            envvar="METASIM_RENDER_RECYCLE_AFTER",
            metavar="N",
            help="Replace each engine process after N tasks. 0: never.",
        ),
    ] = 0,
    task_timeout_s: Annotated[
        float,
        typer.Option(
            min=0.001, help="Longest time that a process may take for one task before it is replaced, in seconds."
        ),
    ] = 300.0,
    max_nodes: Annotated[int, typer.Option(min=1, max=65534, help="Largest number of nodes of a scene.")] = 10_000,
    max_pixels: Annotated[int, typer.Option(min=1, help="Largest number of pixels of an image.")] = 4096 * 4096,
    max_samples: Annotated[int, typer.Option(min=1, help="Largest number of samples per pixel.")] = 65_536,
    max_total_samples: Annotated[
        float, typer.Option(min=1, help="Largest number of samples of all pixels of all renders of a task.")
    ] = 1e12,
    max_texture_pixels: Annotated[int, typer.Option(min=1, help="Largest number of pixels of a texture.")] = 4096
    * 4096,
    max_vertices: Annotated[int, typer.Option(min=1, help="Largest number of vertices of a mesh.")] = 20_000_000,
    max_asset_mib: Annotated[int, typer.Option(min=1, help="Largest size of one texture or mesh.")] = 64,
    cache_mib: Annotated[
        int, typer.Option(min=1, envvar="METASIM_RENDER_CACHE_MIB", help="Disk space for textures and meshes.")
    ] = 1024,
    max_message_mib: Annotated[int, typer.Option(min=1, max=2047, help="Largest size of one gRPC message.")] = 256,
    max_clients: Annotated[int, typer.Option(min=1, help="Largest number of connected clients.")] = 64,
    max_held_tasks: Annotated[
        int,
        typer.Option(
            min=1, help="Largest number of unanswered tasks of all clients; further ones are to be sent again later."
        ),
    ] = 1024,
    max_held_mib: Annotated[
        int, typer.Option(min=1, help="Largest size of these and of unsent answers; the same happens beyond it.")
    ] = 1024,
    gpu_locks: Annotated[
        Path | None,
        typer.Option(
            envvar="METASIM_RENDER_GPU_LOCKS",
            metavar="FOLDER",
            help="Folder in which the workers of this machine lock one GPU each. Containers need a common volume. "
            "Default: a folder for temporary files.",
        ),
    ] = None,
    reserved_gpu: Annotated[
        str,
        typer.Option(
            envvar="METASIM_RENDER_RESERVED_GPU",
            metavar="GPU",
            help="Place (0, 1, ...) or UUID of an NVIDIA GPU that is left to the trainer where there is another one.",
        ),
    ] = "",
    stop_with_stdin: Annotated[
        bool, typer.Option("--stop-with-stdin", help="End at once when standard input is closed.")
    ] = False,
    fake_service_ms: Annotated[
        float, typer.Option(min=0, help="With --engine fake: shortest time that a task takes, in milliseconds.")
    ] = 0.0,
) -> None:
    """Serve the rendering service until SIGTERM or Ctrl-C.

    When ready it prints one line on standard output: a JSON object whose "address" is for the trainer's --renderer. On
    SIGTERM or Ctrl-C it finishes the tasks that are being rendered, gives back the others and exits with 0.

    A worker that listens to other machines needs TLS, a token or --insecure.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's C core would log lines of its own.
    # Imported here so that --help does not wait for gRPC.
    from metasim.memory import keep_freed_memory

    from render_server.devices import AUTO, DEVICES, find_device
    from render_server.engines import ENGINES
    from render_server.errors import RenderServerError
    from render_server.limits import Limits
    from render_server.log_format import LOG_FORMATS, LOG_LEVELS, configure_logging
    from render_server.processes.memory import machine_bytes, memory_share, most_processes
    from render_server.processes.recycling import RecyclingPolicy
    from render_server.server import UNUSABLE, ServerSettings, processes_per_device, serve
    from render_server.service.security import SecurityUnusable, load_security, refuse_exposure

    _require("--engine", engine, ENGINES)
    _require("--device", device, (AUTO, *DEVICES))
    _require("--log-level", log_level, LOG_LEVELS)
    _require("--log-format", log_format, LOG_FORMATS)
    configure_logging(log_level, log_format)
    try:
        security = load_security(tls_cert, tls_key, tls_client_ca, token_file)
        refuse_exposure(host, security, insecure=insecure)
    except SecurityUnusable as error:
        _fail(str(error), 2)
    keep_freed_memory()
    try:
        found = find_device(engine, device)
    except RenderServerError as error:
        _fail(str(error), 2)
    if device == AUTO or found.kind != "cpu":
        logging.getLogger(__name__).info("renders on %s%s", found.label, f" ({found.remark})" if found.remark else "")
    # A GPU is busy with one process; scenes of few pixels leave room for more.
    most = most_processes(engine)
    count = workers or (min(len(os.sched_getaffinity(0)), most) if found.kind == "cpu" else 1)
    if count > most:
        machine = f"{len(os.sched_getaffinity(0))} CPUs and {machine_bytes() / 2**30:.1f} GiB of memory"
        _fail(f"--workers {count} is too many for {machine}; it must be at most {most}", 2)
    settings = ServerSettings(
        engine=engine,
        device=found.kind,
        host=host,
        port=port,
        workers=count,
        queue=queue if queue is not None else 2 * count,
        limits=Limits(
            nodes=max_nodes,
            pixels=max_pixels,
            samples=max_samples,
            total_samples=int(max_total_samples),
            asset_bytes=max_asset_mib << 20,
            texture_pixels=max_texture_pixels,
            vertices=max_vertices,
            cache_bytes=cache_mib << 20,
            message_bytes=max_message_mib << 20,
            held_tasks=max_held_tasks,
            held_bytes=max_held_mib << 20,
            streams=max_clients,
            task_timeout_s=task_timeout_s,
        ),
        service_time_s=fake_service_ms / 1000,
        stop_with_stdin=stop_with_stdin,
        security=security,
        recycling=RecyclingPolicy(recycle_after, memory_share(count) if max_memory is None else max_memory << 20),
        metrics_port=metrics_port,
        log_format=log_format,
        gpu_locks=gpu_locks,
        reserved_gpu=reserved_gpu,
    )
    if workers == 0 and found.kind != "cpu":
        try:
            count = asyncio.run(processes_per_device(settings, most))
        except RenderServerError as error:
            _fail(str(error), 2)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        logging.getLogger(__name__).info("%d processes render on one device", count)
        settings = dataclasses.replace(
            settings,
            workers=count,
            queue=2 * count if queue is None else queue,
            recycling=RecyclingPolicy(recycle_after, memory_share(count) if max_memory is None else max_memory << 20),
        )

    def announce(address: str) -> None:
        typer.echo(json.dumps({"address": address, "engine": engine, "device": found.kind, "workers": count}))

    try:
        asyncio.run(serve(settings, announce))
    except UNUSABLE as error:
        _fail(str(error), 2)
    except RenderServerError as error:
        _fail(str(error), 1)


def _require(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        _fail(f"{option} {value!r} is unknown; allowed: {', '.join(allowed)}", 2)


def _fail(message: str, status: int) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(status)


if __name__ == "__main__":
    main()
