"""`metasim dataset compare`: labels of a run's models beside those of photographs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.moving_run import moving_run

WORLD = """
unit: px
engine: raster
render: {width: 48, height: 32, samples: 1, view_transform: raw}
assets: {cells: {procedural: blood-cells}}
nodes:
  camera: {camera: orthographic, fov: 32, z: 10}
  cell:
    class: cell
    sprite: cells
    width: 8
    height: 8
    x: {uniform: [-10, 10]}
    scale: {normal: [1, 0.01], mutable: true, range: [0.5, 2]}
scene: [camera, {kind: cell, count: 1}]
task: detection
"""


def test_a_run_is_compared_with_photographs(metasim: Callable, tmp_path: Path) -> None:
    (tmp_path / "world.yaml").write_text(WORLD)
    moving_run(tmp_path / "run", "world.yaml", {"cell.scale": 1.0})
    photos = tmp_path / "photos"
    photos.mkdir()
    lines = []
    for number in range(12):
        Image.fromarray(np.zeros((64, 96, 3), np.uint8)).save(photos / f"{number}.png")
        boxes = [[20, 20, 30, 30]] * (1 + number % 2)
        lines.append(
            f'{{"file_name": "{number}.png", "objects": {{"bbox": {boxes}, "categories": {["cell"] * len(boxes)}}}}}'
        )
    (photos / "metadata.jsonl").write_text("\n".join(lines).replace("'", '"'))
    done = metasim("dataset compare run photos --scenes 40 --workers 1")
    assert done.status == 0, done.err
    assert "12 photographs (95 % interval)" in done.out
    assert done.out.count("  cell") == 3
    count, share, size = (line.split() for line in done.out.splitlines() if line.startswith("  cell"))
    assert count[1:4] == ["1.00", "1.00", "1.50"]
    assert share[1:4] == ["100.0", "100.0", "100.0"]
    assert float(size[2]) == pytest.approx(2 * float(size[1]), rel=0.1)
    assert size[3] == "15.0"
