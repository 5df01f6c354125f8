"""`metasim data`"""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Fetch or locate real datasets, and verify them.", no_args_is_help=True, rich_markup_mode="rich")


@app.callback()
def _group() -> None:
    """Fetch or locate real datasets, and verify them."""


@app.command()
def mnist(
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the files are or shall be.",
            show_default="METASIM_MNIST, where they are found, or ~/.cache/metasim/mnist",
        ),
    ] = None,
) -> None:
    """Locate MNIST, or fetch it from its mirrors (11 MB); verify its checksums, and print where it is.

    \b
    [bold]Examples[/bold]
    metasim data mnist
    metasim train mnist-rot --mnist "$(metasim data mnist --out data/mnist)"
    """
    from trainer.data.mnist import fetch_mnist, find_mnist, verify_mnist
    from trainer.errors import InputError
    from trainer.settings import Settings

    settings = Settings.from_environment()
    chosen = out or settings.mnist
    try:
        found = find_mnist(chosen, settings)
    except InputError:  # It lacks a file.
        found = None
    if found is None:
        found = fetch_mnist(
            chosen or settings.cache / "mnist", on_file=lambda name: typer.echo(f"fetching {name}", err=True)
        )
    verify_mnist(found)
    typer.echo(found)
