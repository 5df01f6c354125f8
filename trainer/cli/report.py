"""`metasim report`"""

from pathlib import Path
from typing import Annotated

import typer

from trainer.cli import completion


def report(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run folder, e.g. runs/mnist-rot.", autocompletion=completion.runs),
    ],
) -> None:
    """Rewrite RUN/report.html: pictures, learning curves, distributions, scores, and the commands that reproduce them.

    \b
    [bold]Example[/bold]
    metasim report runs/mnist-rot
    """
    from trainer.runs.folder import Run
    from trainer.runs.report.report import write_report

    typer.echo(write_report(Run.open(run)))
