"""The command line of the worker: `metasim-render`."""

import asyncio
import importlib.metadata
import json
import logging
import os
from typing import Annotated

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
    """Runs the command line."""
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
        typer.Option(help="Address to listen on. 127.0.0.1: this machine alone; 0.0.0.0: every network it is in."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on. 0: a free one.")] = 50051,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Engine processes. Default: one per CPU that this process may use.")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="blender; raster (sprite scenes, no Blender needed); fake (blobs, for tests).")
    ] = "blender",
    queue: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Tasks that a client may send beyond one per process. Default: 2 per process.",
        ),
    ] = None,
    task_timeout_s: Annotated[
        float, typer.Option(min=0.001, help="A process that takes longer for one task is taken to hang and replaced.")
    ] = 300.0,
    max_nodes: Annotated[int, typer.Option(min=1, max=65534, help="Nodes that a scene may have.")] = 10_000,
    max_pixels: Annotated[int, typer.Option(min=1, help="Pixels that an image may have.")] = 4096 * 4096,
    max_samples: Annotated[int, typer.Option(min=1, help="Samples per pixel that a task may ask for.")] = 65_536,
    max_asset_mib: Annotated[int, typer.Option(min=1, help="Size that one texture or mesh may have.")] = 64,
    cache_mib: Annotated[int, typer.Option(min=1, help="Disk space for textures and meshes.")] = 1024,
    max_message_mib: Annotated[int, typer.Option(min=1, max=2047, help="Size that one gRPC message may have.")] = 256,
    stop_with_stdin: Annotated[
        bool, typer.Option("--stop-with-stdin", help="End at once when standard input is closed.")
    ] = False,
    fake_service_ms: Annotated[
        float, typer.Option(min=0, help="With --engine fake: time that a task takes at least, in milliseconds.")
    ] = 0.0,
    log_level: Annotated[str, typer.Option(help="Least level to log: debug, info, warning or error.")] = "info",
) -> None:
    """Serve the rendering service until SIGTERM or Ctrl-C.

    Prints one line on standard output when it is ready: a JSON object whose "address" is what to give to a trainer's
    --renderer. On SIGTERM or Ctrl-C it finishes what is being rendered, gives back the rest and exits with 0.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # Its C core writes lines of its own beside our messages.
    # Only now, so that --help does not wait for gRPC.
    from metasim.memory import keep_freed_memory

    from render_server.engines import ENGINES
    from render_server.errors import EngineUnavailable, RenderServerError
    from render_server.limits import Limits
    from render_server.server import AddressUnusable, ServerSettings, serve

    if engine not in ENGINES:
        _fail(f"--engine {engine!r} is unknown; allowed: {', '.join(ENGINES)}", 2)
    levels = {"debug", "info", "warning", "error"}
    if log_level not in levels:
        _fail(f"--log-level {log_level!r} is unknown; allowed: debug, info, warning, error", 2)
    keep_freed_memory()
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    count = workers if workers is not None else len(os.sched_getaffinity(0))
    settings = ServerSettings(
        engine=engine,
        host=host,
        port=port,
        workers=count,
        queue=queue if queue is not None else 2 * count,
        limits=Limits(
            nodes=max_nodes,
            pixels=max_pixels,
            samples=max_samples,
            asset_bytes=max_asset_mib << 20,
            cache_bytes=cache_mib << 20,
            message_bytes=max_message_mib << 20,
            task_timeout_s=task_timeout_s,
        ),
        service_time_s=fake_service_ms / 1000,
        stop_with_stdin=stop_with_stdin,
    )

    def announce(address: str) -> None:
        typer.echo(json.dumps({"address": address, "engine": engine, "workers": count}))

    try:
        asyncio.run(serve(settings, announce))
    except (AddressUnusable, EngineUnavailable) as error:
        _fail(str(error), 2)
    except RenderServerError as error:
        _fail(str(error), 1)


def _fail(message: str, status: int) -> None:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(status)


if __name__ == "__main__":
    main()
