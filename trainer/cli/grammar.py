"""`metasim grammar`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.cli import completion, options
from trainer.cli.commands import Commands
from trainer.environment import expanded
from trainer.errors import InputError

if TYPE_CHECKING:
    from trainer.grammar import Grammar
    from trainer.pool import PoolOptions

app = Commands(help="Check, show and sample scene grammars.")

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="A YAML file, or the name of a built-in grammar or experiment.",
        autocompletion=completion.experiments,
    ),
]


@app.command()
def check(file: File, mnist: options.Mnist = None) -> None:
    """Check a grammar or an experiment, and everything that training on it needs.

    Reads the images and meshes that the file names, the target, and the training settings. Reports the first error with
    its line and a correction.

    \b
    [bold]Example[/bold]
    metasim grammar check my-world.yaml
    """
    from trainer.experiments import load_experiment
    from trainer.experiments.describe import check_text
    from trainer.inference.training_settings import TrainingSettings
    from trainer.runs.requirements import check_run, task_problem

    experiment = load_experiment(file, mnist=mnist)
    check_run(experiment, TrainingSettings.parse(experiment.training))
    typer.echo(check_text(experiment))
    problem = task_problem(experiment) if experiment.target is not None else None
    if problem is not None:
        typer.echo(f"`metasim evaluate` cannot score the data: {problem}")


@app.command()
def show(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|RUN",
            help="A YAML file, the name of a built-in grammar or experiment, or a run folder.",
            autocompletion=completion.sources,
        ),
    ],
    mnist: options.Mnist = None,
) -> None:
    """Print a grammar as a tree with its distributions, or a run's learned world as a grammar file.

    The learned world contains the learned probabilities and distributions instead of the prior's. It can be edited and
    checked, and [bold]metasim generate[/bold] accepts it without the run.

    \b
    [bold]Examples[/bold]
    metasim grammar show mnist-rot
    metasim grammar show runs/mnist-rot > learned.yaml
    """
    if Path(source).is_dir():
        from trainer.runs.learned_world import learned_world
        from trainer.runs.loading import open_run

        typer.echo(learned_world(open_run(Path(source), mnist=mnist)), nl=False)
        return
    from trainer.experiments import load_experiment
    from trainer.experiments.describe import show_text

    typer.echo(show_text(load_experiment(source, mnist=mnist)))


@app.command()
@options.with_pool(default_engine="raster if there are only sprites, else blender")
def sample(
    file: File,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG", help="Picture to write. An existing file is replaced.", show_default="NAME-samples.png"
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Real images to compare with, as for `metasim train`.", show_default=False),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=1024, metavar="N", help="Images in a row.")] = 32,
    seed: Annotated[int, options.seed_option("Seed of the scenes.")] = 0,
    *,
    pool: "PoolOptions",
    mnist: options.Mnist = None,
) -> None:
    """Draw scenes of a grammar and its target's images in one picture.

    \b
    [bold]Examples[/bold]
    metasim grammar sample mnist-rot
    metasim grammar sample my-world.yaml --target photos/ --count 64 --seed 1 --out look.png
    """
    import numpy as np

    from trainer.datasets.fitting import chosen
    from trainer.experiments import load_experiment
    from trainer.pool import open_pool
    from trainer.randomness import Purpose, generator
    from trainer.rendering import Renderer
    from trainer.runs.report.contact_sheets import contact_sheet

    overrides = {} if target is None else {"target": {"images": str(expanded(target).resolve())}}
    experiment = load_experiment(file, overrides, mnist=mnist)
    for note in experiment.notes:
        typer.echo(f"note: {note}", err=True)
    path = out or Path(f"{experiment.name}-samples.png")
    rows, photographs = [("Prior", experiment.grammar)], None
    if experiment.target is not None and experiment.target.grammar is not None:
        rows.append(("Target", experiment.target.grammar))
    elif experiment.target is not None:
        photographs, _ = experiment.target.images(generator(seed, Purpose.TARGET), lambda *_: np.empty(0))
    with open_pool(
        pool.with_default_engine(_fastest(experiment.grammar)), assets=experiment.asset_source
    ) as render_pool:
        pictures = []
        for name, grammar in rows:
            rng = generator(seed, Purpose.GENERATION)
            scenes = [grammar.sample(rng) for _ in range(count)]
            pictures.append((name, Renderer(render_pool, grammar).images(scenes, seed)))
    if photographs is not None:
        pictures.append(("Photographs", photographs[chosen(len(photographs), count)]))
    try:
        contact_sheet(pictures).save(path, "PNG")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    typer.echo(path)


def _fastest(grammar: "Grammar") -> str:
    """Return the fastest engine that can draw every kind of node."""
    from trainer.grammar.nodes import Light, Mesh

    return "blender" if any(isinstance(kind.content, Mesh | Light) for kind in grammar.kinds.values()) else "raster"
