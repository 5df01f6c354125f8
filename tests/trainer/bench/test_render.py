"""The figures of the render benchmark."""

from pathlib import Path

import pytest
from support.grammars import write_sprites
from support.recorded_steps import RecordedSteps

from trainer.bench.render import bench_render


def test_rates_belong_together(tmp_path: Path) -> None:
    found = bench_render(str(write_sprites(tmp_path)), engine="raster", workers=2, scenes=20, repeats=1)
    assert (found["experiment"], found["engine"], found["width_px"], found["samples"]) == ("world", "raster", 32, 1)
    one, two = found["runs"]
    assert (one["workers"], one["speedup"], two["workers"]) == (1, 1, 2)
    for run in (one, two):
        assert run["samples_per_s"] == pytest.approx(run["frames_per_s"] * 32 * 32)
        assert run["speedup"] == pytest.approx(run["frames_per_s"] / one["frames_per_s"])


def test_steps_are_those_of_the_plan(tmp_path: Path) -> None:
    progress = RecordedSteps()
    bench_render(str(write_sprites(tmp_path)), engine="raster", workers=1, scenes=4, repeats=1, progress=progress)
    assert progress.begun == progress.planned == ["draw the scenes", "start 1 worker", "render with 1 worker"]


def test_overrides_and_the_budget_change_the_work(tmp_path: Path) -> None:
    world = str(write_sprites(tmp_path))
    overrides = {"render.width": 16}
    found = bench_render(world, engine="raster", workers=1, scenes=500, repeats=3, overrides=overrides, budget_s=0.05)
    assert (found["width_px"], found["height_px"]) == (16, 32)
    assert 1 <= found["scenes"] < 500
