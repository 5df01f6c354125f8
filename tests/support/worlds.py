"""Grammars with several mutable attributes, and gradients of a loss to send through the renderer."""

import numpy as np
import torch

from trainer.grammar import Grammar, SceneGraph
from trainer.rendering import Probing, Renderer

#: Sprites; with the fake engine, blobs.
BLOBS = """\
unit: px
render: {width: 32, height: 24, samples: 1, filter_width: 0, view_transform: raw}
assets:
  shapes: {images: shapes}
nodes:
  camera: {camera: orthographic, fov: 24, z: 10}
  thing:
    class: thing
    sprite: shapes
    width: 12
    height: 7
    x: {uniform: [-4, 4], mutable: true, range: [-10, 10]}
    y: {uniform: [-4, 4], mutable: true, range: [-10, 10]}
    yaw: {uniform: [-40, 40], mutable: true}
    scale: {uniform: [0.8, 1.2], mutable: true, range: [0.5, 2]}
scene: [camera, {kind: thing, count: 2}]
"""

#: Meshes that throw shadows.
CUBES = """\
render: {width: 48, height: 32, samples: 4}
nodes:
  camera: {camera: perspective, fov: 40, x: 0, y: -8, z: 4, roll: 65}
  sun: {light: sun, intensity: 3, roll: 40, yaw: 30}
  ground: {mesh: plane, width: 30, depth: 30}
  box:
    class: box
    mesh: cube
    z: 0.5
    x: {uniform: [-2, 2], mutable: true, range: [-4, 4]}
    y: {uniform: [-1, 2], mutable: true, range: [-3, 4]}
    yaw: {uniform: [-30, 30], mutable: true}
scene: [camera, sun, ground, {kind: box, count: 2}]
"""


def sampled(grammar: Grammar, count: int, seed: int = 0) -> list[SceneGraph]:
    """Scenes of a grammar."""
    rng = np.random.default_rng(seed)
    return [grammar.sample(rng) for _ in range(count)]


def smooth_weights(count: int, height: int, width: int) -> torch.Tensor:
    """∂loss/∂image [count, 3, height, width], different for every scene and channel, without sign changes by pixel."""
    rng = np.random.default_rng(1)
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    slopes = rng.normal(size=(4, count, 3, 1, 1))
    return torch.tensor(slopes[0] + slopes[1] * x + slopes[2] * y + slopes[3] * x * y, dtype=torch.float32)


def gradient(
    renderer: Renderer, scenes: list[SceneGraph], probing: Probing, seed: int = 0, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """∂loss/∂values [M] of a linear loss, through the render operation."""
    if weights is None:
        weights = smooth_weights(len(scenes), renderer.settings.height_px, renderer.settings.width_px)
    values = torch.tensor(np.concatenate([scene.values() for scene in scenes]), dtype=torch.float32).requires_grad_()
    (renderer.differentiable(values, scenes, seed, probing) * weights).sum().backward()
    return values.grad
