"""`metasim bench`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from trainer.cli import options
from trainer.cli.assignments import parse_assignments
from trainer.cli.commands import Commands
from trainer.cli.text_tables import aligned, echo_json

if TYPE_CHECKING:
    from trainer.bench.devices import OnDevices
    from trainer.pool import PoolOptions

app = Commands(help="Measure speed and results on this machine.")

_Seeds = Annotated[int, typer.Option(min=1, metavar="N", help="Number of runs.")]
_FirstSeed = Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the first run.")]
_Keep = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder that keeps the run folders.", show_default="they are deleted"),
]
RenderDevices = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="KIND,...",
        help="Kinds of render devices to measure in turn: cpu, cuda, optix, hip, oneapi, metal, auto. "
        "GPUs: not yet run on one.",
    ),
]


@app.callback()
def _group() -> None:
    """Measure speed and results on this machine."""


@app.command("pool")
def measure_pool(
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Worker processes.")] = 2,
    tasks: Annotated[int, typer.Option(min=1, metavar="N", help="Tasks per run.")] = 400,
    repeats: Annotated[int, typer.Option(min=1, metavar="N", help="Runs per load; the median counts.")] = 3,
    only: Annotated[
        Literal["real", "simulated"] | None,
        typer.Option(help="real: workers of this machine; simulated: 200 workers that only wait.", show_default="both"),
    ] = None,
    json: options.Json = False,
) -> None:
    """Measure the overhead of the pool with real workers, and its efficiency with 200 simulated ones.

    Overhead is the share of the workers' time that is not spent on rendering. Efficiency is the ideal makespan divided
    by the measured one. "/ bare echo" is the client's processor time per task divided by that of a bare gRPC stream.

    \b
    [bold]Example[/bold]
    metasim bench pool --workers 2 --json
    """
    from trainer.bench.fleets import bench_fleets
    from trainer.bench.pool import bench_pool

    result: dict[str, Any] = {}
    if only != "simulated":
        result |= bench_pool(workers=workers, tasks=tasks, repeats=repeats)
    if only != "real":
        result["simulated"] = bench_fleets(repeats=repeats)
    if json:
        echo_json(result)
        return
    if "overhead" in result:
        typer.echo(aligned([["load", "overhead"], *([name, f"{x:.1%}"] for name, x in result["overhead"].items())]))
    if "simulated" in result:
        rows = [["simulated workers", "efficiency", "makespan / ideal", "client cores", "ms/task", "/ bare echo"]]
        for name, found in result["simulated"]["fleets"].items():
            figures = (found[key] for key in _FLEET_FIGURES)
            rows.append([name, f"{found['efficiency']:.1%}", *(f"{figure:.2f}" for figure in figures)])
        typer.echo(aligned(rows))


@app.command("generate")
def measure_generation(
    frames: Annotated[int, typer.Option(min=100, metavar="N", help="Frames of an export.")] = 10_000,
    repeats: Annotated[int, typer.Option(min=1, metavar="N", help="Exports of each kind; the median counts.")] = 3,
    format: Annotated[str, typer.Option(metavar="FORMAT", help="Format of the dataset.")] = "webdataset",  # noqa: A002
    json: options.Json = False,
) -> None:
    """Measure the throughput of the client of [bold]metasim generate[/bold], with workers that answer immediately.

    Frames have 64 x 64 pixels and three objects. Image encoding alternates between client and workers.

    \b
    [bold]Example[/bold]
    metasim bench generate --frames 20000 --json
    """
    from trainer.bench.generation import bench_generation

    result: dict[str, Any] = bench_generation(frames=frames, repeats=repeats, format_name=format)
    if json:
        echo_json(result)
        return
    rows = [["", "frames/s and core of the client", "frames/s"]]
    for name, rate in result["frames_per_core_s"].items():
        rows.append([name, f"{rate:.0f}", f"{result['frames_per_s'][name]:.0f}"])
    typer.echo(f"{aligned(rows)}\nper core: {result['ratio']:.2f} times as many where the workers encode")


@app.command()
def render(
    experiment: options.Experiment,
    assignments: options.Assignments = None,
    scenes: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Scenes per run, always the same; fewer if rendering is slow."),
    ] = 64,
    repeats: Annotated[int, typer.Option(min=1, metavar="N", help="Runs; the median counts.")] = 3,
    engine: options.Engine = None,
    workers: options.Workers = None,
    device: RenderDevices = "cpu",
    json: options.Json = False,
) -> None:
    """Measure how fast this machine renders an experiment's scenes, with one worker and with several.

    Takes two minutes at most.

    \b
    [bold]Examples[/bold]
    metasim bench render aerial --workers 2
    metasim bench render driving render.samples=4 render.width=310
    metasim bench render driving --device cpu,optix
    """
    from trainer.cli.console import console_progress

    overrides = parse_assignments(assignments or ())
    with console_progress() as progress:
        from trainer.bench.devices import on_each_device
        from trainer.bench.render import bench_render

        def measured(kind: str) -> dict[str, Any]:
            return bench_render(
                experiment,
                engine=engine,
                workers=workers,
                scenes=scenes,
                repeats=repeats,
                overrides=overrides,
                device=kind,
                progress=progress,
            )

        found = on_each_device(device, measured)
    if json:
        echo_json(found.to_json())
        return
    result = next(iter(found.results.values()))
    size = f"{result['width_px']} x {result['height_px']} pixels, samples per pixel {result['samples']}"
    rows = [["device", "workers", "scenes", "frames/s", "samples/s", "speedup"]]
    for kind, each in found.results.items():
        for run in each["runs"]:
            rates = (f"{run[name]:.3g}" for name in ("frames_per_s", "samples_per_s"))
            rows.append([kind, str(run["workers"]), str(run["scenes"]), *rates, f"{run['speedup']:.2f}"])
    typer.echo(f"scenes of {result['experiment']}, {size}, engine {result['engine']}\n{aligned(rows)}")
    _echo_missing(found)


@app.command()
def jobs(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="JOB", help="demo, tyol-8, aerial or driving-city.", show_default="all"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Reduce all sizes: a check that the jobs run, not a measurement.")
    ] = False,
    workers: options.Workers = None,
    json: options.Json = False,
) -> None:
    """Measure whole jobs: training, evaluation and dataset, with the trainer's share of each command's time.

    Without --quick all jobs together take more than an hour.

    \b
    [bold]Examples[/bold]
    metasim bench jobs demo --json
    metasim bench jobs --quick
    """
    from trainer.cli.console import console_progress

    with console_progress() as progress:
        from trainer.bench.jobs import bench_jobs, table

        result = bench_jobs(names or (), reduced=quick, workers=workers, progress=progress)
    _show(result, table(result), json=json, numbers_from=2)


@app.command()
def jacobian(
    scenes: Annotated[int, typer.Option(min=1, metavar="N", help="Streets in the batch.")] = 4,
    audited: Annotated[
        int, typer.Option(min=1, metavar="N", help="Columns that are also rendered as full frames.")
    ] = 24,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Worker processes.")] = 2,
    seed: Annotated[int, options.seed_option("Seed of the streets.")] = 0,
    device: RenderDevices = "cpu",
    json: options.Json = False,
) -> None:
    """Measure the cost of the Jacobian through the renderer: streets of 60 cars, and digits.

    Takes about two minutes, plus half a minute for each further street.

    \b
    [bold]Examples[/bold]
    metasim bench jacobian --scenes 16 --json
    metasim bench jacobian --device cpu,optix
    """
    from trainer.cli.console import console_progress

    with console_progress() as progress:
        from trainer.bench.devices import on_each_device
        from trainer.bench.jacobian import bench_jacobian

        def measured(kind: str) -> dict[str, Any]:
            return bench_jacobian(
                scenes=scenes, audited=audited, workers=workers, seed=seed, device=kind, progress=progress
            )

        found = on_each_device(device, measured)
    if json:
        echo_json(found.to_json())
        return
    streets = {kind: result["street"] for kind, result in found.results.items() if "street" in result}
    digits = {
        f"{engine}, {kind}": cost for kind, result in found.results.items() for engine, cost in result["digits"].items()
    }
    for title, costs in (("street", streets), ("digits", digits)):
        if costs:
            rows = [[title, *costs]]
            names = next(iter(costs.values()))
            rows += [[name.replace("_", " "), *(_shown(cost[name]) for cost in costs.values())] for name in names]
            typer.echo(aligned(rows) + "\n")
    _echo_missing(found)


@app.command()
@options.with_pool()
def train(
    experiment: options.Experiment,
    assignments: options.Assignments = None,
    seeds: _Seeds = 3,
    first_seed: _FirstSeed = 0,
    near: Annotated[
        float, typer.Option(min=0, metavar="PART", help="Tolerance of means, as a fraction of the range.")
    ] = 3 / 360,
    *,
    pool: "PoolOptions",
    device: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="Devices that networks run on, measured one after the other: cpu, cuda, mps, auto. GPUs: not yet run "
            "on one.",
        ),
    ] = "auto",
    keep: _Keep = None,
    json: options.Json = False,
) -> None:
    """Train an experiment with several seeds and compare each learned model with the target.

    Figures out of tolerance are in brackets. Tolerances: --near for means, at most 5 degrees for angles with a full
    range; 30 % for spreads; 10 points for the weights of a mixture; 5 points for the frequencies of categories.

    \b
    [bold]Examples[/bold]
    metasim bench train mnist-rot --engine raster --seeds 10
    metasim bench train aerial --seeds 1 --device cpu,cuda
    """
    from trainer.bench.devices import on_each_device
    from trainer.bench.several_seeds import bench_training, table
    from trainer.cli.console import console_progress

    with console_progress() as progress:

        def measured(name: str) -> dict[str, Any]:
            return bench_training(
                experiment,
                range(first_seed, first_seed + seeds),
                pool=pool,
                overrides=parse_assignments(assignments or ()),
                near=near,
                keep=keep if keep is None or "," not in device else keep / name,
                device=name,
                progress=progress,
            )

        found = on_each_device(device, measured)
    if json:
        echo_json(found.to_json())
        return
    for name, result in found.results.items():
        if len(found.results) > 1:
            typer.echo(f"device {name}")
        typer.echo(aligned(table(result)))
    _echo_missing(found)


@app.command()
@options.with_pool()
def camera(
    assignments: options.Assignments = None,
    seeds: _Seeds = 3,
    first_seed: _FirstSeed = 0,
    drawn: Annotated[
        bool, typer.Option("--drawn", help="Use a random camera for each seed instead of a mild one.")
    ] = False,
    *,
    pool: "PoolOptions",
    keep: _Keep = None,
    json: options.Json = False,
) -> None:
    """Train mnist-rot on MNIST's test digits, rotated by 90 ± 10 degrees and seen by another camera.

    Another library makes the images. They pass through a camera response that the renderers lack: blur, haze, gain,
    gamma, noise, JPEG. Tolerances: 3 degrees for the mean, 30 % for the spread.

    \b
    [bold]Examples[/bold]
    metasim bench camera --engine raster --seeds 5
    metasim bench camera --engine raster --drawn --first-seed 10 --seeds 10
    """
    from trainer.bench.cameras import bench_cameras
    from trainer.bench.several_seeds import table
    from trainer.cli.console import console_progress

    with console_progress() as progress:
        result = bench_cameras(
            range(first_seed, first_seed + seeds),
            drawn=drawn,
            pool=pool,
            overrides=parse_assignments(assignments or ()),
            keep=keep,
            progress=progress,
        )
    _show(result, table(result), json=json)


@app.command()
@options.with_pool()
def ablation(
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Runs of each variant.")] = 3,
    only: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this variant, e.g. 'wrong scale'.", show_default="all")
    ] = None,
    *,
    pool: "PoolOptions",
    keep: _Keep = None,
    json: options.Json = False,
) -> None:
    """Train mnist-rot with the errors of the published code, one at a time. Takes half an hour.

    \b
    [bold]Example[/bold]
    metasim bench ablation --engine raster --seeds 3
    """
    from trainer.bench.ablation import bench_ablation, table
    from trainer.cli.console import console_progress

    with console_progress() as progress:
        result = bench_ablation(range(seeds), pool=pool, only=only, keep=keep, progress=progress)
    _show(result, table(result), json=json, numbers_from=6)


def _echo_missing(found: "OnDevices") -> None:
    for device, reason in found.missing.items():
        typer.echo(f"{device}: not measured: {reason}")


_FLEET_FIGURES = ("makespan_ratio", "client_cores", "client_ms_per_task", "ratio_to_echo")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(each)}" for name, each in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _show(result: Any, rows: list[list[str]], *, json: bool, numbers_from: int = 1) -> None:
    """Print a result as JSON or as a table."""
    if json:
        echo_json(result)
    else:
        typer.echo(aligned(rows, numbers_from=numbers_from))
