"""`metasim dataset`"""

from pathlib import Path
from typing import Annotated

import typer

from trainer.cli import options
from trainer.cli.commands import Commands
from trainer.cli.tables import echo_json

app = Commands(help="Put datasets together.")


@app.callback()
def _group() -> None:
    """Put datasets together."""


@app.command()
def merge(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The dataset to make, as `generate --out` named it.")],
    json: options.Json = False,
) -> None:
    """Make one dataset of the parts in OUT.parts, which `metasim generate --shard I/N` made on one or more machines.

    It has the same bytes as a dataset that was made in one piece. The parts stay; hard links save their space.

    \b
    [bold]Example[/bold]
    metasim generate my-street.yaml --count 100000 --format coco --out street --shard 0/2
    metasim generate my-street.yaml --count 100000 --format coco --out street --shard 1/2
    metasim dataset merge street
    """
    from trainer.datasets.merging import merge_parts

    summary = merge_parts(out)
    if json:
        echo_json(summary)
    else:
        typer.echo(f"{out}: {summary['count']:,} images ({summary['format']}) of {summary['parts']} parts")
