"""Workers of the trainer's own: the same bytes however many there are, and none left when it is gone."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.servers import PATIENCE_S, alive, engine_processes, folders, server
from support.tasks import ASSETS, sprite_task, without_timing

from trainer.errors import InputError
from trainer.pool import PoolOptions, RenderPool, open_pool
from trainer.pool.local import LocalWorkers

TASKS = [sprite_task(f"t{i}", seed=i) for i in range(24)]


@pytest.fixture(scope="module")
def undisturbed() -> Iterator[list[bytes]]:
    """What one worker renders when nothing happens."""
    with open_pool(PoolOptions(engine="fake", workers=1), assets=ASSETS.__getitem__) as pool:
        yield [without_timing(result) for result in pool.render(TASKS)]


def test_two_workers_give_the_same_bytes_as_one(undisturbed: list[bytes]) -> None:
    with open_pool(PoolOptions(engine="fake", workers=2), assets=ASSETS.__getitem__) as pool:
        assert [without_timing(result) for result in pool.render(TASKS)] == undisturbed


def test_a_worker_lost_on_the_way_changes_nothing(undisturbed: list[bytes]) -> None:
    options = ("--engine", "fake", "--workers", "1", "--fake-service-ms", "30")
    with server(*options) as first, server(*options) as second:
        addresses = f"{first.address},{second.address}"
        with RenderPool(addresses, assets=ASSETS.__getitem__) as pool:
            futures = pool.submit_all(TASKS)
            futures[3].result(timeout=PATIENCE_S)
            first.process.kill()
            results = [future.result(timeout=PATIENCE_S) for future in futures]
            assert [without_timing(result) for result in results] == undisturbed
            assert pool.stats.tasks_done == len(TASKS)
            assert pool.stats.tasks_resent >= 1


def test_a_worker_that_drains_on_the_way_changes_nothing(undisturbed: list[bytes]) -> None:
    options = ("--engine", "fake", "--workers", "1", "--fake-service-ms", "30")
    with (
        server(*options) as first,
        server(*options) as second,
        RenderPool(f"{first.address},{second.address}", assets=ASSETS.__getitem__) as pool,
    ):
        futures = pool.submit_all(TASKS)
        futures[3].result(timeout=PATIENCE_S)
        assert first.stop() == 0
        results = [future.result(timeout=PATIENCE_S) for future in futures]
        assert [without_timing(result) for result in results] == undisturbed
        assert pool.stats.tasks_resent == 0


@pytest.mark.parametrize("engine", ["raster", pytest.param("blender", marks=pytest.mark.blender)])
def test_real_engines_end_to_end(engine: str) -> None:
    if engine == "blender":
        pytest.importorskip("bpy")
    rendered = []
    for workers in (1, 2):
        with open_pool(PoolOptions(engine=engine, workers=workers), assets=ASSETS.__getitem__) as pool:
            results = pool.render(TASKS[:6])
            assert [result.id for result in results] == [task.id for task in TASKS[:6]]
            assert all(any(column.region.width_px > 0 for column in result.columns) for result in results)
            rendered.append([without_timing(result) for result in results])
    assert rendered[0] == rendered[1]


def test_closing_leaves_nothing_behind() -> None:
    local = LocalWorkers(engine="fake", workers=1)
    kept = folders(local.pid)
    processes = [local.pid, *engine_processes(local.pid)]
    assert len(processes) == 2
    local.close()
    local.close()
    assert not any(map(alive, processes))
    assert not any(folder.exists() for folder in kept)


_TRAINER = """
import sys, time
from trainer.pool.local import LocalWorkers
print(LocalWorkers(engine="fake", workers=1).pid, flush=True)
time.sleep(600)
"""


def test_workers_end_when_the_trainer_is_killed() -> None:
    trainer = subprocess.Popen([sys.executable, "-c", _TRAINER], stdout=subprocess.PIPE)
    with trainer:
        pid = int(trainer.stdout.readline())  # type: ignore[union-attr]
        processes = [pid, *engine_processes(pid)]
        assert all(map(alive, processes))
        os.kill(trainer.pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while any(map(alive, processes)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_blender_without_bpy(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bpy" else find_spec(name))
    with pytest.raises(InputError) as caught:
        open_pool(PoolOptions(engine="blender"), assets=ASSETS.__getitem__)
    assert str(caught.value) == (
        "engine 'blender' needs bpy, which is not installed: pip install 'metasim[render]', use the engine "
        "'raster' for sprite scenes, or give --renderer the address of other workers"
    )


def test_an_engine_that_does_not_start() -> None:
    with pytest.raises(InputError) as caught:
        LocalWorkers(engine="unreal", workers=1)
    assert str(caught.value) == (
        "the local render workers (engine 'unreal') did not start: "
        "--engine 'unreal' is unknown; allowed: blender, raster, fake"
    )


def test_the_default_is_a_process_per_cpu() -> None:
    local = LocalWorkers(engine="fake")
    try:
        assert local.workers == len(os.sched_getaffinity(0))
        assert len(engine_processes(local.pid)) == local.workers
    finally:
        local.close()
        assert not Path(f"/proc/{local.pid}").exists()


def test_the_number_of_workers_is_bounded_by_the_machine() -> None:
    text = r"did not start: --workers 100000 is too many for \d+ CPUs and [\d.]+ GiB of memory; it must be at most \d+$"
    with pytest.raises(InputError, match=text):
        LocalWorkers(engine="fake", workers=100_000)
