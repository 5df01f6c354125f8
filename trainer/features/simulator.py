"""Features learned from the simulator: a network that reads the mutable attributes off rendered images.

Where no pretrained network is at hand, the renderer can supply as many labelled images as we like. A small network
learns to regress the mutable attributes from scenes that vary widely around the present ones. Its outputs are a
feature space that responds to what can be changed and to little else, so the MMD in it sees means and spreads of
attributes with few samples; features of an untrained network mostly see which objects happen to be in a batch. No label
of the target is used. (Compare regressed summary statistics in approximate Bayesian computation: Fearnhead & Prangle,
2012.)
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.features import to_tensor
from trainer.features.descent import Course, descend
from trainer.features.pyramid import resized, scaled
from trainer.progress import Advance, ignore

#: Longest side of the network's input, in pixels.
INPUT_PX = 64
BATCH = 64
LEARNING_RATE = 3e-3


class SimulatorFeatures(nn.Module):
    """Maps images to what a `Readout` says of their scenes."""

    name = "simulator"

    def __init__(self, layers: Sequence[int], size: tuple[int, int], generator: torch.Generator) -> None:
        """
        Args:
            layers: outputs of each layer.
            size: height and width of the images, in pixels.
        """
        super().__init__()
        self.layers, self.size = tuple(layers), size
        self._input_size = scaled(*size, INPUT_PX / max(size))
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
            flat = self.convolutions(torch.zeros(1, 3, *self._input_size)).numel()
            self.head = nn.Sequential(nn.Flatten(), nn.Linear(flat, 64), nn.ReLU(), nn.Linear(64, sum(layers)))

    def forward(self, images: Tensor) -> Tensor:
        """Features [N, D] of images [N, 3, H, W], of the network's size or in higher resolution."""
        features: Tensor = self.head(self.convolutions(resized(images, self._input_size)))
        return features

    def plan(self) -> dict[str, object]:
        """What it is made from, as JSON."""
        return {"name": self.name, "columns": list(self.layers), "size": list(self.size)}

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

        The parameters then stay as they are: they take no gradients. What was learned before is not forgotten.
        """
        self.requires_grad_(True)
        wanted = torch.from_numpy(targets)

        def loss_of_some(index: Tensor) -> Tensor:
            return loss_of(self(to_tensor(images[index.numpy()])), wanted[index])

        course = Course(epochs, BATCH, LEARNING_RATE)
        error = descend(self.parameters(), len(images), loss_of_some, course, generator, progress)
        self.requires_grad_(False)
        return error
