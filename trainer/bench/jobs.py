"""Whole jobs, from an experiment to its results: the figures of `metasim bench jobs`.

Each job runs as a user would run it, one command after the other in this process. The trainer's share is the processor
time of this process divided by the duration: the rest is rendering, or waiting for it.
"""

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from trainer.errors import InputError
from trainer.evaluate import EvaluateOptions, evaluate
from trainer.generate import GenerateOptions, generate
from trainer.grammar.document import nearest
from trainer.pool import PoolOptions
from trainer.progress import Progress, Silent
from trainer.train import TrainOptions, train


@dataclass(frozen=True)
class Job:
    """A training, and what follows it."""

    experiment: str
    overrides: Mapping[str, object] = field(default_factory=dict)
    #: Images that each task network is trained on; None: no evaluation.
    train_images: int | None = None
    test_images: int = 5_000
    #: Size of the dataset; None: no dataset.
    count: int | None = None
    #: Engine; None: the experiment's.
    engine: str | None = None


@dataclass(frozen=True)
class Measurement:
    """One command of a job."""

    command: str
    seconds: float
    #: Processor time of this process, and of the local workers, in seconds.
    trainer_cpu_s: float
    worker_cpu_s: float
    #: Processor time of this process divided by the duration.
    trainer_share: float


JOBS = {
    "demo": Job("mnist-rot", train_images=10_000, count=1_000),
    "tyol-8": Job("tyol-8"),
    "aerial": Job("aerial"),
    "driving-city": Job("driving-city"),
}

#: What --quick reduces: enough to see that a job runs, too little to learn anything.
QUICK = {
    "target.count": 32,
    "training.epochs": 1,
    "training.steps": 2,
    "training.batch": 4,
    "training.features": "random",
    "training.pretraining_steps": 10,
    "training.start": "prior",
    "training.monitor_scenes": 16,
    "training.monitor_images": 0,
}


def quick(job: Job) -> Job:
    """Return the same job with reduced sizes."""
    return replace(
        job,
        overrides={**job.overrides, **QUICK},
        train_images=job.train_images and 100,
        test_images=50,
        count=job.count and 20,
    )


def bench_jobs(
    names: Sequence[str] = (),
    *,
    jobs: Mapping[str, Job] = JOBS,
    reduced: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run jobs and measure each command.

    Args:
        names: jobs to run; default: all.
        jobs: the jobs by name.
        reduced: run them at reduced sizes.
        workers: number of local worker processes; default: one per CPU that this process may use.
        progress: shown while they run.

    Returns:
        `quick`, `workers`, and for each job in `jobs` its `commands` and their total `seconds`.

    Raises:
        InputError: there is no such job.
    """
    progress = progress or Silent()
    for name in names:
        if name not in jobs:
            raise InputError(f"there is no job {name!r}; {nearest(name, jobs)}")
    measured: dict[str, Any] = {}
    for name in names or jobs:
        progress.note(f"job {name}")
        job = quick(jobs[name]) if reduced else jobs[name]
        with tempfile.TemporaryDirectory() as folder:
            commands = _run(job, Path(folder), PoolOptions(engine=job.engine, workers=workers), progress)
        measured[name] = {
            "seconds": sum(command.seconds for command in commands),
            "commands": [asdict(command) for command in commands],
        }
    return {"quick": reduced, "workers": workers or len(os.sched_getaffinity(0)), "jobs": measured}


def _run(job: Job, folder: Path, pool: PoolOptions, progress: Progress) -> list[Measurement]:
    run = folder / "run"
    options = TrainOptions(job.experiment, run, overrides=job.overrides, pool=pool)
    measured = [_measured("train", lambda: train(options, progress))]
    if job.train_images:
        evaluation = EvaluateOptions(run, train_images=job.train_images, test_images=job.test_images, pool=pool)
        measured.append(_measured("evaluate", lambda: evaluate(evaluation, progress)))
    if job.count:
        dataset = GenerateOptions(str(run), job.count, folder / "dataset", pool=pool)
        measured.append(_measured("generate", lambda: generate(dataset, progress)))
    return measured


def _measured(command: str, work: Callable[[], object]) -> Measurement:
    before, began_s = psutil.Process().cpu_times(), time.monotonic()
    work()
    seconds, after = time.monotonic() - began_s, psutil.Process().cpu_times()
    cpu_s = after.user + after.system - before.user - before.system
    workers_s = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )  # The local workers end with the command.
    return Measurement(command, seconds, cpu_s, workers_s, cpu_s / seconds)


def table(result: dict[str, Any]) -> list[list[str]]:
    """Return a row per command and one per job."""
    rows = [["job", "command", "s", "trainer CPU s", "worker CPU s", "trainer's share"]]
    for name, job in result["jobs"].items():
        for command in job["commands"]:
            cpu = [f"{command['trainer_cpu_s']:.0f}", f"{command['worker_cpu_s']:.0f}"]
            rows.append(
                [name, command["command"], f"{command['seconds']:.0f}", *cpu, f"{command['trainer_share']:.0%}"]
            )
        rows.append([name, "all", f"{job['seconds']:.0f}", "", "", ""])
    return rows
