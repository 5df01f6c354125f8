"""`metasim train`"""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trainer.cli import completion, options
from trainer.cli.assignments import parse_assignments, parse_mapping
from trainer.cli.text_tables import echo_json
from trainer.environment import expanded
from trainer.errors import InputError, RenderError, file_problem

if TYPE_CHECKING:
    from trainer.pool import PoolOptions


@options.with_pool()
def train(
    context: typer.Context,
    experiment: Annotated[
        str | None,
        typer.Argument(
            metavar="EXPERIMENT",
            help="A built-in experiment ([bold]mnist-rot[/bold], [bold]mnist-rot-trans[/bold]) or a YAML file. "
            "Not needed with --resume.",
            show_default=False,
            autocompletion=completion.experiments,
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings that replace those of the experiment; values are YAML. training.epochs=4 changes the "
            "training, 'digit.yaw={normal: [0, 20]}' the prior, target.count=500 the target.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Real images to learn from, instead of the experiment's target: a folder of them, or a dataset of "
            "COCO, KITTI, YOLO, BOP or idx files. Other sizes are fitted to the experiment's; see docs/datasets.md.",
            show_default=False,
        ),
    ] = None,
    fit: Annotated[
        Literal["crop", "pad", "resize"] | None,
        typer.Option(
            help="How images of --target of another shape are fitted: cropped, padded with their mean colour, or "
            "resized by axis.",
            show_default="crop",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A=B,...",
            help="Classes of --target with the corresponding classes of the grammar, such as nine=9,ten=10. Others are "
            "matched by name.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Run folder to create.", show_default="runs/EXPERIMENT"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out after its last finished epoch.")
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Seed of all random numbers: the same seed gives the same run.", show_default="0"
        ),
    ] = None,
    *,
    pool: "PoolOptions",
    mnist: options.Mnist = None,
    inception_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="InceptionV3's weights (torchvision's file, or safetensors) for training.features=inception.",
            show_default="torch's cache, if it has them",
            rich_help_panel="Data",
        ),
    ] = None,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Learn to generate scenes that look like the target, and write a run folder.

    Ctrl-C is safe: the run keeps all finished epochs, and --resume continues from there.

    \b
    [bold]Examples[/bold]
    metasim train mnist-rot
    metasim train mnist-rot-trans --engine raster --seed 1 --out runs/corner-1
    metasim train my-world.yaml --target photos/
    metasim train mnist-rot --renderer render-1:50051,render-2:50051 training.epochs=12
    metasim train --resume --out runs/mnist-rot
    """
    folder = out or _default_folder(experiment, resume)
    overrides = parse_assignments(assignments or ())
    if target is not None:
        # The whole section first, then its keys: nothing of the experiment's own target may remain.
        section: dict[str, object] = {"images": str(expanded(target).resolve())}
        if fit is not None:
            section["fit"] = fit
        if classes is not None:
            section["classes"] = parse_mapping(classes, "--classes")
        overrides = {"target": section, **overrides}
    elif fit is not None or classes is not None:
        raise InputError("--fit and --classes need --target")
    if resume:
        _refuse_changes(folder, experiment, overrides, seed, pool.engine)
    elif experiment is None:
        raise InputError("EXPERIMENT is missing; write for example `metasim train mnist-rot`")

    from trainer.cli.console import console_progress
    from trainer.progress import Step

    try:
        with console_progress(then=[Step("write the report", 3.0)]) as progress:
            from trainer.cli.training_outcome import training_outcome
            from trainer.runs.report.report import write_report
            from trainer.train import TrainOptions
            from trainer.train import train as run_training

            run = run_training(
                TrainOptions(
                    experiment=experiment or "",
                    out=folder,
                    seed=seed or 0,
                    resume=resume,
                    mnist=mnist,
                    inception_weights=inception_weights,
                    device=device,
                    overrides=overrides,
                    pool=replace(pool, settings=replace(pool.settings, failed_tasks=folder / "failed")),
                ),
                progress,
            )
            progress.step("write the report")
            page = write_report(run)
    except KeyboardInterrupt:
        typer.echo(f"metasim: interrupted{_saved(folder, context)}", err=True)
        raise typer.Exit(130) from None
    except RenderError as error:
        typer.echo(f"metasim: {error}{_saved(folder, context)}", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        problem = file_problem(error)
        if problem is None:
            raise
        raise InputError(f"{problem}{_saved(folder, context)}") from None

    if json:
        echo_json({"run": str(run.folder), "report": str(page), **run.summary})
    else:
        typer.echo(training_outcome(run, page))


def _default_folder(experiment: str | None, resume: bool) -> Path:
    if experiment is None:
        missing, example = ("--out", "--resume --out runs/mnist-rot") if resume else ("EXPERIMENT", "mnist-rot")
        raise InputError(f"{missing} is missing; write for example `metasim train {example}`")
    return Path("runs") / Path(experiment).stem


def _refuse_changes(
    folder: Path, experiment: str | None, overrides: dict[str, object], seed: int | None, engine: str | None
) -> None:
    """Check that no argument would change a run's results; repeated arguments are allowed.

    Raises:
        InputError: there is no such run, or an argument differs from the original one.
    """
    from trainer.runs.folder import Run

    config = Run.open(folder).config
    if experiment not in (None, config.experiment) and Path(str(experiment)).resolve() != Path(config.experiment):
        raise InputError(f"{folder} is a run of {config.experiment}, not of {experiment}; choose another --out")
    for name, given, fixed in (
        ("seed", seed, config.seed),
        ("engine", engine, config.engine),
        ("settings", overrides or None, dict(config.overrides)),
    ):
        if given is not None and given != fixed:
            raise InputError(
                f"{folder} was started with {name} {fixed} and cannot continue with {given}; "
                "omit it, or start another run with another --out"
            )


def _saved(folder: Path, context: typer.Context) -> str:
    """Return a message with what is saved and the command that continues the run."""
    from trainer.runs.folder import Run

    if not (folder / "config.json").is_file():
        return " before the run began; nothing was written"
    checkpoint = Run.open(folder).load_checkpoint()
    epoch = checkpoint[0]["epoch"] if checkpoint else None
    saved = {None: "nothing is learned yet", 0: "the stages before the first epoch are saved"}.get(
        epoch, f"all up to epoch {epoch} is saved"
    )
    command = ["metasim", "train", "--resume", "--out", str(folder)]
    usual = {"renderer": "local", "connect_timeout": options.CONNECT_TIMEOUT_S, "patience": options.PATIENCE_S}
    for name in ("renderer", "workers", "connect_timeout", "patience"):  # The run stores everything else.
        value = context.params[name]
        if value not in (None, usual.get(name)):
            command += [f"--{name.replace('_', '-')}", str(value)]
    return f"; {saved} in {folder}. Continue with: {shlex.join(command)}"
