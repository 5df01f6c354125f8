"""`metasim pool`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from metasim.v1 import render_pb2 as pb
from support.tasks import ASSETS, sprite_task

from trainer.errors import PoolLost
from trainer.pool import scaling
from trainer.pool.failed_tasks import keep_task
from trainer.runs.folder import Run, RunConfig


def test_the_table_says_how_the_workers_are(metasim: Callable, endpoint: str) -> None:
    done = metasim("pool status", f"{endpoint},127.0.0.1:9", "--watch 0")
    assert done.status == 0
    head, row = (line.split() for line in done.out.splitlines())
    assert " ".join(head) == "worker host engine device slots busy queued renders/s age done failed restarts memory"
    assert row[0] == endpoint
    assert row[2:6] == ["raster", "cpu", "3", "0/1"]
    assert done.err.startswith("ipv4:127.0.0.1:9 does not answer: UNAVAILABLE: ")


def test_the_same_as_json(metasim: Callable, endpoint: str) -> None:
    done = metasim("pool status", endpoint, "--watch 0 --json")
    answer = json.loads(done.out)
    assert answer["endpoint"] == endpoint
    (worker,) = answer["workers"]
    assert (worker["engine"], worker["problem"], worker["processes"]) == ("raster", "", 1)
    assert worker["memory_bytes"] > 1 << 20


def test_nobody_there(metasim: Callable) -> None:
    done = metasim("pool status 127.0.0.1:9 --watch 0")
    assert done.status == 2
    assert done.err.startswith("metasim: no worker answers at 127.0.0.1:9: UNAVAILABLE: ")
    assert len(done.err.splitlines()) == 1


def test_without_docker(metasim: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert scaling.running_workers() == []
    done = metasim("pool scale 2")
    assert done.status == 2
    assert done.err.startswith("metasim: Docker cannot be used (")
    assert done.err.endswith("); check that it runs and that DOCKER_HOST names it\n")
    assert metasim("pool scale 0").status == 2


def test_a_task_that_was_kept_is_rendered_again(metasim: Callable, endpoint: str, tmp_path: Path) -> None:
    task = sprite_task("scene/1")
    path = keep_task(tmp_path, pb.RenderRequest(task=task).SerializeToString(), ASSETS.__getitem__)
    done = metasim("pool render", str(path), "--renderer", endpoint)
    assert done.status == 0
    assert done.out.startswith("task 'scene/1' renders: 13 images in ")
    assert (
        metasim("pool render missing.task").err == "metasim: missing.task cannot be read: No such file or directory\n"
    )


def test_a_training_that_loses_its_workers_says_how_to_go_on(
    metasim: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_luck(*_: object) -> None:
        Run.create(Path("lost"), RunConfig(experiment="mnist-rot", overrides={}, seed=0, engine="fake"))
        raise PoolLost("3/1", "no render worker was left for 300 s")

    monkeypatch.setattr("trainer.train.train", no_luck)
    done = metasim("train mnist-rot --out lost --renderer render:50051")
    assert done.status == 1
    assert done.err.splitlines()[-1] == (
        "metasim: task '3/1': no render worker was left for 300 s; nothing is learned yet in lost. "
        "Continue with: metasim train --resume --out lost --renderer render:50051"
    )
