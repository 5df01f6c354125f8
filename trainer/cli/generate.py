"""`metasim generate`"""

from typing import TYPE_CHECKING, Annotated

import typer

from trainer.cli import completion, options
from trainer.cli.text_tables import echo_json

if TYPE_CHECKING:
    from trainer.pool import PoolOptions


@options.with_pool()
def generate(
    source: options.Source,
    count: Annotated[int, typer.Option(min=1, metavar="N", help="Number of images.")],
    out: Annotated[
        str,
        typer.Option(
            metavar="DIR|URL",
            help="Dataset to create. It must not exist. webdataset and parquet also go to object stores: "
            "s3://BUCKET/NAME, gs://BUCKET/NAME, az://CONTAINER/NAME.",
        ),
    ],
    format: Annotated[  # noqa: A002
        str,
        typer.Option(
            metavar="FORMAT",
            help="imagefolder: PNGs and a metadata.jsonl with labels, boxes and attributes, as Hugging Face reads it. "
            "coco, coco-rle: instances as polygons or run lengths. yolo, yolo-seg: boxes or polygons. voc: boxes and "
            "masks. kitti: with boxes in 3D. bop: poses, depth and masks. webdataset: tar files. parquet: as Hugging "
            "Face's datasets. idx, idx-gz: grey "
            "images and labels as MNIST's. imagefolder-masks, webdataset-masks, parquet-masks: with "
            "masks of classes and instances. "
            "See docs/datasets.md.",
            autocompletion=completion.formats,
        ),
    ] = "imagefolder",
    seed: Annotated[
        int,
        options.seed_option("The same seed gives the same dataset; other seeds give independent ones."),
    ] = 0,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue an interrupted export. All other arguments must be the same."),
    ] = False,
    images: Annotated[
        str,
        typer.Option(
            metavar="FORMAT[:QUALITY]",
            help="Image format; the workers encode: png (lossless), jpeg (quality 95), webp (lossless), "
            "jpeg:90, webp:80. kitti, bop and idx hold png only.",
        ),
    ] = "png",
    per_file: Annotated[
        int, typer.Option(min=1, metavar="N", help="Images per file, in formats with many images per file.")
    ] = 1000,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=SHARE,...",
            help="Splits by scene number, such as train=0.8,val=0.1,test=0.1; each has its own folder in --out.",
            show_default=False,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Make only part I (from 0) of N, in OUT.parts. [bold]metasim dataset merge[/bold] OUT makes one "
            "dataset of all parts, with the same bytes as without --shard.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITION",
            help="Keep only scenes that meet a condition, and replace the others: 'visible(car) >= 1', "
            "'share(car) > 0.02 and not visible(truck)'. See docs/datasets.md.",
            show_default=False,
        ),
    ] = None,
    audit: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Number of images, evenly spread, whose labels are checked, also in the written files.",
        ),
    ] = 20,
    samples: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Samples per pixel; default: those of the grammar.", show_default=False),
    ] = None,
    denoise: Annotated[
        bool,
        typer.Option(
            "--denoise",
            help="Denoise the images with Open Image Denoise. Only for engine blender; labels and flat "
            "sprite scenes, which have no noise, stay unchanged.",
        ),
    ] = False,
    translate: options.Translate = None,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Measure for ten seconds, print the cost of --count images, and write nothing."),
    ] = False,
    *,
    pool: "PoolOptions",
    mnist: options.Mnist = None,
    json: options.Json = False,
) -> None:
    """Write a labelled dataset from the learned model of a run or from the prior of a grammar.

    \b
    [bold]Examples[/bold]
    metasim generate runs/mnist-rot --count 10000 --out datasets/mnist-rot
    metasim generate runs/mnist-rot --count 60000 --format idx-gz --seed 1 --out datasets/turned
    metasim generate my-world.yaml --count 100 --engine raster --out datasets/preview
    metasim generate my-street.yaml --count 5000 --format kitti --out datasets/street --resume
    metasim generate my-street.yaml --count 9000 --keep 'visible(car) >= 1' --split train=0.9,val=0.1 --out cars
    metasim generate runs/coins --count 2000 --format coco --translate models/coins.safetensors --out coins
    metasim generate my-street.yaml --count 1000000 --format webdataset --shard 3/200 --out million
    metasim generate my-street.yaml --count 1000000 --format parquet --images jpeg:90 --out s3://bucket/million
    """
    from trainer.cli.console import console_progress

    try:
        with console_progress() as progress:
            from trainer.generate import GenerateOptions
            from trainer.generate import generate as run_generation
            from trainer.generate import plan as run_plan

            arguments = GenerateOptions(
                source=source,
                count=count,
                format=format,
                out=out,
                seed=seed,
                mnist=mnist,
                pool=pool,
                resume=resume,
                split=split,
                shard=shard,
                keep=keep,
                audit=audit,
                samples=samples,
                denoise=denoise,
                translate=translate,
                images=images,
                per_file=per_file,
            )
            summary = run_plan(arguments, progress) if plan else run_generation(arguments, progress)
    except KeyboardInterrupt:
        folder = f"{out}.parts" if shard else f"{out}.partial"
        typer.echo(f"metasim: interrupted; {folder} holds what was written, and --resume continues", err=True)
        raise typer.Exit(130) from None
    if json:
        echo_json(summary)
    elif plan:
        typer.echo(
            f"{summary['images_per_s']:.1f} images/s with {summary['processes']} worker processes; {count:,} images "
            f"take {summary['hours']:.2g} h, {summary['core_hours']:.2g} core-hours and {summary['gigabytes']:.2g} GB. "
            f"One core of the client writes {summary['client_images_per_s']:.0f} images/s."
        )
    elif shard:
        typer.echo(
            f"{out}.parts: {summary['count']:,} images, part {shard} of {count:,}, in {summary['seconds']:.1f} s; when "
            f"all parts are there: metasim dataset merge {out}"
        )
    else:
        kept = f", {summary['kept']:.1%} of the scenes drawn" if keep else ""
        typer.echo(
            f"{out}: {summary['count']:,} images ({summary['format']}) of {summary['of']}{kept} "
            f"in {summary['seconds']:.1f} s; {out}/README.md says what they are"
        )
