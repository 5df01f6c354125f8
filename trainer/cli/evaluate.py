"""`metasim evaluate`"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainer.cli import completion, options
from trainer.cli.assignments import parse_assignments
from trainer.cli.text_tables import aligned, echo_json

if TYPE_CHECKING:
    from trainer.pool import PoolOptions


@options.with_pool()
def evaluate(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run folder, e.g. runs/mnist-rot.", autocompletion=completion.runs),
    ],
    assignments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings of the task network that replace those of the experiment: trunk=natural, epochs=30 ...",
            show_default=False,
        ),
    ] = None,
    train_images: Annotated[
        int | None,
        typer.Option(
            min=100, metavar="N", help="Images that each task network is trained on.", show_default="the task's own"
        ),
    ] = None,
    test_images: Annotated[int, typer.Option(min=10, metavar="N", help="Largest number of test images.")] = 5_000,
    test: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Labelled test photos in any layout of docs/datasets.md. They must not be part of the run's target.",
            show_default="images of the target",
        ),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Labelled photos to train on, for --fine-tune and --real; none may be a test image.",
            show_default="images of the target",
        ),
    ] = None,
    real: Annotated[
        bool | None,
        typer.Option(
            "--real/--no-real",
            help="Also train on labelled images of the target alone, and state how much of the gap between prior and "
            "real data the learned data closes.",
            show_default="if there are labelled photos outside the test set",
        ),
    ] = None,
    networks: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Train N networks on the same images; scores are means ± standard deviations."
        ),
    ] = 1,
    stages: Annotated[
        bool, typer.Option("--stages", help="Also score the model at the end of each training stage (table 3).")
    ] = False,
    fine_tune: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Also score each network after fine-tuning on N labelled images of the target, none of "
            "which is a test image (table 5).",
            show_default=False,
        ),
    ] = None,
    translate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also score the learned data with its appearance translated by a model of [bold]metasim translate "
            "fit[/bold] (table 4).",
            show_default=False,
        ),
    ] = None,
    *,
    pool: "PoolOptions",
    mnist: options.Mnist = None,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Score task networks trained on the learned data: the paper's tables 1 to 5.

    Trains one task network on data from the prior and one on data from the learned model. Tests both on images of the
    target: new renders, the labelled photos of --target, or those of --test. Intervals are bootstrapped over the test
    images. Also prints distances from the target: of attributes (Wasserstein) and of images (MMD² and KID in the run's
    feature space).

    \b
    [bold]Examples[/bold]
    metasim evaluate runs/mnist-rot
    metasim evaluate runs/mnist-rot --engine raster --json
    metasim evaluate runs/driving-city --stages --fine-tune 100 --networks 3
    metasim evaluate runs/coins trunk=natural --test photos/test --validation photos/labelled --fine-tune 20
    """
    from trainer.cli.console import console_progress
    from trainer.progress import Step

    with console_progress(then=[Step("write the report", 3.0)]) as progress:
        from trainer.evaluate import EvaluateOptions
        from trainer.evaluate import evaluate as run_evaluation
        from trainer.runs.folder import Run
        from trainer.runs.report.report import write_report

        scores = run_evaluation(
            EvaluateOptions(
                run=run,
                mnist=mnist,
                train_images=train_images,
                test_images=test_images,
                networks=networks,
                stages=stages,
                fine_tune=fine_tune,
                test=test,
                validation=validation,
                real=real,
                translate=translate,
                device=device,
                task_settings=parse_assignments(assignments or ()),
                pool=pool,
            ),
            progress,
        )
        progress.step("write the report")
        page = write_report(Run.open(run))
    if json:
        echo_json({"run": str(run), "report": str(page), **scores})
    else:
        typer.echo(f"{_table(scores)}\n\nAlso in {run / 'summary.json'} and {page}")


def _table(found: dict[str, Any]) -> str:
    return "\n\n".join([_scores(found), *_counts(found), *_distances(found), _images(found)])


def _scores(found: dict[str, Any]) -> str:
    if "scores" not in found:
        return f"{found['task']} is not scored: {found['not_scored']}"
    unseen = "unseen target images" if found["unseen"] else "images of the target"
    names = list(found["scores"]["prior"])
    head = [*names, *_extra_columns(found)]
    rows = [[f"  trained on {found['train_images']:,} images of the", *head]]
    rows += _rows(found, found, "scores", names)
    if "real" in found["scores"]:
        rows.append([f"  trained on {found['real_images']:,} labelled images of the target", *([""] * len(head))])
        rows.append(_row("these alone", _Columns.of(found, "real"), found, names))
    if "fine_tuned" in found:
        tuned = found["fine_tuned"]
        rows.append([f"  and on {tuned['images']:,} labelled images of the target", *([""] * len(head))])
        rows += _rows(found, tuned, "fine_tuned", names)
    several = found.get("networks", 1)
    what = f"; mean ± standard deviation of {several} networks" if several > 1 else ""
    return f"{found['task']}, tested on {found['test_images']:,} {unseen}{what}\n{aligned(rows)}"


def _extra_columns(found: dict[str, Any]) -> list[str]:
    """Return the titles of the columns beside the scores."""
    titles = [f"95% interval of {found['metric']}"] if "intervals" in found else []
    return [*titles, "gap closed"] if "gap_closed" in found else titles


