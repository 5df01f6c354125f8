"""`metasim evaluate`"""

from pathlib import Path
from typing import Annotated, Any

import typer

from trainer.cli import completion, options
from trainer.cli.tables import aligned, echo_json


def evaluate(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run folder, e.g. runs/mnist-rot.", autocompletion=completion.runs),
    ],
    train_images: Annotated[
        int | None,
        typer.Option(
            min=100, metavar="N", help="Images that each task network is trained on.", show_default="the task's own"
        ),
    ] = None,
    test_images: Annotated[
        int, typer.Option(min=10, metavar="N", help="Fresh target images that both are tested on.")
    ] = 5_000,
    renderer: options.Renderer = "local",
    engine: options.Engine = None,
    workers: options.Workers = None,
    connect_timeout: options.ConnectTimeout = options.CONNECT_TIMEOUT_S,
    mnist: options.Mnist = None,
    json: options.Json = False,
) -> None:
    """Measure what the learned data is worth: the paper's tables 1 and 2.

    Trains the task network from scratch on data from the prior and on data from the learned model, and tests both on
    target images that training has never seen. Also says how far the attributes of both are from the target's, on
    average (Wasserstein distance). All of it also goes into RUN/summary.json, the scores into the report.

    \b
    [bold]Examples[/bold]
    metasim evaluate runs/mnist-rot
    metasim evaluate runs/mnist-rot --engine raster --json
    """
    from trainer.console import console_progress

    with console_progress() as progress:
        from trainer.evaluate import EvaluateOptions
        from trainer.evaluate import evaluate as run_evaluation
        from trainer.pool import PoolSettings
        from trainer.reports.report import write_report
        from trainer.run import Run

        scores = run_evaluation(
            EvaluateOptions(
                run=run,
                renderer=renderer,
                engine=engine,
                workers=workers,
                mnist=mnist,
                train_images=train_images,
                test_images=test_images,
                pool=PoolSettings(connect_timeout_s=connect_timeout),
            ),
            progress,
        )
        progress.stage("write the report")
        page = write_report(Run.open(run))
    if json:
        echo_json({"run": str(run), "report": str(page), **scores})
    else:
        typer.echo(f"{_table(scores)}\n\nAlso in {run / 'summary.json'} and {page}")


def _table(scores: dict[str, Any]) -> str:
    head = f"{scores['task']}, tested on {scores['test_images']:,} unseen target images"
    names = list(scores["scores"]["prior"])
    rows = [[f"  trained on {scores['train_images']:,} images of the", *names]]
    for words, key in (("prior", "prior"), ("learned model", "learned")):
        rows.append([f"    {words}", *(f"{scores['scores'][key][name]:.1%}" for name in names)])
    far = [["  distance from the target's", "prior", "learned", "smaller by"]]
    for name, item in scores["distances"].items():
        smaller = f"{1 - item['learned'] / item['prior']:.0%}" if item["prior"] else "-"
        far.append([f"    {name} ({item['unit']})", f"{item['prior']:.2f}", f"{item['learned']:.2f}", smaller])
    return "\n".join([head, aligned(rows), "", aligned(far)])
