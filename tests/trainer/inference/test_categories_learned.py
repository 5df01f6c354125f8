"""Frequencies of categories are learned from images, by both estimators."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.pool import PoolOptions
from trainer.train import TrainOptions, train

WORLD = """\
unit: px
render: {width: 32, height: 32, samples: 1, filter_width: 0, view_transform: raw}
engine: raster
assets:
  shapes: {images: shapes}
nodes:
  camera: {camera: orthographic, fov: 32, z: 10}
  thing:
    class: thing
    sprite: {set: shapes, weights: {bar: 0.3, block: 0.4, frame: 0.3}, mutable: true}
    width: 16
    height: 16
    x: {normal: [0, 2]}
scene: [camera, thing]
target:
  count: 300
  overrides:
    thing.sprite: {set: shapes, weights: {bar: 0.7, block: 0.2, frame: 0.1}}
training:
  pretraining_steps: 20
  start: prior
  monitor_scenes: 300
  monitor_images: 0
  epochs: 1
  steps: 30
  batch: 32
  learning_rate: 0.015
"""


@pytest.fixture
def world(tmp_path: Path) -> Path:
    (tmp_path / "shapes").mkdir()
    for name in ("bar", "block", "frame"):
        pixels = np.zeros((8, 8, 4), np.uint8)
        pixels[3 : 5 if name == "bar" else 8, :, :] = 255
        if name == "frame":
            pixels[:] = 255
            pixels[2:6, 2:6] = 0
        Image.fromarray(pixels, "RGBA").save(tmp_path / "shapes" / f"{name}.png")
    path = tmp_path / "world.yaml"
    path.write_text(WORLD)
    return path


@pytest.mark.parametrize("choice_renders", [12, 0], ids=["all categories rendered", "score function"])
def test_frequencies_follow_the_target(world: Path, choice_renders: int) -> None:
    out = world.parent / "run"
    overrides = {"training.choice_renders": choice_renders}
    run = train(TrainOptions(str(world), out, overrides=overrides, pool=PoolOptions(workers=1)))

    (learned,), (target,) = run.summary["choices"]["learned"], run.summary["choices"]["target"]
    assert learned["name"] == "sprite"
    for name, wanted in target["frequencies"].items():
        assert learned["frequencies"][name] == pytest.approx(wanted, abs=0.1), name
