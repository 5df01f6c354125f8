"""The number of processes that share a GPU, chosen from given rates; no GPU is needed."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from metasim.v1 import render_pb2 as pb
from support.tasks import sprite_task

from render_server.errors import RenderServerError
from render_server.limits import Limits
from render_server.processes.engine_process import EngineSettings
from render_server.processes.sharing import fastest, images_per_s, measured_processes, small_task


def chosen(rates: Mapping[int, float], most: int = 8) -> tuple[int, list[int]]:
    """Return the number of processes, and the numbers that were tried."""
    tried = []

    async def rate_of(count: int) -> float:
        tried.append(count)
        if count not in rates:
            raise RenderServerError("out of memory")
        return rates[count]

    return asyncio.run(fastest(rate_of, most)), tried


def test_a_device_that_one_process_fills_gets_one() -> None:
    assert chosen({1: 100, 2: 110}) == (1, [1, 2])


def test_processes_are_doubled_while_that_gains() -> None:
    assert chosen({1: 100, 2: 190, 4: 260, 8: 270}) == (4, [1, 2, 4, 8])
    assert chosen({1: 100, 2: 200, 4: 400, 8: 800}) == (8, [1, 2, 4, 8])


def test_more_than_the_device_holds_are_not_taken() -> None:
    assert chosen({1: 100, 2: 190}) == (2, [1, 2, 4])


def test_a_device_that_renders_nothing_is_an_error() -> None:
    with pytest.raises(RenderServerError, match="out of memory"):
        chosen({})


def test_the_measurement_renders(tmp_path: Path) -> None:
    settings = EngineSettings("fake", tmp_path, tmp_path, Limits(), service_time_s=0.02)

    async def measure() -> tuple[float, int]:
        rate = await images_per_s(settings, sprite_task(columns=False), 1, seconds=0.2)
        return rate, await measured_processes(settings, sprite_task(columns=False), most=1)

    rate, count = asyncio.run(measure())
    assert 0 < rate <= 50
    assert count == 1


def test_a_task_that_fails_is_an_error(tmp_path: Path) -> None:
    settings = EngineSettings("raster", tmp_path, tmp_path, Limits())
    with pytest.raises(RenderServerError, match="orthographic camera"):
        asyncio.run(images_per_s(settings, small_task(), 1, seconds=0.1))


def test_the_small_scene_is_one_that_blender_renders() -> None:
    task = small_task()
    assert (task.settings.width_px, task.settings.height_px) == (64, 64)
    assert list(task.outputs) == [pb.OUTPUT_IMAGE_U8]
