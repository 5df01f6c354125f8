"""Gradients through Blender against finite differences of another renderer.

Meshes that glow, seen in perspective, one before the other: what changes with a step is where their outlines run.
Mitsuba reads the same files, has a camera, sampler and box filter of its own, and shares no code with Blender or us.
"""

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.grammar import load_grammar
from trainer.pool import PoolOptions, open_pool
from trainer.rendering import Probing, Renderer

WIDTH, HEIGHT = 64, 48
CAMERA = {"fov": 40, "y": -6, "z": 2.5, "roll": 70}
ATTRIBUTES = ("x", "z", "yaw", "scale")
VALUES = {"x": 0.3, "z": 0.4, "yaw": 25.0, "scale": 1.1}
#: Of both renderers' central differences: about half a pixel.
STEPS = {"x": 0.036, "z": 0.038, "yaw": 2.9, "scale": 0.04}
SLAB, BALL = [0.8, 0.35, 0.1], [0.1, 0.3, 0.6]

WORLD = f"""\
render: {{width: {WIDTH}, height: {HEIGHT}, samples: 256}}
assets: {{shapes: {{meshes: shapes}}}}
nodes:
  camera: {{camera: perspective, fov: 40, y: -6, z: 2.5, roll: 70}}
  slab:
    mesh: {{set: shapes, weights: {{slab: 1}}}}
    x: {{constant: 0.3, mutable: true, range: [-2, 2], step: {STEPS["x"]}}}
    y: -0.8
    z: {{constant: 0.4, mutable: true, range: [-2, 2], step: {STEPS["z"]}}}
    yaw: {{constant: 25, mutable: true, step: {STEPS["yaw"]}}}
    scale: {{constant: 1.1, mutable: true, range: [0.5, 2], step: {STEPS["scale"]}}}
    red: {SLAB[0]}
    green: {SLAB[1]}
    blue: {SLAB[2]}
    intensity: 1
  ball:
    mesh: {{set: shapes, weights: {{ball: 1}}}}
    x: -0.2
    y: 0.9
    z: 0.8
    scale: 1.4
    red: {BALL[0]}
    green: {BALL[1]}
    blue: {BALL[2]}
    intensity: 1
scene: [camera, ball, slab]
"""


@dataclass(frozen=True)
class Shape:
    """A mesh with shared vertices: split ones double Mitsuba's gradients."""

    points: np.ndarray  # [n, 3]
    faces: Sequence[Sequence[int]]  # Counter-clockwise seen from outside

    def write(self, path: Path) -> None:
        """As an ASCII PLY."""
        triangles = [(face[0], *pair) for face in self.faces for pair in pairwise(face[1:])]
        lines = ["ply", "format ascii 1.0", f"element vertex {len(self.points)}"]
        lines += [f"property float {axis}" for axis in "xyz"]
        lines += [f"element face {len(triangles)}", "property list uchar int vertex_indices", "end_header"]
        lines += [" ".join(f"{number:.9g}" for number in point) for point in self.points]
        lines += [f"3 {a} {b} {c}" for a, b, c in triangles]
        path.write_text("\n".join(lines) + "\n")


