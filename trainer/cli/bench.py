"""`metasim bench`"""

from typing import Annotated, Any

import typer

from trainer.cli import options
from trainer.cli.tables import aligned, echo_json

app = typer.Typer(help="Measure this machine.", no_args_is_help=True, rich_markup_mode="rich")


@app.callback()
def _group() -> None:
    """Measure this machine."""


@app.command()
def pool(
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Worker processes.")] = 2,
    tasks: Annotated[int, typer.Option(min=1, metavar="N", help="Tasks per run.")] = 400,
    repeats: Annotated[int, typer.Option(min=1, metavar="N", help="Runs per load; the median counts.")] = 3,
    json: options.Json = False,
) -> None:
    """Measure the share of the workers' time that is lost to gRPC, (de)serialization and waiting.

    \b
    [bold]Example[/bold]
    metasim bench pool --workers 2 --json
    """
    from trainer.bench_pool import bench_pool

    result: dict[str, Any] = bench_pool(workers=workers, tasks=tasks, repeats=repeats)
    if json:
        echo_json(result)
        return
    rows = [["load", "overhead"], *([name, f"{share:.1%}"] for name, share in result["overhead"].items())]
    typer.echo(aligned(rows))
