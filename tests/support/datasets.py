"""Worlds whose datasets tests read back: flat ones for the raster engine, one with depth for Blender."""

from pathlib import Path

import numpy as np
from PIL import Image

#: Rings and discs that hide each other; the rings have holes.
RINGS = """\
unit: px
render: {width: 96, height: 72, samples: 1, filter_width: 0, view_transform: raw}
background: [0.2, 0.3, 0.2]
assets:
  rings: {images: rings}
  discs: {images: discs}
nodes:
  camera: {camera: orthographic, fov: 72, z: 10}
  ring:
    class: ring
    sprite: rings
    width: {uniform: [24, 40]}
    height: 30
    x: {uniform: [-50, 50], mutable: true, range: [-60, 60]}
    y: {uniform: [-36, 36]}
    yaw: {uniform: [-90, 90]}
  disc:
    class: disc
    sprite: discs
    width: 16
    height: 12
    z: 1
    x: {uniform: [-50, 50]}
    y: {uniform: [-36, 36]}
scene: [camera, {kind: ring, count: 3}, {kind: disc, count: 3}]
"""

#: Cars and lorries of KITTI's size before a camera as KITTI's, pitched a little, and a wall that has no class.
STREET = """\
render: {width: 160, height: 96, samples: 1}
background: [0.5, 0.6, 0.8]
nodes:
  camera: {camera: perspective, fov: 50, z: 1.65, roll: 88, yaw: -90}
  sun: {light: sun, intensity: 3, roll: 40, yaw: 30}
  ground: {mesh: plane, width: 200, depth: 200}
  wall: {mesh: cube, x: 9, y: -2.5, z: 1, width: 0.3, depth: 2, height: 2}
  car:
    class: car
    mesh: cube
    material: {roughness: 0.9}
    red: {uniform: [0, 1]}
    width: 4.2
    depth: 1.8
    height: 1.5
    z: 0.76
    x: {uniform: [7, 30], mutable: true, range: [5, 40]}
    y: {uniform: [-6, 6]}
    yaw: {uniform: [-180, 180]}
  truck:
    class: Truck
    mesh: cube
    width: 8
    depth: 2.4
    height: 3
    z: 1.51
    x: {uniform: [20, 40]}
    y: {uniform: [-6, 6]}
    yaw: {uniform: [-180, 180]}
scene: [camera, sun, ground, wall, {kind: car, count: 4}, truck]
"""


def write_rings(folder: Path) -> Path:
    """Writes `RINGS` and its images; returns the grammar's path."""
    y, x = np.mgrid[:24, :24] - 11.5
    distance = np.hypot(x, y)
    for name, inside in (("rings", (distance < 11.5) & (distance > 6)), ("discs", distance < 11.5)):
        (folder / name).mkdir()
        pixels = np.full((24, 24, 4), 230, np.uint8)
        pixels[..., 3] = inside * 255
        pixels[..., 0] = 20 if name == "rings" else 250
        Image.fromarray(pixels, "RGBA").save(folder / name / "one.png")
    path = folder / "rings.yaml"
    path.write_text(RINGS, encoding="utf-8")
    return path


def write_street(folder: Path) -> Path:
    """Writes `STREET`; returns its path."""
    path = folder / "street.yaml"
    path.write_text(STREET, encoding="utf-8")
    return path
