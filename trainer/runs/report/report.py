"""The report of a run: one HTML file that needs neither other files nor a network."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from trainer.runs.folder import Run, write_atomically
from trainer.runs.report.context import report_context


def write_report(run: Run) -> Path:
    """Write report.html into the run folder from what the run has recorded so far, and return its path.

    Raises:
        InputError: a file of the run is damaged.
    """
    path = run.folder / "report.html"
    write_atomically(path, _environment().get_template("report.html.j2").render(report_context(run)))
    return path


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("trainer.runs.report"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
