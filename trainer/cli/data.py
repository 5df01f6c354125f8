"""`metasim data`"""

from pathlib import Path
from typing import Annotated

import typer

from trainer.cli.commands import Commands

app = Commands(help="Fetch or locate datasets; write the assets that ship.")


@app.callback()
def _group() -> None:
    """Fetch or locate datasets; write the assets that ship."""


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
    from trainer.assets.mnist import fetch_mnist, find_mnist, verify_mnist
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


@app.command()
def assets(
    family: Annotated[
        str,
        typer.Argument(
            metavar="FAMILY", help="What `procedural:` takes in grammars, such as household or street-cars."
        ),
    ],
    labels: Annotated[
        list[str] | None, typer.Argument(metavar="LABEL", help="Items of these labels alone.", show_default="all")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The folder to make.", show_default="FAMILY")] = None,
) -> None:
    """Write meshes or images that the project makes by itself as files, a folder for each label.

    \b
    [bold]Examples[/bold]
    metasim data assets household mug bottle --out models
    metasim data assets aerial-trees
    """
    from trainer.assets.procedural.export import write_family

    folder = out or Path(family)
    written = write_family(family, folder, labels or ())
    typer.echo(f"{folder}: {len(written)} file{'s' if len(written) > 1 else ''}")
