"""`metasim dataset`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainer.cli import options
from trainer.cli.commands import Commands
from trainer.cli.text_tables import aligned, echo_json

if TYPE_CHECKING:
    from trainer.pool import PoolOptions

app = Commands(help="Merge parts of datasets; compare labels with a run's.")


@app.callback()
def _group() -> None:
    """Merge parts of datasets; compare labels with a run's."""


@app.command()
def merge(
    out: Annotated[
        str, typer.Argument(metavar="OUT", help="The dataset to make: the folder or URL of `generate --out`.")
    ],
    json: options.Json = False,
) -> None:
    """Merge the parts in OUT.parts, made by `metasim generate --shard I/N` on one or more machines, into one dataset.

    The result has the same bytes as a dataset made in one piece. Parts in a folder are kept; hard links save their
    space. In an object store nothing is copied: the card is written, and OUT.parts is deleted.

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


@app.command()
@options.with_pool()
def compare(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    photos: Annotated[
        Path, typer.Argument(metavar="DIR", help="Labelled photographs, in any layout of docs/datasets.md.")
    ],
    scenes: Annotated[int, typer.Option(min=10, metavar="N", help="Scenes of each model that are rendered.")] = 500,
    *,
    pool: "PoolOptions",
    mnist: options.Mnist = None,
    json: options.Json = False,
) -> None:
    """Compare counts, class shares and sizes of objects between a run and labelled photographs.

    Sizes are square roots of the areas of boxes that lie completely in the frame. The 95 % intervals are bootstrapped
    over the photographs.

    \b
    [bold]Example[/bold]
    metasim dataset compare runs/blood photos/blood/test
    """
    from trainer.cli.console import console_progress
    from trainer.runs.label_statistics import compare_labels

    with console_progress() as progress:
        found = compare_labels(run, photos, scenes=scenes, pool=pool, mnist=mnist, progress=progress)
    if json:
        echo_json({"run": str(run), **found})
    else:
        typer.echo(_statistics(found))


def _statistics(found: dict[str, Any]) -> str:
    """Return the table of a comparison."""
    head = ["", "prior", "learned", f"{found['photographs']:,} photographs (95 % interval)"]
    rows, before = [head], None
    for row in found["statistics"]:
        if row["statistic"] != before:
            before = row["statistic"]
            rows.append([f"{before} ({row['unit']})" if row["unit"] else before, "", "", ""])

        def text(value: float | None, unit: str = row["unit"]) -> str:
            if value is None:
                return "-"
            return f"{100 * value:.1f}" if unit == "%" else f"{value:.1f}" if unit else f"{value:.2f}"

        ends = f" ({text(row['interval'][0])} to {text(row['interval'][1])})" if row["interval"] else ""
        rows.append(
            [f"  {row['class']}", text(row["prior"]), text(row["learned"]), f"{text(row['photographs'])}{ends}"]
        )
    return aligned(rows)