def slab() -> Shape:
    corners = np.array([(x, y, z) for z in (-0.5, 0.5) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
    faces = ((0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (3, 2, 6, 7), (2, 0, 4, 6), (1, 3, 7, 5))
    return Shape(corners * (1.6, 0.7, 0.9), faces)


def ball(rings: int = 12, segments: int = 24) -> Shape:
    polar, azimuth = np.pi * np.arange(1, rings) / rings, 2 * np.pi * np.arange(segments) / segments
    ring = np.stack((np.cos(azimuth), np.sin(azimuth), np.zeros(segments)), axis=1)
    points = [ring * (math.sin(p), math.sin(p), 0) + (0, 0, math.cos(p)) for p in polar]
    north, south = (rings - 1) * segments, (rings - 1) * segments + 1
    faces: list[tuple[int, ...]] = []
    for s in range(segments):
        following, last = (s + 1) % segments, (rings - 2) * segments
        faces += [(north, s, following), (last + s, south, last + following)]
        for r in range(rings - 2):
            top, bottom = r * segments, (r + 1) * segments
            faces.append((top + s, bottom + s, bottom + following, top + following))
    return Shape(0.5 * np.concatenate((*points, [(0, 0, 1), (0, 0, -1)])), faces)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """world.yaml and its shapes."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "shapes").mkdir()
    slab().write(folder / "shapes" / "slab.ply")
    ball().write(folder / "shapes" / "ball.ply")
    (folder / "world.yaml").write_text(WORLD)
    return folder


def weights() -> np.ndarray:
    """[H, W, 3], smooth, different for each channel."""
    y, x = np.linspace(-1, 1, HEIGHT)[:, None], np.linspace(-1, 1, WIDTH)
    return np.stack((x + 2 * y + 6 * x * x, 2 * x * x - 2 * y, np.sin(2 * x) + y), axis=2)


def to_display(linear: np.ndarray) -> np.ndarray:
    """sRGB, by the standard's formula."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-12) ** (1 / 2.4) - 0.055)


def by_mitsuba(folder: Path, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """The image [H, W, 3] in display values and its derivatives [len(ATTRIBUTES), H, W, 3]."""
    pytest.importorskip("mitsuba", reason="mitsuba is not installed")

    def scene(**changed: float) -> list[dict]:
        moving = {"mesh": str(folder / "shapes" / "slab.ply"), "radiance": SLAB, "y": -0.8, **VALUES, **changed}
        still = {"x": -0.2, "y": 0.9, "z": 0.8, "yaw": 0, "scale": 1.4}
        return [moving, {"mesh": str(folder / "shapes" / "ball.ply"), "radiance": BALL, **still}]

    scenes = [scene()]
    for name in ATTRIBUTES:
        scenes += [scene(**{name: VALUES[name] + sign * STEPS[name]}) for sign in (1, -1)]
    job = {"width": WIDTH, "height": HEIGHT, "samples": samples, "camera": CAMERA, "scenes": scenes}
    (folder / "job.json").write_text(json.dumps(job))
    program = Path(__file__).with_name("render_images.py")
    command = [sys.executable, str(program), str(folder / "job.json"), str(folder / "images.npy")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    images = to_display(np.load(folder / "images.npy").astype(np.float64))
    steps = np.array([2 * STEPS[name] for name in ATTRIBUTES])[:, None, None, None]
    return images[0], (images[1::2] - images[2::2]) / steps


@pytest.mark.blender
def test_image_and_gradient_are_those_of_mitsuba(folder: Path) -> None:
    pytest.importorskip("bpy", reason="bpy is not installed")
    image, derivatives = by_mitsuba(folder, samples=1024)
    expected = (derivatives * 2 * image * weights()).sum(axis=(1, 2, 3))
    grammar = load_grammar(folder / "world.yaml")
    scene = grammar.sample(np.random.default_rng(0))
    assert tuple(item.name for item in scene.mutable) == ATTRIBUTES

    with open_pool(PoolOptions(engine="blender", workers=1), assets=grammar.assets) as pool:
        renderer = Renderer(pool, grammar)
        values = torch.tensor(scene.values(), dtype=torch.float32, requires_grad=True)
        images = renderer.differentiable(values, [scene], seed=0)
        (images.double().square()[0] * torch.tensor(weights()).permute(2, 0, 1)).sum().backward()
        _, (columns,) = renderer.probe([scene], 0, Probing(mode="jacobian"))

    rendered = images.detach()[0].permute(1, 2, 0).double().numpy()
    assert np.abs(rendered - image).mean() < 5e-4
    for column, derivative in zip(columns, derivatives, strict=True):
        own = column.in_frame(HEIGHT, WIDTH).astype(np.float64)
        norms = np.linalg.norm(own), np.linalg.norm(derivative)
        # Seen: cosine 0.9992 and more, norm ratio within 0.3 %.
        assert (own * derivative).sum() / (norms[0] * norms[1]) > 0.998
        assert norms[0] / norms[1] == pytest.approx(1, abs=0.01)
    # Seen: 0.6 % and less, 2 % for yaw, of which large parts cancel.
    assert np.allclose(values.grad.numpy(), expected, rtol=0.04)
