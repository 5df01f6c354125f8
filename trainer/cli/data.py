"""`metasim data`"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from trainer.cli.commands import Commands

app = Commands(help="Find, download and verify datasets; write the procedural assets.")


@app.callback()
def _group() -> None:
    """Find, download and verify datasets; write the procedural assets."""


@app.command()
def mnist(
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the files.",
            show_default="METASIM_MNIST, the folder where they are found, or ~/.cache/metasim/mnist",
        ),
    ] = None,
) -> None:
    """Find MNIST, or download it (11 MB). Verify its checksums and print its folder.

    \b
    [bold]Examples[/bold]
    metasim data mnist
    metasim train mnist-rot --mnist "$(metasim data mnist --out data/mnist)"
    """
    from trainer.assets.mnist import fetch_mnist, find_mnist, verify_mnist
    from trainer.environment import Settings
    from trainer.errors import InputError

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


def _photographs(name: str, content: str) -> Callable[..., None]:
    """Return the command of a collection of photographs."""

    def command(
        folder: Annotated[
            Path | None,
            typer.Argument(
                metavar="FOLDER",
                help="Folder of the photographs.",
                show_default="METASIM_DATA, ../shared/data, or ~/.cache/metasim",
            ),
        ] = None,
        out: Annotated[
            Path | None,
            typer.Option(
                metavar="DIR",
                help="Copy them with their labels: two of three to DIR/target, every third to DIR/test.",
                show_default=False,
            ),
        ] = None,
    ) -> None:
        from trainer.datasets.photographs import find_photographs, verify_photographs, write_parts
        from trainer.environment import expanded

        found = find_photographs(name, None if folder is None else expanded(folder))
        photographs = verify_photographs(name, found)
        typer.echo(found)
        if out is not None:
            counts = write_parts(photographs, expanded(out))
            typer.echo(f"{out}: {counts['target']} photographs in target, {counts['test']} in test", err=True)

    command.__doc__ = f"""Find and verify {content}. If they are missing, explain how to get them.

    Prints their folder. Learning uses no labels of DIR/target; tests use those of DIR/test.

    \b
    [bold]Examples[/bold]
    metasim data {name}
    metasim data {name} --out photos/{name}
    metasim train {name} --target photos/{name}/target
    """
    return command


app.command("screws")(_photographs("screws", "60 photographs of screws in a block of wood"))
app.command("coins")(_photographs("coins", "64 photographs of euro coins"))
app.command("blood")(_photographs("blood", "292 photographs of blood cells (BCCD)"))
app.command("kitti")(_photographs("kitti", "the first 60 frames of KITTI's object benchmark"))


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
