"""The figures of the Jacobian's benchmark."""

import importlib.util
import json

import pytest
from support.recorded_steps import RecordedSteps

from trainer.bench.jacobian import bench_jacobian
from trainer.bench.street_scene import street_task
from trainer.pool.assets import AssetStore


def test_a_street_is_what_it_says() -> None:
    assets = AssetStore()
    task = street_task(0, assets)
    assert (len(task.columns), len(task.scene.nodes)) == (180, 63)
    assert len(assets) == 4
    body = assets(task.scene.nodes[3].mesh.asset.hash).decode()
    assert "element face 7936" in body
    assert len(body.splitlines()) == 9 + 65 * 124 + 7936
    assert street_task(0, assets) == task
    assert street_task(1, assets) != task


def test_digits_are_counted_and_steps_are_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bpy" else found(name))
    progress = RecordedSteps()
    cost = json.loads(json.dumps(bench_jacobian(workers=1, progress=progress)))["digits"]["raster"]
    assert progress.begun == progress.planned == ["measure digits with raster"]
    assert (cost["scenes"], cost["columns"], cost["renders"]) == (64, 192, 448)
    assert cost["seconds_per_render"] == pytest.approx(cost["worker_seconds"] / 448)
    assert cost["worker_seconds"] < cost["batch_seconds"]
    assert cost["bytes_per_column"]["vjp"] <= 100 < cost["bytes_per_column"]["jacobian"]
