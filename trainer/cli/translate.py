"""`metasim translate`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from trainer.cli import options
from trainer.cli.assignments import parse_assignments
from trainer.cli.commands import Commands
from trainer.cli.text_tables import aligned, echo_json

if TYPE_CHECKING:
    from trainer.pool import PoolOptions

app = Commands(help="Make renders look like photographs and keep their labels.")

Device = Annotated[
    options.DeviceName,
    typer.Option(help="Device of the networks. [bold]auto[/bold] takes a GPU if there is one."),
]


@app.callback()
def _group() -> None:
    """Make renders look like photographs and keep their labels."""


@app.command()
@options.with_pool()
def fit(
    source: options.Source,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The model to write, such as models/coins.safetensors.")],
    assignments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings of the method: matching=moments, beta=0.05, steps=4000 ...; see docs/translation.md.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Photographs without labels, in any layout of docs/datasets.md.",
            show_default="those that the run learned from",
        ),
    ] = None,
    method: Annotated[
        Literal["color", "fourier", "cut"],
        typer.Option(
            help="color: one map of colours (seconds). fourier: light and colours of single photographs (seconds). "
            "cut: a network (half an hour)."
        ),
    ] = "color",
    renders: Annotated[int, typer.Option(min=10, metavar="N", help="Renders that the model is fitted to.")] = 300,
    seed: Annotated[int, options.seed_option("The same seed gives the same model.")] = 0,
    *,
    pool: "PoolOptions",
    mnist: options.Mnist = None,
    device: Device = "auto",
    json: options.Json = False,
) -> None:
    """Fit a model that gives renders the appearance of photographs.

    The photographs need no labels, and training does not use the model. A check compares object outlines before and
    after translation, and a task network trained on translated renders with one trained on renders. A model that
    removes, moves or adds objects is rejected. Pictures are written next to the model.

    \b
    [bold]Examples[/bold]
    metasim translate fit runs/coins --out models/coins.safetensors
    metasim translate fit runs/coins --method fourier beta=0.05 --out models/coins-fourier.safetensors
    metasim translate fit runs/blood --target photos/blood/target --method cut --out models/blood-cut.safetensors
    """
    from trainer.cli.console import console_progress

    with console_progress() as progress:
        from trainer.translate import FitOptions
        from trainer.translate import fit as run_fit

        found = run_fit(
            FitOptions(
                source=source,
                out=out,
                method=method,
                target=target,
                seed=seed,
                renders=renders,
                settings=parse_assignments(assignments or ()),
                device=device,
                mnist=mnist,
                pool=pool,
            ),
            progress,
        )
    if json:
        echo_json(found)
    else:
        typer.echo(_text(found, out))


@app.command()
def apply(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="A dataset in any layout of docs/datasets.md. It is not changed.")
    ],
    model: Annotated[Path, typer.Option(metavar="FILE", help="A model of [bold]metasim translate fit[/bold].")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The dataset to create. It must not exist.")],
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue an unfinished copy. All other arguments must be the same."),
    ] = False,
    device: Device = "auto",
    json: options.Json = False,
) -> None:
    """Write a copy of a dataset with translated images. Labels and all other files stay unchanged.

    If the dataset has class masks, they guide models of the method cut.

    \b
    [bold]Example[/bold]
    metasim translate apply datasets/coins --model models/coins.safetensors --out datasets/coins-translated
    """
    from trainer.cli.console import console_progress

    try:
        with console_progress() as progress:
            from trainer.translate import apply as run_apply

            found = run_apply(dataset, model, out, resume=resume, device=device, progress=progress)
    except KeyboardInterrupt:
        typer.echo(f"metasim: interrupted; {out}.partial holds what was written, and --resume continues", err=True)
        raise typer.Exit(130) from None
    if json:
        echo_json(found)
    else:
        typer.echo(
            f"{out}: {found['images']:,} images ({found['layout']}) in {found['seconds']:.1f} s; see {out}/README.md"
        )


def _text(found: dict[str, Any], out: Path) -> str:
    """Return the tables of a fit."""
    distances, check = found["distances"], found["check"]
    rows = [[f"  distance from {found['photographs']:,} photographs", "renders", "translated"]]
    pair = distances["renders"], distances["translated"]
    rows.append(["    MMD²", *(f"{of['mmd']:.4f}" for of in pair)])
    rows.append(["    KID", *(f"{of['kid']:.4f} ± {of['kid_standard_error']:.4f}" for of in pair)])
    outlines, task = check["outlines"], check["task"]
    labels = [["  labels", ""], ["    outlines of objects kept", f"{outlines['kept']:.1%} of {outlines['objects']:,}"]]
    labels.append(["    new edges away from objects", f"{outlines['new']:.1%} of all outlines"])
    if task is not None:
        value = "{:.2f}" if task["errors"] else "{:.1%}"
        words = f"    {task['task']}, {task['metric']}: renders, translated"
        labels.append([words, ", ".join(value.format(task[of]) for of in ("renders", "translated"))])
    return (
        f"{aligned(rows)}\n  in the feature space {distances['features']}\n\n{aligned(labels)}\n\n"
        f"{out}: {found['method']}, {found['images_per_s']:.1f} images/s, fitted in {found['seconds']:.0f} s; see "
        f"{out.with_suffix('.jpg')}"
    )
