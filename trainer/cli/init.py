"""`metasim init`"""

from pathlib import Path
from typing import Annotated

import typer

from trainer.environment import expanded, shipped_files
from trainer.errors import InputError


def init(
    name: Annotated[
        Path, typer.Argument(metavar="NAME", help="Name of the world, or path of its file; .yaml is appended.")
    ],
    assets: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of transparent PNG images, or of GLB, OBJ, PLY or .blend models; sub-folders are labels.",
            show_default="a procedural set of household objects",
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Photographs to learn from, in any layout of docs/datasets.md."),
    ] = None,
) -> None:
    """Write a commented starter grammar for your assets and your photographs, and check it.

    \b
    [bold]Examples[/bold]
    metasim init my-world --assets models/ --target photos/
    metasim grammar sample my-world.yaml
    """
    from trainer.datasets.readers import open_dataset
    from trainer.experiments import load_experiment
    from trainer.experiments.describe import check_text
    from trainer.experiments.starter import Look, starter_text
    from trainer.inference.training_settings import TrainingSettings
    from trainer.runs.requirements import check_run

    path = expanded(name if name.suffix == ".yaml" else name.with_name(f"{name.name}.yaml"))
    if path.exists():
        raise InputError(f"{path} exists; choose another name, or remove it")
    given = None if assets is None else expanded(assets)
    photographs = None if target is None else expanded(target)
    look = Look() if photographs is None else Look.of(open_dataset(photographs))
    schema = next(iter(shipped_files().values())).resolve().with_name("schema.json")
    text = starter_text(path, look, given, photographs, str(schema))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    try:
        experiment = load_experiment(str(path))
        check_run(experiment, TrainingSettings.parse(experiment.training))
    except InputError:
        path.unlink()
        raise
    typer.echo(check_text(experiment))
    typer.echo(f"Look at it: metasim grammar sample {path}", err=True)
