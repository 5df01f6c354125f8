"""Options that several commands share."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from trainer.cli import completion

#: Defaults of --connect-timeout and --patience, in seconds.
CONNECT_TIMEOUT_S, PATIENCE_S = 30.0, 300.0

_RENDERING, _DATA = "Rendering", "Data"
_ENGINE_HELP = (
    "Engine of local workers: blender; raster (worlds of sprites, much faster, needs no Blender); "
    "fake (blobs, for tests)."
)

EngineName = Literal["blender", "raster", "fake"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]


Engine = Annotated[
    EngineName | None,
    typer.Option(help=_ENGINE_HELP, show_default="that of the experiment", rich_help_panel=_RENDERING),
]
Experiment = Annotated[
    str,
    typer.Argument(
        metavar="EXPERIMENT",
        help="An experiment or a grammar that ships, or a YAML file.",
        autocompletion=completion.experiments,
    ),
]
Source = Annotated[
    str,
    typer.Argument(
        metavar="RUN|GRAMMAR",
        help="A run folder (its learned model), or a grammar or experiment by name or file (its prior).",
        autocompletion=completion.sources,
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Settings that replace those of the experiment, e.g. render.samples=4; values are YAML.",
        show_default=False,
    ),
]
Renderer = Annotated[
    str,
    typer.Option(
        metavar="local|ENDPOINT",
        help="Render workers. [bold]local[/bold] starts workers on this machine for the duration of the command. An "
        "endpoint is HOST:PORT, or several separated by commas: workers started by [bold]metasim-render serve[/bold].",
        rich_help_panel=_RENDERING,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Number of local worker processes.",
        show_default="one per CPU that this process may use, or one on a GPU",
        rich_help_panel=_RENDERING,
    ),
]
RenderDevice = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda|optix|hip|oneapi|metal",
        help="Kind of device of local workers. [bold]auto[/bold]: the best kind that passes a test render. "
        "Not yet run on a GPU.",
        rich_help_panel=_RENDERING,
    ),
]
MixedDevices = Annotated[
    bool,
    typer.Option(
        "--mixed-devices",
        help="Accept workers with different engines, versions or kinds of devices. Results then depend on which worker "
        "renders what.",
        rich_help_panel=_RENDERING,
    ),
]
ConnectTimeout = Annotated[
    float,
    typer.Option(
        min=0.1,
        metavar="SECONDS",
        help="Timeout for reaching a first worker.",
        rich_help_panel=_RENDERING,
    ),
]
Patience = Annotated[
    float,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="Timeout for a worker to return when none is left.",
        rich_help_panel=_RENDERING,
    ),
]
Mnist = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder of MNIST's four idx files, plain or gzipped; see [bold]metasim data mnist[/bold].",
        show_default="METASIM_MNIST, then the usual places",
        rich_help_panel=_DATA,
    ),
]
Device = Annotated[
    DeviceName,
    typer.Option(
        help="Device that networks run on. [bold]auto[/bold] takes a GPU if there is one. Not yet run on a GPU.",
        rich_help_panel="Training",
    ),
]
Translate = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Translate the appearance of the images by a model of [bold]metasim translate fit[/bold].",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output and nothing else.")]


def seed_option(description: str) -> Any:
    """Return the option --seed.

    Args:
        description: shown by --help.
    """
    return typer.Option(min=0, metavar="N", help=description)


def with_pool(
    *, default_engine: str = "that of the experiment or of the run"
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command the options of the render pool.

    The command has a parameter `pool` and receives a `PoolOptions`.

    Args:
        default_engine: shown as the default of --engine.
    """
    engine = typer.Option(help=_ENGINE_HELP, show_default=default_engine, rich_help_panel=_RENDERING)
    annotations: dict[str, tuple[Any, Any]] = {
        "renderer": (Renderer, "local"),
        "engine": (Annotated[EngineName | None, engine], None),
        "workers": (Workers, None),
        "render_device": (RenderDevice, "cpu"),
        "mixed_devices": (MixedDevices, False),
        "connect_timeout": (ConnectTimeout, CONNECT_TIMEOUT_S),
        "patience": (Patience, PATIENCE_S),
    }
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in annotations.items()
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_pool_options(**given: Any) -> None:
            from trainer.pool import PoolOptions, PoolSettings

            chosen = {name: given.pop(name) for name in annotations}
            settings = PoolSettings(
                connect_timeout_s=chosen.pop("connect_timeout"),
                patience_s=chosen.pop("patience"),
                mixed_devices=chosen.pop("mixed_devices"),
            )
            command(**given, pool=PoolOptions(**chosen, settings=settings))

        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            parameters += (
                added if parameter.name == "pool" else [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
            )
        with_pool_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_pool_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return with_pool_options

    return decorate
