"""`metasim grammar`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.cli import completion, options
from trainer.cli.commands import Commands
from trainer.errors import InputError

if TYPE_CHECKING:
    from trainer.grammar import Grammar
    from trainer.pool import PoolOptions

app = Commands(help="Check, show and sample scene grammars.")

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="A YAML file, or the name of a grammar or experiment that ships.",
        autocompletion=completion.experiments,
    ),
]


@app.command()
def check(file: File, mnist: options.Mnist = None) -> None:
    """Check a grammar or an experiment, and everything that a training run of it needs.

    Reads the images and meshes that the file names, the target and the settings of training. The first fault is told
    with its line and with what would be right.

    \b
    [bold]Example[/bold]
    metasim grammar check my-world.yaml
    """
    from trainer.experiments import load_experiment
    from trainer.experiments.describe import check_text
    from trainer.inference.settings import TrainingSettings
    from trainer.runs.requirements import check_run, task_problem

    experiment = load_experiment(file, mnist=mnist)
    check_run(experiment, TrainingSettings.parse(experiment.training))
    typer.echo(check_text(experiment))
    problem = task_problem(experiment) if experiment.target is not None else None
    if problem is not None:
        typer.echo(f"`metasim evaluate` cannot score the data: {problem}")


@app.command()
def show(file: File, mnist: options.Mnist = None) -> None:
    """Print a grammar as a tree, with a table of its attributes and their distributions.

    \b
    [bold]Example[/bold]
    metasim grammar show mnist-rot
    """
    from trainer.experiments import load_experiment
    from trainer.experiments.describe import show_text

    typer.echo(show_text(load_experiment(file, mnist=mnist)))


@app.command()
@options.with_pool(default_engine="raster if there are only sprites, else blender")
def sample(
    file: File,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG", help="The picture to write; an older one is replaced.", show_default="NAME-samples.png"
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=1024, metavar="N", help="Scenes.")] = 32,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Other seeds show other scenes.")] = 0,
    *,
    pool: "PoolOptions",
    mnist: options.Mnist = None,
) -> None:
    """Draw scenes of a grammar, and of its target if it has one, into one picture.

    \b
    [bold]Examples[/bold]
    metasim grammar sample mnist-rot
    metasim grammar sample my-world.yaml --count 64 --seed 1 --out look.png
    """
    from trainer.experiments import load_experiment
    from trainer.pool import open_pool
    from trainer.randomness import Purpose, generator
    from trainer.rendering import Renderer
    from trainer.runs.report.pictures import contact_sheet

    experiment = load_experiment(file, mnist=mnist)
    for note in experiment.notes:
        typer.echo(f"note: {note}", err=True)
    path = out or Path(f"{experiment.name}-samples.png")
    rows = [("Prior", experiment.grammar)]
    if experiment.target is not None and experiment.target.grammar is not None:
        rows.append(("Target", experiment.target.grammar))
    with open_pool(
        pool.with_default_engine(_fastest(experiment.grammar)), assets=experiment.asset_source
    ) as render_pool:
        pictures = []
        for name, grammar in rows:
            rng = generator(seed, Purpose.GENERATION)
            scenes = [grammar.sample(rng) for _ in range(count)]
            pictures.append((name, Renderer(render_pool, grammar).images(scenes, seed)))
    try:
        contact_sheet(pictures).save(path, "PNG")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    typer.echo(path)


def _fastest(grammar: "Grammar") -> str:
    """The fastest engine that can draw every kind of node."""
    from trainer.grammar.nodes import Light, Mesh

    return "blender" if any(isinstance(kind.content, Mesh | Light) for kind in grammar.kinds.values()) else "raster"
