"""`metasim pool`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.cli import options
from trainer.cli.commands import Commands
from trainer.cli.text_tables import aligned, echo_json
from trainer.errors import PoolUnreachable

if TYPE_CHECKING:
    from trainer.pool import PoolOptions
    from trainer.pool.status import WorkerStatus

app = Commands(help="Show and scale render workers.")

Project = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Compose project or Swarm stack.", show_default="the only one that runs"),
]


@app.callback()
def _group() -> None:
    """Show and scale render workers."""


@app.command()
def status(
    endpoint: Annotated[
        str | None,
        typer.Argument(
            metavar="ENDPOINT",
            help="HOST:PORT, or several separated by commas; a name stands for all its addresses.",
            show_default="the workers that Docker runs here, else 127.0.0.1:50051",
        ),
    ] = None,
    watch: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Duration of the measurement of the render rate.")
    ] = 1.0,
    project: Project = None,
    json: options.Json = False,
) -> None:
    """Show the status of the workers behind an endpoint.

    \b
    [bold]Examples[/bold]
    metasim pool status
    metasim pool status render-1:50051,render-2:50051 --json
    """
    from dataclasses import asdict

    from trainer.pool.scaling import running_workers
    from trainer.pool.status import pool_status

    chosen = endpoint or ",".join(running_workers(project)) or "127.0.0.1:50051"
    workers = pool_status(chosen, watch_s=watch)
    answering = [worker for worker in workers if not worker.problem]
    if json:
        echo_json({"endpoint": chosen, "workers": [asdict(worker) for worker in workers]})
    elif answering:
        rows = [_row(worker) for worker in answering]
        typer.echo(aligned([list(rows[0]), *(list(row.values()) for row in rows)], numbers_from=4))
        for worker in workers:
            if worker.problem:
                typer.echo(f"{worker.address} does not answer: {worker.problem}", err=True)
    if not answering:
        reason = workers[0].problem if workers else "the name has no address"
        raise PoolUnreachable(f"no worker answers at {chosen}: {reason}")


@app.command()
def scale(
    count: Annotated[int, typer.Argument(min=1, metavar="N", help="Number of workers.")],
    project: Project = None,
    json: options.Json = False,
) -> None:
    """Start or stop render workers of Docker Compose or Swarm, even during training.

    A stopping worker finishes its tasks first. Results do not depend on the number of workers.

    \b
    [bold]Example[/bold]
    metasim pool scale 4
    """
    from dataclasses import asdict

    from trainer.pool.scaling import scale as scale_pool

    scaled = scale_pool(count, project=project)
    if json:
        echo_json(asdict(scaled))
    else:
        typer.echo(f"{scaled.project}: {scaled.before} → {scaled.after} render workers")


@app.command()
@options.with_pool(default_engine="blender")
def render(
    task: Annotated[Path, typer.Argument(metavar="FILE", help="A failed task that a pool has saved.")],
    *,
    pool: "PoolOptions",
    json: options.Json = False,
) -> None:
    """Render a failed task again to find the cause.

    \b
    [bold]Example[/bold]
    metasim pool render ~/.cache/metasim/failed/17-3-0a1b2c3d.task --renderer render-1:50051
    """
    from dataclasses import replace

    from trainer.pool import open_pool
    from trainer.pool.failed_tasks import read_task

    message, assets = read_task(task)
    with open_pool(replace(pool, workers=pool.workers or 1), assets=assets) as render_pool:
        (result,) = render_pool.render([message])
    outcome = {"task": result.id, "renders": result.timing.renders, "render_s": result.timing.render_s}
    if json:
        echo_json(outcome)
    else:
        typer.echo(f"task {result.id!r} renders: {result.timing.renders} images in {result.timing.render_s:.3f} s")


def _row(worker: "WorkerStatus") -> dict[str, str]:
    return {
        "worker": worker.address.partition(":")[2] or worker.address,
        "host": worker.host,
        "engine": worker.engine,
        "device": f"{worker.device_name}, {worker.device.upper()}" if worker.device_name else worker.device,
        "slots": str(worker.slots),
        "busy": f"{worker.busy_processes}/{worker.processes}",
        "queued": str(worker.queued_tasks),
        "renders/s": f"{worker.renders_per_s:.1f}",
        "age": _age(worker.age_s),
        "done": str(worker.tasks_done),
        "failed": str(worker.tasks_failed),
        "restarts": str(worker.process_restarts),
        "memory": f"{worker.memory_bytes / 2**20:.0f} MiB",
    }


def _age(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if hours < 1 else f"{hours:.1f} h"
