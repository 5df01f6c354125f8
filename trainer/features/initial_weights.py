"""Initial weights of task networks, drawn from an explicit generator."""

import math
from collections.abc import Iterable

import torch
from torch import nn


def rectified(layers: Iterable[nn.Conv2d | nn.Linear], generator: torch.Generator) -> None:
    """Uniform weights that keep the variance through rectified layers (He et al., 2015, arXiv 1502.01852); no bias."""
    for layer in layers:
        bound = math.sqrt(6 / layer.weight[0].numel())
        nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
