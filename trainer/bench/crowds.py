"""How well the client keeps many workers busy: the simulated part of `metasim bench pool`.

With workers that take s_i seconds for a task, n tasks cannot be done in less than n / Σ 1/s_i seconds. The makespan is
compared with that. The workers are simulated in one process beside the client's.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from metasim.v1 import render_pb2 as pb

from trainer.bench.simulated_workers import simulated_workers
from trainer.pool.assets import AssetStore
from trainer.pool.client import RenderPool
from trainer.pool.security import Security
from trainer.pool.settings import PoolSettings


@dataclass(frozen=True)
class Crowd:
    """Workers that only take their time."""

    workers: int
    service_ms: float
    #: How many of them are slow, and how many times as long those take.
    slow: int = 0
    slowness: float = 1.0
    #: Tasks of a run, per worker.
    tasks_per_worker: int = 80

    @property
    def name(self) -> str:
        """Such as "200x50ms-1-slow"."""
        return f"{self.workers}x{self.service_ms:g}ms" + (f"-{self.slow}-slow" if self.slow else "")

    @property
    def ideal_tasks_per_s(self) -> float:
        """What they can do together."""
        alike, slow = self.workers - self.slow, self.slow / self.slowness
        return 1000 * (alike + slow) / self.service_ms


@dataclass(frozen=True)
class CrowdMeasurement:
    """One run."""

    workers: int
    tasks: int
    makespan_s: float
    ideal_s: float
    #: Ideal divided by measured makespan.
    throughput_share: float
    #: Processor time of the client's process, in cores.
    client_cores: float
    #: Tasks that were sent to a second worker.
    tasks_copied: int


#: What the pool is held to: at least 95 % of the ideal throughput, and 1.15 of the ideal makespan with a slow one.
CROWDS = (Crowd(200, 50.0), Crowd(8, 50.0, slow=1, slowness=4.0), Crowd(200, 50.0, slow=1, slowness=4.0))


def bench_crowds(crowds: Sequence[Crowd] = CROWDS, *, repeats: int = 3) -> dict[str, object]:
    """Measures each.

    Returns:
        `crowds`, the medians over the runs of each, by its name, and all `runs`.
    """
    measured = {crowd.name: _measure(crowd, repeats) for crowd in crowds}
    summary = {
        name: {
            "throughput_share": statistics.median(run.throughput_share for run in runs),
            "makespan_ratio": statistics.median(1 / run.throughput_share for run in runs),
            "client_cores": statistics.median(run.client_cores for run in runs),
        }
        for name, runs in measured.items()
    }
    return {"crowds": summary, "runs": {name: [asdict(run) for run in runs] for name, runs in measured.items()}}


def _measure(crowd: Crowd, repeats: int) -> list[CrowdMeasurement]:
    settings = PoolSettings(security=Security())
    with (
        simulated_workers(crowd.workers, crowd.service_ms / 1000, slow=crowd.slow, slowness=crowd.slowness) as endpoint,
        RenderPool(endpoint, assets=AssetStore(), settings=settings) as pool,
    ):
        deadline_s = time.monotonic() + settings.connect_timeout_s
        while pool.stats.workers_up < crowd.workers and time.monotonic() < deadline_s:
            time.sleep(0.01)
        pool.render(_tasks(4 * crowd.workers))  # So that it is known how fast they are.
        return [_run(pool, crowd) for _ in range(repeats)]


def _run(pool: RenderPool, crowd: Crowd) -> CrowdMeasurement:
    tasks = _tasks(crowd.workers * crowd.tasks_per_worker)
    copied = pool.stats.tasks_copied
    began_s, cpu_s = time.perf_counter(), time.process_time()
    pool.render(tasks)
    makespan_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    ideal_s = len(tasks) / crowd.ideal_tasks_per_s
    return CrowdMeasurement(
        workers=crowd.workers,
        tasks=len(tasks),
        makespan_s=makespan_s,
        ideal_s=ideal_s,
        throughput_share=ideal_s / makespan_s,
        client_cores=cpu_s / makespan_s,
        tasks_copied=pool.stats.tasks_copied - copied,
    )


def _tasks(count: int) -> list[pb.RenderTask]:
    return [pb.RenderTask(id=f"bench/{i}", seed=i) for i in range(count)]
