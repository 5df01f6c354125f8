"""`metasim doctor`"""

from typing import Annotated

import typer

from trainer.cli import options
from trainer.cli.text_tables import aligned, echo_json


def doctor(
    renderer: Annotated[
        str,
        typer.Option(
            metavar="local|ENDPOINT",
            help="Workers to check: [bold]local[/bold] looks for Blender on this machine, an endpoint (HOST:PORT, or "
            "several separated by commas) for its workers.",
        ),
    ] = "local",
    json: options.Json = False,
) -> None:
    """Check whether this machine can train, and show how to install what is missing.

    Exits with 0 if [bold]metasim train mnist-rot[/bold] can run, else with 1.

    \b
    [bold]Examples[/bold]
    metasim doctor
    metasim doctor --renderer render-1:50051 --json
    """
    from dataclasses import asdict

    from trainer.checks.machine import can_run, examine

    findings = examine(renderer)
    good = can_run(findings)
    if json:
        echo_json({"can_run": good, "findings": [asdict(finding) for finding in findings]})
    else:
        rows = [
            [
                "ok" if finding.ok else "MISSING" if finding.needed else "missing",
                finding.name,
                f"{finding.detail}; {finding.advice}" if finding.advice else finding.detail,
            ]
            for finding in findings
        ]
        typer.echo(aligned(rows, numbers_from=3))
        lacking = [finding.name for finding in findings if finding.needed and not finding.ok]
        typer.echo()
        typer.echo(f"Cannot train yet. Missing: {', '.join(lacking)}." if lacking else "Ready: metasim train mnist-rot")
    if not good:
        raise typer.Exit(1)
