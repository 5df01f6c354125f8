"""The overhead of the pool: the figures of `metasim bench pool` for local workers.

With p processes and a makespan of T seconds, the processes have p·T seconds. They work for the sum of the tasks'
service times (build, render and encode, as the workers report them):

    overhead = 1 - sum(service) / (p · T)

The overhead includes serialization on both sides, gRPC, queues, dispatch, decoding by the caller, and the start and
the tail of the run. All figures of an entry come from one run.
"""

import importlib.util
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from metasim.memory import keep_freed_memory
from metasim.tensors import tensor_from_proto
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from trainer.bench.digits import digit_tasks
from trainer.pool.assets import AssetStore
from trainer.pool.client import RenderPool
from trainer.pool.local import LocalWorkers

_STEPS = {
    scene_pb2.ATTRIBUTE_X: 0.5,
    scene_pb2.ATTRIBUTE_Y: 0.5,
    scene_pb2.ATTRIBUTE_YAW: 2.0,
    scene_pb2.ATTRIBUTE_SCALE: 0.05,
    scene_pb2.ATTRIBUTE_WIDTH: 1.0,
    scene_pb2.ATTRIBUTE_HEIGHT: 1.0,
}


@dataclass(frozen=True)
class Load:
    """The tasks of a run and the engine that renders them."""

    #: Engine of the workers.
    engine: str
    #: Least duration of a task of the engine "fake".
    service_ms: float
    #: Width and height of the images.
    size_px: int


@dataclass(frozen=True)
class Measurement:
    """One run of one load."""

    engine: str
    workers: int
    tasks: int
    size_px: int
    columns: int
    #: Mean service time of a task.
    service_ms: float
    tasks_per_s: float
    #: `workers` divided by the mean service time.
    ideal_tasks_per_s: float
    overhead: float
    #: Processor time of this process, in cores.
    client_cores: float
    #: Mean size of a result.
    result_bytes: float


#: Tasks of 10 and 20 ms of a simulated engine.
SIMULATED = (Load("fake", 10.0, 64), Load("fake", 20.0, 64))

#: Tasks that Blender renders.
BLENDER = Load("blender", 0.0, 64)


def default_loads() -> tuple[Load, ...]:
    """Return the simulated loads, and Blender's if it is installed."""
    return SIMULATED if importlib.util.find_spec("bpy") is None else (*SIMULATED, BLENDER)


def bench_pool(
    *, loads: Sequence[Load] | None = None, workers: int = 2, tasks: int = 400, repeats: int = 3
) -> dict[str, object]:
    """Measure each load on local workers.

    Args:
        loads: loads to measure; default: `default_loads()`.
        workers: number of processes.
        tasks: number of tasks per run.
        repeats: number of runs per load.

    Returns:
        `overhead` per load (the median of its runs, by a name such as "fake-10ms-64px"), their maximum, and all runs.

    Raises:
        InputError: an engine cannot run here.
    """
    keep_freed_memory()
    runs: list[Measurement] = []
    overhead: dict[str, float] = {}
    for load in default_loads() if loads is None else loads:
        measured = _measure(load, workers, tasks, repeats)
        runs += measured
        service = f"-{load.service_ms:g}ms" if load.service_ms else ""
        overhead[f"{load.engine}{service}-{load.size_px}px"] = statistics.median(run.overhead for run in measured)
    return {"overhead": overhead, "max_overhead": max(overhead.values()), "runs": [asdict(run) for run in runs]}


def _measure(load: Load, workers: int, tasks: int, repeats: int) -> list[Measurement]:
    store = AssetStore()
    batch = digit_tasks(tasks, load.size_px, _STEPS, store)
    extra = ("--fake-service-ms", str(load.service_ms)) if load.service_ms else ()
    local = LocalWorkers(engine=load.engine, workers=workers, extra=extra)
    with RenderPool(local.address, assets=store, on_close=local.close) as pool:
        pool.render(batch[: 8 * workers])  # Loads the assets.
        return [_run(pool, load, workers, batch) for _ in range(repeats)]


def _run(pool: RenderPool, load: Load, workers: int, batch: Sequence[pb.RenderTask]) -> Measurement:
    began_s, cpu_s = time.perf_counter(), time.process_time()
    results = []
    for future in pool.submit_all(batch):
        results.append(future.result())
        _decode(results[-1])
    makespan_s = time.perf_counter() - began_s
    cpu_s = time.process_time() - cpu_s
    service_s = sum(r.timing.build_s + r.timing.render_s + r.timing.encode_s for r in results)
    return Measurement(
        engine=load.engine,
        workers=workers,
        tasks=len(batch),
        size_px=load.size_px,
        columns=len(batch[0].columns),
        service_ms=1000 * service_s / len(batch),
        tasks_per_s=len(batch) / makespan_s,
        ideal_tasks_per_s=workers * len(batch) / service_s,
        overhead=1 - service_s / (workers * makespan_s),
        client_cores=cpu_s / makespan_s,
        result_bytes=sum(result.ByteSize() for result in results) / len(batch),
    )


def _decode(result: pb.RenderResult) -> list[np.ndarray]:
    tensors = [layer.tensor for layer in result.layers] + [column.difference for column in result.columns]
    return [tensor_from_proto(tensor) for tensor in tensors]
