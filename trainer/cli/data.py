"""`metasim data`"""

from pathlib import Path
from typing import Annotated

import typer

from trainer.cli.commands import Commands

app = Commands(help="Download datasets and write the procedural assets.")


@app.callback()
def _group() -> None:
    """Download datasets and write the procedural assets."""


@app.command()
def mnist(
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the files.",
            show_default="METASIM_MNIST, where they are found, or ~/.cache/metasim/mnist",
        ),
    ] = None,
) -> None:
    """Find MNIST, or download it (11 MB). Verifies its checksums and prints its folder.

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
    except InputError:  # A file is missing.
        found = None
    if found is None:
        found = fetch_mnist(
            chosen or settings.cache / "mnist", on_file=lambda name: typer.echo(f"downloading {name}", err=True)
        )
    verify_mnist(found)
    typer.echo(found)


@app.command()
def assets(
    family: Annotated[
        str,
        typer.Argument(
            metavar="FAMILY", help="Family of assets, as in `procedural:` of grammars: household, street-cars ..."
        ),
    ],
    labels: Annotated[
        list[str] | None, typer.Argument(metavar="LABEL", help="Only items with these labels.", show_default="all")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder to create.", show_default="FAMILY")] = None,
) -> None:
    """Write procedural meshes or images to files, one folder per label.

    \b
    [bold]Examples[/bold]
    metasim data assets household mug bottle --out models
    metasim data assets aerial-trees
    """
    from trainer.assets.procedural.export import write_family

    folder = out or Path(family)
    written = write_family(family, folder, labels or ())
    typer.echo(f"{folder}: {len(written)} file{'s' if len(written) > 1 else ''}")
