"""The figures of the Jacobian's benchmark."""

import dataclasses
import json

import pytest

from trainer.bench.jacobian import _digits
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


def test_digits_are_counted() -> None:
    cost = json.loads(json.dumps(dataclasses.asdict(_digits("raster", 1))))
    assert (cost["scenes"], cost["columns"], cost["renders"]) == (64, 192, 448)
    assert cost["seconds_per_render"] == pytest.approx(cost["worker_seconds"] / 448)
    assert cost["worker_seconds"] < cost["batch_seconds"]
    assert cost["bytes_per_column"]["vjp"] <= 100 < cost["bytes_per_column"]["jacobian"]
