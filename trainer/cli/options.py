"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

_RENDERING, _DATA = "Rendering", "Data"
ENGINE_HELP = (
    "What local workers render with: blender; raster (worlds of sprites, much faster, needs no Blender); "
    "fake (blobs, for tests)."
)

EngineName = Literal["blender", "raster", "fake"]
Renderer = Annotated[
    str,
    typer.Option(
        metavar="local|ENDPOINT",
        help="Who renders. [bold]local[/bold] starts workers on this machine, which end with the command. An endpoint "
        "is HOST:PORT, or several separated by commas: workers that [bold]metasim-render serve[/bold] started there.",
        rich_help_panel=_RENDERING,
    ),
]
Engine = Annotated[
    EngineName | None,
    typer.Option(
        help=ENGINE_HELP,
        show_default="what the experiment or the run says",
        rich_help_panel=_RENDERING,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Local worker processes.",
        show_default="one per CPU that this process may use",
        rich_help_panel=_RENDERING,
    ),
]
ConnectTimeout = Annotated[
    float,
    typer.Option(
        min=0.1,
        metavar="SECONDS",
        help="How long to try to reach a first worker.",
        rich_help_panel=_RENDERING,
    ),
]
Patience = Annotated[
    float,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="How long to wait for a worker when none is left, before giving up.",
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
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else there.")]

#: Seconds that --connect-timeout is by default.
CONNECT_TIMEOUT_S = 30.0
#: Seconds that --patience is by default.
PATIENCE_S = 300.0
