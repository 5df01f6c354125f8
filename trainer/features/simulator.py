"""Features learned from the simulator: a network that reads the mutable attributes off rendered images.

Where no pretrained network is at hand, the renderer can supply as many labelled images as we like. A small network
learns to regress the mutable attributes from scenes that vary widely around the present ones. Its outputs are a
feature space that responds to what can be changed and to little else, so the MMD in it sees means and spreads of
attributes with few samples; features of an untrained network mostly see which objects happen to be in a batch. No label
of the target is used. (Compare regressed summary statistics in approximate Bayesian computation: Fearnhead & Prangle,
2012.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.features import to_tensor
from trainer.features.pyramid import shrink
from trainer.grammar import AttributeSpec, SceneGraph
from trainer.model.encoding import Encoding
from trainer.progress import Advance, ignore

#: Longest side of the network's input, in pixels.
INPUT_PX = 64
BATCH = 64
LEARNING_RATE = 3e-3
#: An angle is regressed as a deviation, which stays unique within this half width.
WIDEST_ANGLE_DEG = 90.0


@dataclass(frozen=True)
class Window:
    """The values around which the network shall see: per mutable attribute of a kind, in its unit."""

    centre: np.ndarray
    half_width: np.ndarray

    @classmethod
    def around(cls, encoding: Encoding, scenes: Sequence[SceneGraph]) -> "Window":
        """Covers four standard deviations of the scenes' attributes, and an eighth of their ranges at least."""
        centres, widths = [], []
        for kind, spec in encoding.mutable:
            values = _values(scenes, kind, spec)
            centre = _mean(values, spec)
            spread = float(np.sqrt(np.mean(_deviation(values, centre, spec) ** 2)))
            width = max(4 * spread, (spec.high - spec.low) / 8)
            centres.append(centre)
            widths.append(min(width, WIDEST_ANGLE_DEG) if spec.is_angle else width)
        return cls(np.array(centres), np.array(widths))

    def narrowed(self, factor: float) -> "Window":
        """The same centre with half widths times `factor`."""
        return Window(self.centre, self.half_width * factor)

    def scatter(self, encoding: Encoding, scene: SceneGraph, rng: np.random.Generator) -> SceneGraph:
        """The scene with its mutable attributes drawn uniformly from the window."""
        places = {(kind, spec.name): place for place, (kind, spec) in enumerate(encoding.mutable)}
        values = []
        for item in scene.mutable:
            place = places[scene.nodes[item.node].kind, item.name]
            value = self.centre[place] + self.half_width[place] * rng.uniform(-1, 1)
            values.append(value if item.spec.wraps else min(max(value, item.spec.low), item.spec.high))
        return scene.with_values(np.array(values))

    def targets(self, encoding: Encoding, scene: SceneGraph) -> np.ndarray:
        """What the network shall say of the scene: mean deviation from the centre in half widths, per attribute."""
        deviations = []
        for (kind, spec), centre, width in zip(encoding.mutable, self.centre, self.half_width, strict=True):
            values = _values([scene], kind, spec)
            deviations.append(float(_deviation(values, centre, spec).mean()) / width if len(values) else 0.0)
        return np.array(deviations, dtype=np.float32)


class SimulatorFeatures(nn.Module):
    """Maps images to the attributes of their scenes, in half widths of a window."""

    name = "simulator"

    def __init__(self, outputs: int, size: tuple[int, int], generator: torch.Generator) -> None:
        """
        Args:
            outputs: number of mutable attributes of the grammar's kinds.
            size: height and width of the images, in pixels.
        """
        super().__init__()
        channels = (3, 16, 32, 64, 64)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            blocks: list[nn.Module] = []
            for inputs, channels_out in pairwise(channels):
                blocks += [
                    nn.Conv2d(inputs, channels_out, 3, stride=2, padding=1),
                    nn.GroupNorm(4, channels_out),
                    nn.ReLU(),
                ]
            self.convolutions = nn.Sequential(*blocks)
            flat = self.convolutions(shrink(torch.zeros(1, 3, *size), INPUT_PX)).numel()
            self.head = nn.Sequential(nn.Flatten(), nn.Linear(flat, 64), nn.ReLU(), nn.Linear(64, outputs))

    def forward(self, images: Tensor) -> Tensor:
        """Features [N, outputs] of images [N, 3, H, W]."""
        features: Tensor = self.head(self.convolutions(shrink(images, INPUT_PX)))
        return features

    def fit(
        self,
        images: np.ndarray,
        targets: np.ndarray,
        epochs: int,
        generator: torch.Generator,
        progress: Advance = ignore,
        loss_of: Callable[[Tensor, Tensor], Tensor] = F.mse_loss,
    ) -> float:
        """Learns to say `targets` [N, ...] of 8-bit images [N, H, W, 3]; returns the last epoch's mean loss.

        The parameters then stay as they are: they take no gradients.
        """
        wanted = torch.from_numpy(targets)
        batches = max(1, len(images) // BATCH)
        optimizer = torch.optim.AdamW(self.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=epochs * batches)
        error = 0.0
        for epoch in range(epochs):
            order = torch.randperm(len(images), generator=generator)
            error = 0.0
            for chosen in torch.chunk(order, batches):
                loss = loss_of(self(to_tensor(images[chosen.numpy()])), wanted[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                error += loss.item() / batches
            progress(epoch + 1, epochs)
        return self.freeze(error)

    def freeze(self, error: float = 0.0) -> float:
        """Stops the parameters from taking gradients."""
        self.requires_grad_(False)
        return error


def _values(scenes: Sequence[SceneGraph], kind: str, spec: AttributeSpec) -> np.ndarray:
    return np.array([node.values[spec.name] for scene in scenes for node in scene.nodes if node.kind == kind])


def _mean(values: np.ndarray, spec: AttributeSpec) -> float:
    if not spec.is_angle:
        return float(values.mean())
    return float(np.rad2deg(np.angle(np.exp(1j * np.deg2rad(values)).mean())))


def _deviation(values: np.ndarray, centre: float, spec: AttributeSpec) -> np.ndarray:
    difference = values - centre
    return (difference + 180) % 360 - 180 if spec.is_angle else difference
