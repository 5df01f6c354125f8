"""A learning problem whose images are painted here, so that no renderer is needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from support.grammars import write_sprites

from trainer.grammar import SceneGraph, load_grammar
from trainer.inference.problem import Problem
from trainer.inference.training_settings import TrainingSettings
from trainer.model.transformer import DistributionTransformer

SIZE_PX = 24


@dataclass(frozen=True)
class Painted(Problem):
    """Scenes of `support.grammars.SPRITES`."""

    def images(self, scenes: Sequence[SceneGraph], *_: Any) -> np.ndarray:
        """See `painted`."""
        return painted(scenes, seed=scenes[0].noise)

    def masked(self, scenes: Sequence[SceneGraph], *_: Any) -> tuple[np.ndarray, list[np.ndarray]]:
        """See `painted`; the mask is where the bar is brightest."""
        masks = []
        for scene in scenes:
            number = next(i for i, node in enumerate(scene.nodes) if node.kind == "thing")
            masks.append((number + 1) * (_bar(scene) > 0.3))
        return self.images(scenes), masks


def painted(scenes: Sequence[SceneGraph], seed: int) -> np.ndarray:
    """A bar whose ends differ a little in brightness, under noise: uint8 [N, SIZE_PX, SIZE_PX, 3]."""
    rng = np.random.default_rng(seed)
    bars = np.stack([_bar(scene) for scene in scenes])
    images = np.clip(120 * bars + rng.normal(40, 12, bars.shape), 0, 255)
    return np.repeat(images[..., None], 3, axis=3).astype(np.uint8)


def _bar(scene: SceneGraph) -> np.ndarray:
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX] - (SIZE_PX - 1) / 2
    thing = next(node for node in scene.nodes if node.kind == "thing")
    angle = np.deg2rad(thing.values["yaw"])
    along = np.cos(angle) * (x - thing.values["x"]) + np.sin(angle) * y
    across = -np.sin(angle) * (x - thing.values["x"]) + np.cos(angle) * y
    bar: np.ndarray = np.exp(-((along / 5) ** 2) - (across / 2) ** 2) * (1 + 0.08 * along)
    return bar


def painted_problem(
    folder: Path, yaws: Sequence[float], weights: Sequence[float], **settings: object
) -> tuple[Painted, DistributionTransformer]:
    """A target at x = 4 that is turned by one of `yaws`; and a G_θ that changes nothing."""
    grammar = load_grammar(write_sprites(folder))
    rng = np.random.default_rng(1)
    scenes = []
    for _ in range(1000):
        scene = grammar.sample(rng)
        means = {"x": (4.0, 1.0), "yaw": (float(rng.choice(yaws, p=weights)), 10.0)}
        scenes.append(scene.with_values(np.array([rng.normal(*means[item.name]) for item in scene.mutable])))
    renderer: Any = SimpleNamespace(settings=SimpleNamespace(width_px=SIZE_PX, height_px=SIZE_PX))
    problem = Painted(grammar, TrainingSettings.parse(settings), 0, renderer, painted(scenes, seed=7))
    transformer = DistributionTransformer(problem.encoding, torch.Generator().manual_seed(0))
    with torch.no_grad():
        transformer.output.weight.zero_()
        transformer.output.bias.zero_()
    return problem, transformer