@dataclass(frozen=True)
class _Columns:
    """The scores of one model."""

    scores: dict[str, float]
    deviations: dict[str, float] | None = None
    intervals: dict[str, list[float] | None] | None = None
    gap_closed: dict[str, Any] | None = None

    @classmethod
    def of(cls, every: dict[str, Any], name: str) -> "_Columns":
        """Return an evaluation's entry of a model."""
        return cls(*(every.get(part, {}).get(name) for part in ("scores", "deviations", "intervals", "gap_closed")))

    @classmethod
    def of_stage(cls, stage: dict[str, Any], key: str) -> "_Columns":
        """Return an evaluation's entry of a stage."""
        return cls(stage[key], *(stage.get(f"{key}_{part}") for part in ("deviations", "intervals", "gap_closed")))


def _models(found: dict[str, Any], ends: dict[str, Any], key: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the models to compare, each with its results.

    Args:
        ends: results of the prior and the learned model.
        key: key of the same results in a stage.
    """
    stages = found.get("stages")
    translated = [("learned + translated", ends["translated"])] if "translated" in ends else []
    if not stages:
        return [("prior", ends["prior"]), ("learned model", ends["learned"]), *translated]
    names = [f"+ {stage['name']}" if number else stage["name"] for number, stage in enumerate(stages)]
    return [("prior", ends["prior"]), *zip(names, (stage[key] for stage in stages), strict=True), *translated]


def _rows(found: dict[str, Any], every: dict[str, Any], key: str, names: list[str]) -> list[list[str]]:
    """Return a row for each model.

    Args:
        every: scores of the prior, the learned model and, if known, the target's images.
        key: key of the same scores in a stage.
    """
    rows = [("these alone", _Columns.of(every, "target"))] if "target" in every["scores"] else []
    rows.append(("prior", _Columns.of(every, "prior")))
    stages = found.get("stages") or []
    for number, stage in enumerate(stages):
        rows.append((f"+ {stage['name']}" if number else stage["name"], _Columns.of_stage(stage, key)))
    if not stages:
        rows.append(("learned model", _Columns.of(every, "learned")))
    if "translated" in every["scores"]:
        rows.append(("learned + translated", _Columns.of(every, "translated")))
    return [_row(title, columns, found, names) for title, columns in rows]


def _row(title: str, columns: _Columns, found: dict[str, Any], names: list[str]) -> list[str]:
    def text(value: float) -> str:
        return f"{value:.2f}" if found.get("errors") else f"{value:.1%}"

    row = [f"    {title}"]
    for name in names:
        if name not in columns.scores:
            row.append("-")
        elif columns.deviations:
            row.append(f"{text(columns.scores[name])} ± {text(columns.deviations[name])}")
        else:
            row.append(text(columns.scores[name]))
    if "intervals" in found:
        ends = (columns.intervals or {}).get(found["metric"])
        row.append(" to ".join(map(text, ends)) if ends else "-")
    if "gap_closed" in found:
        row.append(_gap(columns.gap_closed))
    return row


def _gap(closed: dict[str, Any] | None) -> str:
    if not closed or closed["share"] is None:
        return "-"
    ends = closed["interval"]
    return f"{closed['share']:.0%}" + (f" ({ends[0]:.0%} to {ends[1]:.0%})" if ends else "")


def _counts(found: dict[str, Any]) -> list[str]:
    """Return a table of the mean number of objects in an image, if the task network counts objects."""
    from trainer.runs.report.evaluation_tables import count_cells

    counts = found.get("counts")
    if not counts:
        return []
    head = ["  objects in an image", "prior", "learned", "photographs (95 % interval)"]
    rows = [[f"    {name}", *count_cells(of)] for name, of in counts.items()]
    return [aligned([head[: len(rows[0])], *rows])]


def _distances(found: dict[str, Any]) -> list[str]:
    """Return tables of the known distances of attributes and layout from the target's."""
    tables = []
    for what, key in (("distance from the target's", "distances"), ("distance of the layout", "layout")):
        rows = [[f"  {what}", "prior", "learned", "smaller by"]]
        for name, item in found.get(key, {}).items():
            prior, learned = item["prior"], item["learned"]
            rows.append([f"    {name} ({item['unit']})", f"{prior:.2f}", f"{learned:.2f}", _smaller(prior, learned)])
        if len(rows) > 1:
            tables.append(aligned(rows))
    return tables


def _smaller(prior: float, learned: float) -> str:
    """Return the reduction of a distance in percent, "-" if it is unchanged, "larger" if it has grown."""
    if f"{prior:.2f}" == f"{learned:.2f}":
        return "-"
    return f"{1 - learned / prior:.0%}" if learned < prior else "larger"


def _images(found: dict[str, Any]) -> str:
    """Return a table of the distances of images from the target's."""
    distances = found["image_distances"]
    models = _models(found, distances, "image_distances")
    rows = [["  distance from the target's", *(words.removesuffix(" model") for words, _ in models)]]
    rows.append(["    MMD²", *(f"{item['mmd']:.4f}" for _, item in models)])
    rows.append(["    KID", *(f"{item['kid']:.4f} ± {item['kid_standard_error']:.4f}" for _, item in models)])
    return f"{aligned(rows)}\n  of images, in the feature space {distances['features']}"
