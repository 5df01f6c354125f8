"""Small grammars for tests, and a folder to write them to."""

from pathlib import Path

import numpy as np
from PIL import Image

#: The beginning of a flat world: the images that `write_sprites` makes, and a camera that sees 32 x 32 units as pixels.
#: Kinds of nodes go on.
FLAT = """\
unit: px
render: {width: 32, height: 32, samples: 1, filter_width: 0, view_transform: raw}
assets:
  shapes: {images: shapes}
nodes:
  camera: {camera: orthographic, fov: 32, z: 10}
"""

#: One sprite under a camera. `{...}` is never used in it, so tests replace lines of it as text.
SPRITES = (
    FLAT
    + """\
  thing:
    class: thing
    sprite: shapes
    width: 8
    height: 8
    yaw: {normal: [0, 10], mutable: true}
    x: {uniform: [-4, 4], mutable: true, range: [-10, 10]}
scene: [camera, thing]
"""
)

#: One sprite whose target lies to its right. Settings of the training go on.
SHIFTED = (
    FLAT
    + """\
  thing:
    class: thing
    sprite: shapes
    width: 16
    height: 6
    x: {normal: [0, 1], mutable: true, range: [-10, 10]}
scene: [camera, thing]
target:
  count: 200
  overrides:
    thing.x: {normal: [6, 1]}
training:
"""
)


def write_sprites(folder: Path, text: str = SPRITES, name: str = "world.yaml") -> Path:
    """Writes a grammar and the images that `SPRITES` refers to; returns the grammar's path."""
    shapes = folder / "shapes"
    shapes.mkdir(exist_ok=True)
    for index, shape in enumerate(("disc", "square", "star")):
        pixels = np.full((4, 4, 4), 60 * index + 40, dtype=np.uint8)
        Image.fromarray(pixels, "RGBA").save(shapes / f"{shape}.png")
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
