"""`metasim bench`"""

from typing import Annotated, Any, Literal

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
    only: Annotated[
        Literal["real", "simulated"] | None,
        typer.Option(
            help="real: the workers of this machine; simulated: 200 that only take their time.", show_default="both"
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Measure the share of the workers' time that is lost to the wire, and how busy a crowd of workers is kept.

    \b
    [bold]Example[/bold]
    metasim bench pool --workers 2 --json
    """
    from trainer.bench_pool import bench_pool
    from trainer.bench_simulated import bench_crowds

    result: dict[str, Any] = {}
    if only != "simulated":
        result |= bench_pool(workers=workers, tasks=tasks, repeats=repeats)
    if only != "real":
        result["simulated"] = bench_crowds(repeats=repeats)
    if json:
        echo_json(result)
        return
    if "overhead" in result:
        typer.echo(aligned([["load", "overhead"], *([name, f"{x:.1%}"] for name, x in result["overhead"].items())]))
    if "simulated" in result:
        rows = [["simulated workers", "of ideal throughput", "makespan / ideal", "cores of the client"]]
        for name, found in result["simulated"]["crowds"].items():
            figures = found["throughput_share"], found["makespan_ratio"], found["client_cores"]
            rows.append([name, f"{figures[0]:.1%}", f"{figures[1]:.2f}", f"{figures[2]:.2f}"])
        typer.echo(aligned(rows))
