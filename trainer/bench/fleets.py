"""How well the client keeps many workers busy, and what a task costs it: the simulated part of `metasim bench pool`.

Workers that take s_i seconds for a task need at least n / Σ 1/s_i seconds for n tasks; the makespan is compared with
that. The client's processor time per task is compared with that of a bare bidirectional stream, which sends the same
bytes to the same workers. The workers are simulated in one process beside the client's.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from metasim.v1 import render_pb2 as pb

from trainer.bench.echo import echo_cpu_s
from trainer.bench.simulated_workers import simulated_workers
from trainer.pool.assets import AssetStore
from trainer.pool.client import RenderPool
from trainer.pool.options import PoolSettings
from trainer.pool.security import Security


@dataclass(frozen=True)
class Fleet:
    """Simulated workers."""

    workers: int
    service_ms: float
    #: Number of slow workers, and how many times longer they take.
    slow: int = 0
    slowness: float = 1.0
    #: Tasks of a run, per worker.
    tasks_per_worker: int = 80

    @property
    def name(self) -> str:
        """Return a name such as "200x50ms-1-slow"."""
        return f"{self.workers}x{self.service_ms:g}ms" + (f"-{self.slow}-slow" if self.slow else "")

    @property
    def ideal_tasks_per_s(self) -> float:
        """Return the throughput of workers that never wait."""
        alike, slow = self.workers - self.slow, self.slow / self.slowness
        return 1000 * (alike + slow) / self.service_ms


@dataclass(frozen=True)
class FleetMeasurement:
    """One run."""

    workers: int
    tasks: int
    makespan_s: float
    ideal_s: float
    #: Ideal divided by measured makespan.
    efficiency: float
    #: Processor time of the client's process, in cores and per task.
    client_cores: float
    client_ms_per_task: float
    #: Processor time per message of a bare stream, measured right after the run.
    echo_ms_per_task: float
    #: Client's processor time divided by that of the bare stream.
    ratio_to_echo: float
    #: Tasks that were sent to a second worker.
    tasks_copied: int


#: Targets: an efficiency of 0.95, 1.15 of the ideal makespan with a slow worker, and a ratio to the echo of 1.5.
FLEETS = (Fleet(200, 50.0), Fleet(8, 50.0, slow=1, slowness=4.0), Fleet(200, 50.0, slow=1, slowness=4.0))


def bench_fleets(fleets: Sequence[Fleet] = FLEETS, *, repeats: int = 3) -> dict[str, object]:
    """Measure each fleet.

    Returns:
        `fleets`, the medians over the runs of each by its name, and all `runs`.
    """
    measured = {fleet.name: _measure(fleet, repeats) for fleet in fleets}
    summary = {
        name: {
            "efficiency": statistics.median(run.efficiency for run in runs),
            "makespan_ratio": statistics.median(1 / run.efficiency for run in runs),
            "client_cores": statistics.median(run.client_cores for run in runs),
            "client_ms_per_task": statistics.median(run.client_ms_per_task for run in runs),
            "ratio_to_echo": statistics.median(run.ratio_to_echo for run in runs),
        }
        for name, runs in measured.items()
    }
    return {"fleets": summary, "runs": {name: [asdict(run) for run in runs] for name, runs in measured.items()}}


def _measure(fleet: Fleet, repeats: int) -> list[FleetMeasurement]:
    settings = PoolSettings(security=Security())
    with (
        simulated_workers(fleet.workers, fleet.service_ms / 1000, slow=fleet.slow, slowness=fleet.slowness) as endpoint,
        RenderPool(endpoint, assets=AssetStore(), settings=settings) as pool,
    ):
        deadline_s = time.monotonic() + settings.connect_timeout_s
        while pool.stats.workers_up < fleet.workers and time.monotonic() < deadline_s:
            time.sleep(0.01)
        pool.render(_tasks(4 * fleet.workers))  # The client estimates their speed.
        return [_run(pool, endpoint.split(","), fleet) for _ in range(repeats)]


def _run(pool: RenderPool, addresses: Sequence[str], fleet: Fleet) -> FleetMeasurement:
    tasks = _tasks(fleet.workers * fleet.tasks_per_worker)
    copied = pool.stats.tasks_copied
    began_s, cpu_s = time.perf_counter(), time.process_time()
    pool.render(tasks)
    makespan_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    ideal_s = len(tasks) / fleet.ideal_tasks_per_s
    requests = [pb.RenderRequests(requests=[pb.RenderRequest(task=task)]).SerializeToString() for task in tasks]
    echo_ms = 1000 * echo_cpu_s(addresses, requests)
    return FleetMeasurement(
        workers=fleet.workers,
        tasks=len(tasks),
        makespan_s=makespan_s,
        ideal_s=ideal_s,
        efficiency=ideal_s / makespan_s,
        client_cores=cpu_s / makespan_s,
        client_ms_per_task=1000 * cpu_s / len(tasks),
        echo_ms_per_task=echo_ms,
        ratio_to_echo=1000 * cpu_s / len(tasks) / echo_ms,
        tasks_copied=pool.stats.tasks_copied - copied,
    )


def _tasks(count: int) -> list[pb.RenderTask]:
    return [pb.RenderTask(id=f"bench/{i}", seed=i) for i in range(count)]
