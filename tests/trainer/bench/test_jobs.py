"""Whole jobs, at reduced sizes."""

import json

import pytest

from trainer.bench.jobs import JOBS, Job, bench_jobs, quick, table
from trainer.errors import InputError


def test_a_job_is_measured_command_by_command() -> None:
    job = Job("mnist-rot", count=10, engine="raster")
    found = json.loads(json.dumps(bench_jobs(jobs={"digits": job}, reduced=True, workers=1)))
    assert (found["quick"], found["workers"], set(found["jobs"])) == (True, 1, {"digits"})
    commands = found["jobs"]["digits"]["commands"]
    assert [command["command"] for command in commands] == ["train", "generate"]
    for command in commands:
        assert command["trainer_share"] == pytest.approx(command["trainer_cpu_s"] / command["seconds"])
        assert command["worker_cpu_s"] > 0
    assert found["jobs"]["digits"]["seconds"] == pytest.approx(sum(command["seconds"] for command in commands))
    assert [row[1] for row in table(found)] == ["command", "train", "generate", "all"]


def test_quick_reduces_every_size() -> None:
    demo = quick(JOBS["demo"])
    assert (demo.train_images, demo.test_images, demo.count) == (100, 50, 20)
    assert demo.overrides["training.epochs"] == 1


def test_an_unknown_job_is_one_clear_line() -> None:
    with pytest.raises(InputError, match="there is no job 'dmeo'; did you mean 'demo'"):
        bench_jobs(["dmeo"])
