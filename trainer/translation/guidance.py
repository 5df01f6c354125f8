"""Guidance: the renderer's buffers of each pixel as input channels of a network.

Richter, Al Haija & Koltun, Enhancing Photorealism Enhancement, 2021, condition a translator on such buffers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Buffers:
    """The buffers of one image; None: unknown.

    Attributes:
        classes: integers [H, W]: index of the class in the model's classes + 1; 0: none.
        depth: float [H, W], metres along the camera's axis; +inf: nothing there.
        normals: float [H, W, 3], unit vectors in the world's frame; 0: nothing there.
    """

    classes: np.ndarray | None = None
    depth: np.ndarray | None = None
    normals: np.ndarray | None = None


#: Buffers of an image without known buffers.
UNKNOWN = Buffers()


def channels_of(buffers: Buffers, height: int, width: int, classes: int, depth_m: float) -> np.ndarray:
    """Return the guidance of an image, float32 [classes + 5, height, width] in [-1, 1].

    The first `classes` + 1 channels are 1 where a pixel shows no class, the first class, and so on. Then come nearness,
    depth_m / (depth_m + depth), and the three components of the normal. Channels of unknown buffers are 0.

    Args:
        depth_m: the depth whose nearness is 1/2.
    """
    channels = np.zeros((classes + 5, height, width), np.float32)
    if buffers.classes is not None:
        numbers = np.minimum(buffers.classes, classes)
        channels[: classes + 1] = np.arange(classes + 1)[:, None, None] == numbers
    if buffers.depth is not None:
        channels[classes + 1] = depth_m / (depth_m + np.maximum(buffers.depth, 0))
    if buffers.normals is not None:
        channels[classes + 2 :] = buffers.normals.transpose(2, 0, 1)
    return channels


def typical_depth(depths: Sequence[np.ndarray]) -> float:
    """Return the median of finite depths in metres; 1 where there are none."""
    finite = (
        np.concatenate([depth[np.isfinite(depth) & (depth > 0)] for depth in depths]) if len(depths) else np.empty(0)
    )
    return float(np.median(finite)) if len(finite) else 1.0
