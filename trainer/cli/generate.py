"""`metasim generate`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.cli import completion, options
from trainer.cli.tables import echo_json

if TYPE_CHECKING:
    from trainer.pool import PoolOptions


@options.with_pool()
def generate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|GRAMMAR",
            help="A run folder: its learned model. A grammar or experiment, by name or file: its prior.",
            autocompletion=completion.sources,
        ),
    ],
    count: Annotated[int, typer.Option(min=1, metavar="N", help="Images.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The dataset to make; it must not exist.")],
    format: Annotated[  # noqa: A002
        str,
        typer.Option(
            metavar="FORMAT",
            help="imagefolder: PNGs and a metadata.jsonl with labels, boxes and attributes, as Hugging Face reads it. "
            "coco, coco-rle: instances as polygons or run lengths. yolo, yolo-seg: boxes or polygons. voc: boxes and "
            "masks. kitti: with boxes in 3D. bop: poses, depth and masks. webdataset: tar files. idx, idx-gz: grey "
            "images and labels as MNIST's. imagefolder-masks, webdataset-masks: with masks of classes and instances. "
            "See docs/datasets.md.",
            autocompletion=completion.formats,
        ),
    ] = "imagefolder",
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="The same seed gives the same dataset; others are independent.")
    ] = 0,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with an export that was stopped; give the same arguments as it had."),
    ] = False,
    *,
    pool: "PoolOptions",
    mnist: options.Mnist = None,
    json: options.Json = False,
) -> None:
    """Write a labelled dataset, from a run's learned model or from a grammar as it stands.

    \b
    [bold]Examples[/bold]
    metasim generate runs/mnist-rot --count 10000 --out datasets/mnist-rot
    metasim generate runs/mnist-rot --count 60000 --format idx-gz --seed 1 --out datasets/turned
    metasim generate my-world.yaml --count 100 --engine raster --out datasets/preview
    metasim generate my-street.yaml --count 5000 --format kitti --out datasets/street --resume
    """
    from trainer.cli.console import console_progress

    try:
        with console_progress() as progress:
            from trainer.generate import GenerateOptions
            from trainer.generate import generate as run_generation

            summary = run_generation(
                GenerateOptions(
                    source=source,
                    count=count,
                    format=format,
                    out=out,
                    seed=seed,
                    mnist=mnist,
                    pool=pool,
                    resume=resume,
                ),
                progress,
            )
    except KeyboardInterrupt:
        typer.echo(f"metasim: interrupted; what was written so far is in {out}.partial, and --resume goes on", err=True)
        raise typer.Exit(130) from None
    if json:
        echo_json(summary)
    else:
        typer.echo(
            f"{out}: {summary['count']:,} images ({summary['format']}) of {summary['of']} "
            f"in {summary['seconds']:.1f} s; {out / 'README.md'} says what they are"
        )
