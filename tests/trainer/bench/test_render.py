"""The figures of the render benchmark."""

from pathlib import Path

import pytest
from support.grammars import write_sprites

from trainer.bench.render import bench_render


def test_rates_belong_together(tmp_path: Path) -> None:
    found = bench_render(str(write_sprites(tmp_path)), engine="raster", workers=2, scenes=20, repeats=1)
    assert (found["experiment"], found["engine"], found["width_px"], found["samples"]) == ("world", "raster", 32, 1)
    one, two = found["runs"]
    assert (one["workers"], one["speedup"], two["workers"]) == (1, 1, 2)
    for run in (one, two):
        assert run["samples_per_s"] == pytest.approx(run["frames_per_s"] * 32 * 32)
        assert run["speedup"] == pytest.approx(run["frames_per_s"] / one["frames_per_s"])
