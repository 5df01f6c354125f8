"""A learning problem with several discs in an image, which are painted here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from support.grammars import FLAT, write_sprites

from trainer.grammar import SceneGraph, load_grammar
from trainer.inference.problem import Problem
from trainer.inference.training_settings import TrainingSettings

SIZE_PX = 40

#: One to four discs at random places, as bright as `z` says; `fov` stands for the exposure of all.
DISCS = (
    FLAT.replace("fov: 32", "fov: {normal: [48, 5], mutable: true, range: [16, 80]}")
    + """\
  disc:
    class: disc
    sprite: shapes
    width: 9
    height: 9
    x: {uniform: [-14, 14]}
    y: {uniform: [-14, 14]}
    z: {normal: [5, 1], mutable: true, range: [1, 9]}
scene: [camera, {kind: disc, count: {categorical: [1, 2, 3, 4]}}]
"""
)


@dataclass(frozen=True)
class Scattered(Problem):
    """Scenes of `DISCS`."""

    def images(self, scenes: Sequence[SceneGraph], *_: Any) -> np.ndarray:
        """See `painted`."""
        return painted(scenes, seed=scenes[0].noise)[0]

    def masked(self, scenes: Sequence[SceneGraph], *_: Any) -> tuple[np.ndarray, list[np.ndarray]]:
        """See `painted`."""
        return painted(scenes, seed=scenes[0].noise)


def painted(scenes: Sequence[SceneGraph], seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return noisy images, uint8 [N, SIZE_PX, SIZE_PX, 3], and instance masks; dark discs hardly show."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX] - (SIZE_PX - 1) / 2
    shades = np.empty((len(scenes), SIZE_PX, SIZE_PX))
    masks = []
    for scene, shade in zip(scenes, shades, strict=True):
        exposure = next(node.values["fov"] for node in scene.nodes if node.kind == "camera") / 16
        mask = np.zeros((SIZE_PX, SIZE_PX), dtype=np.uint16)
        shade[:] = 15 * exposure
        for number, node in enumerate(scene.nodes):
            if node.kind == "disc":
                inside = np.hypot(x - node.values["x"], y - node.values["y"]) < 4.5
                mask[inside] = number + 1
                shade[inside] = (15 + 5 * node.values["z"]) * exposure
        masks.append(mask)
    images = np.clip(shades + rng.normal(0, 6, shades.shape), 0, 255)
    return np.repeat(images[..., None], 3, axis=3).astype(np.uint8), masks


def scattered_problem(
    folder: Path, counts: Sequence[float], bright: tuple[float, float], fov: tuple[float, float], **settings: object
) -> Scattered:
    """Return a problem with a target whose scenes have 1, 2, … discs with the probabilities `counts`.

    Args:
        bright: mean and standard deviation of the discs' z.
        fov: those of the camera's fov.
    """
    grammar = load_grammar(write_sprites(folder, DISCS))
    rng = np.random.default_rng(1)
    scenes: list[SceneGraph] = []
    while len(scenes) < 200:
        scene = grammar.sample(rng)
        number = sum(node.kind == "disc" for node in scene.nodes)
        if rng.random() < counts[number - 1]:
            drawn = {"z": bright, "fov": fov}
            scenes.append(
                scene.with_values(
                    np.array([np.clip(rng.normal(*drawn[m.name]), m.spec.low, m.spec.high) for m in scene.mutable])
                )
            )
    renderer: Any = SimpleNamespace(settings=SimpleNamespace(width_px=SIZE_PX, height_px=SIZE_PX))
    return Scattered(grammar, TrainingSettings.parse(settings), 0, renderer, painted(scenes, seed=7)[0])
