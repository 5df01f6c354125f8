"""Features of InceptionV3, the paper's space for matching distributions (section 3.2.2), from torchvision.

Lower layers describe an image's texture, higher layers its content; the paper uses lower layers. This module needs the
extra `vision` and torchvision's published weights, which it never downloads.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.errors import InputError
from trainer.features.published_weights import UNREADABLE, cached, one_line

#: URL of torchvision's weights; the cache stores them under the last part of this name.
WEIGHTS_URL = "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth"

#: Side of the square images that the network was trained on, in pixels.
INPUT_PX = 299

#: Channels of each layer that can be chosen, from the lowest: the first and second max pooling, the last block before
#: the auxiliary classifier, and the last block, whose mean is the classic 2048 features.
LAYERS: Mapping[str, int] = {"pool1": 64, "pool2": 192, "mixed6": 768, "mixed7": 2048}

#: The blocks of torchvision's network between the previous layer and each layer.
_BLOCKS: Mapping[str, tuple[str, ...]] = {
    "pool1": ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1"),
    "pool2": ("Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2"),
    "mixed6": ("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    "mixed7": ("Mixed_7a", "Mixed_7b", "Mixed_7c"),
}


class InceptionFeatures(nn.Module):
    """Maps images to features, differentiable with respect to the images; the weights are frozen.

    Args:
        weights: file of torchvision's weights; None: torch's cache.
        layers: the layers of `LAYERS` to concatenate.
        grid: each layer's map is averaged over grid x grid equal cells. 1 discards positions.
        size_px: images are resized (bilinear, antialiased, without cropping) to this square; None: they are not.

    Raises:
        InputError: torchvision or the weights are missing, the weights do not match, or a layer is unknown.
    """

    name = "inception"

    def __init__(
        self,
        weights: Path | None = None,
        layers: Sequence[str] = ("pool1", "pool2"),
        grid: int = 4,
        size_px: int | None = INPUT_PX,
    ) -> None:
        super().__init__()
        unknown = [layer for layer in layers if layer not in LAYERS]
        if unknown or not layers:
            raise InputError(
                f"InceptionV3 layer {unknown[0] if unknown else '(none)'!r} is unknown; allowed: {', '.join(LAYERS)}"
            )
        if grid < 1:
            raise InputError(f"grid of InceptionV3 features is {grid}; it must be at least 1")
        chosen = tuple(layer for layer in LAYERS if layer in layers)
        #: Columns of each layer.
        self.layers = tuple(LAYERS[layer] * grid * grid for layer in chosen)
        self._chosen = chosen
        self.grid = grid
        self.size_px = size_px
        #: Length of a feature vector.
        self.dimension = sum(self.layers)
        network = _load(weights)
        needed = list(LAYERS)[: list(LAYERS).index(chosen[-1]) + 1]
        self.stages = nn.ModuleDict(
            {layer: nn.Sequential(*(getattr(network, block) for block in _BLOCKS[layer])) for layer in needed}
        )
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Features float [N, dimension] of images float [N, 3, H, W], RGB in [0, 1].

        Layers are ordered from the lowest to the highest; within a layer, by channel, row and column.
        """
        x = normalised(resized(images, self.size_px))
        found = []
        for layer, stage in self.stages.items():
            x = stage(x)
            if layer in self._chosen:
                found.append(F.adaptive_avg_pool2d(x, self.grid).flatten(1))
        return torch.cat(found, dim=1)

    def train(self, mode: bool = True) -> "InceptionFeatures":  # noqa: ARG002
        """Stays in evaluation mode: the statistics of batch normalisation belong to the weights."""
        return super().train(False)


def resized(images: Tensor, size_px: int | None) -> Tensor:
    """Return images [N, C, H, W] resized to [N, C, size_px, size_px]; None: unchanged."""
    if size_px is None or images.shape[-2:] == (size_px, size_px):
        return images
    return F.interpolate(images, (size_px, size_px), mode="bilinear", align_corners=False, antialias=True)


def normalised(images: Tensor) -> Tensor:
    """Return images mapped from [0, 1] to [-1, 1].

    The weights come from TensorFlow and need [-1, 1]. torchvision's transforms subtract ImageNet's means, and its
    network (`transform_input`) undoes that; together they equal this mapping.
    """
    return images * 2 - 1


def find_weights(path: Path | None) -> Path:
    """Return the file of the weights: `path`, or the file in torch's cache (TORCH_HOME, else ~/.cache/torch).

    Raises:
        InputError: there is no such file; the message states its place and how to get it.
    """
    looked_for = path or cached(WEIGHTS_URL)
    if not looked_for.is_file():
        raise InputError(
            f"InceptionV3 weights: there is no file {looked_for}; fetch {WEIGHTS_URL} to that place, "
            "or name another file with --inception-weights"
        )
    return looked_for


def _load(path: Path | None) -> nn.Module:
    try:
        from torchvision.models import inception_v3
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that was built for another torch
        raise InputError(
            f"InceptionV3 needs torchvision ({error}); install the extra `vision`, "
            "or choose the features that need no download"
        ) from error
    file = find_weights(path)
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise InputError(f"{file} is no file of weights ({one_line(error)}); fetch {WEIGHTS_URL} again") from error
    with torch.device("meta"):  # Draws nothing from the global generator
        network = inception_v3(weights=None, init_weights=False, transform_input=False)
    try:
        network.load_state_dict(state, assign=True)
    except UNREADABLE as error:
        raise InputError(
            f"{file} holds other weights than torchvision's InceptionV3 ({one_line(error)}); fetch {WEIGHTS_URL}"
        ) from error
    return network
