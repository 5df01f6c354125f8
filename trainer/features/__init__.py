"""Feature spaces in which images are compared (paper, section 3.2.2).

estimator   features of the inference network (`trainer.inference.estimator`), learned from renders of the grammar
natural     maps of EfficientNet-Lite0
inception   InceptionV3's layers, the paper's choice; needs torchvision and its weights
random      an untrained network
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from trainer.device import device_of, upload


class FeatureSpace(Protocol):
    """Differentiable features of images."""

    name: str

    @property
    def layers(self) -> Sequence[int] | None:
        """Columns of each layer; distances are measured within layers. None: all columns form one layer."""
        ...

    def __call__(self, images: Tensor) -> Tensor:
        """Features [N, D] of images, float32 [N, 3, H, W], display values from 0 to 1."""
        ...


def to_tensor(images: np.ndarray, device: str | torch.device = "cpu") -> Tensor:
    """Return 8-bit images [N, H, W, 3] as float32 [N, 3, H, W] from 0 to 1, on a device."""
    return upload(images, device).permute(0, 3, 1, 2).float() / 255


def features_of(space: FeatureSpace, images: np.ndarray, batch: int = 256) -> Tensor:
    """Return features [N, D], without gradient, of 8-bit images [N, H, W, 3], on the device of the space."""
    device = device_of(space)
    with torch.no_grad():
        return torch.cat([space(to_tensor(images[i : i + batch], device)) for i in range(0, len(images), batch)])
