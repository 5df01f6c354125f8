"""Semantic segmentation by a small U-Net (paper section 4.2; Ronneberger et al., 2015), scored by per-class IoU."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from metasim.v1 import render_pb2 as pb
from torch import Tensor, nn

from trainer.errors import InputError
from trainer.features.initial_weights import rectified
from trainer.grammar import SceneGraph
from trainer.rendering import Frame
from trainer.tasks.task import Budget, Progress, Scores
from trainer.tasks.task_settings import NO_SETTINGS, changed_settings
from trainer.tasks.training_loop import TUNING, TrainingPlan, check_images, optimise, to_float

_CHUNK = 256  # Images per batch
_MIN_PX = 8
#: Name of the mean of the classes' IoU, the primary score.
MEAN = "mean IoU"


@dataclass(frozen=True)
class SegmentationSettings:
    """Settings of the U-Net and of its training."""

    #: Names of the classes; label i + 1 is classes[i], 0 is everything else.
    classes: tuple[str, ...]
    #: Filters of the first convolution; the deeper ones have two and four times as many.
    filters: int = 16
    epochs: int = 9
    batch_size: int = 16
    #: Peak of the one-cycle schedule.
    learning_rate: float = 5e-3
    #: AdamW's decoupled weight decay.
    weight_decay: float = 1e-2
    device: str = "cpu"


class UNet(nn.Module):
    """Seven 3 x 3 convolutions: three on the way down, one at the bottom, three on the way up.

    Each step down halves the image by max pooling; each step up doubles it and concatenates the features of the same
    size from the way down. All but the last are followed by batch normalisation. The weights come from `generator`.
    """

    def __init__(self, outputs: int, filters: int, generator: torch.Generator) -> None:
        super().__init__()
        a, b, c = filters, 2 * filters, 4 * filters
        channels = ((3, a), (a, b), (b, c), (c, c), (c + c, b), (b + b, a), (a + a, outputs))
        # Without storage, so that nothing is drawn from the global generator.
        with torch.device("meta"):
            convolutions = [nn.Conv2d(i, o, 3, padding=1) for i, o in channels]
        norms = [nn.BatchNorm2d(o) for _, o in channels[:-1]]
        self.convolutions, self.norms = nn.ModuleList(convolutions), nn.ModuleList(norms)
        self.to_empty(device="cpu")
        for norm in norms:
            norm.reset_parameters()
        rectified(convolutions, generator)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, outputs, H, W] of float images [N, 3, H, W] in [0, 1]."""
        x, passed = images - 0.5, []
        for step in range(3):
            x = self._layer(step, x)
            passed.append(x)
            x = F.max_pool2d(x, 2)
        x = self._layer(3, x)
        for step in range(4, 7):
            beside = passed.pop()
            x = torch.cat([F.interpolate(x, size=beside.shape[-2:]), beside], dim=1)
            x = self._layer(step, x) if step < 6 else self.convolutions[6](x)
        return x

    def _layer(self, step: int, x: Tensor) -> Tensor:
        return F.relu(self.norms[step](self.convolutions[step](x)))


class Segmenter:
    """The task network of aerial views: a `TaskNetwork` whose labels are class masks uint8 [H, W]."""

    name = photo_labels = "segmentation"
    outputs = (pb.OUTPUT_CLASS_MASK,)

    def __init__(self, settings: SegmentationSettings, train_images: int = 4_000) -> None:
        self.settings, self.train_images = settings, train_images

    def label(self, scene: SceneGraph, frame: Frame) -> np.ndarray:
        """Return the class of each pixel, uint8 [H, W]: index in the grammar's classes + 1; 0: none."""
        del scene
        return frame.layers[pb.OUTPUT_CLASS_MASK].astype(np.uint8)

    def label_photo(self, given: np.ndarray) -> np.ndarray:
        """Return the photo's mask, uint8 [H, W], unchanged."""
        return given

    def train(
        self,
        images: np.ndarray,
        labels: Sequence[np.ndarray] | np.ndarray,
        seed: int,
        progress: Progress | None = None,
    ) -> UNet:
        """Return a network trained from scratch, bit-identical for the same number of threads.

        Args:
            images: uint8 [N, H, W, 3].
            labels: N masks [H, W] of whole numbers, from 0 to the number of classes.
            seed: of the weights and of the order of the images.
            progress: called as progress(finished epochs, all epochs).

        Raises:
            InputError: no images, another form of images, or a label that is not one of the classes.
        """
        x, y = self._checked(images, labels)
        generator = torch.Generator().manual_seed(seed)
        model = UNet(len(self.settings.classes) + 1, self.settings.filters, generator)
        model = model.to(self.settings.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self._fit(model, x, y, self.settings.learning_rate, generator, progress)

    def fine_tune(
        self,
        model: UNet,
        images: np.ndarray,
        labels: Sequence[np.ndarray] | np.ndarray,
        seed: int,
        progress: Progress | None = None,
    ) -> UNet:
        """Return a copy of a trained U-Net, trained further on other images; see `train`."""
        x, y = self._checked(images, labels)
        rate = TUNING * self.settings.learning_rate
        return self._fit(copy.deepcopy(model).train(), x, y, rate, torch.Generator().manual_seed(seed), progress)

    def _fit(
        self, model: UNet, x: Tensor, y: Tensor, rate: float, generator: torch.Generator, progress: Progress | None
    ) -> UNet:
        settings = self.settings

        def loss_of(batch: Tensor) -> Tensor:
            logits = model(to_float(x[batch]).to(settings.device))
            return F.cross_entropy(logits, y[batch].to(settings.device, torch.int64))

        optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=settings.weight_decay)
        plan = TrainingPlan(settings.epochs, settings.batch_size)
        return optimise(model, optimizer, len(x), loss_of, plan, generator, progress)

    def test(self, model: UNet, images: np.ndarray, labels: Sequence[np.ndarray] | np.ndarray) -> "OverlapResults":
        """Return the confusion matrix of each image.

        Raises:
            InputError: no images, another form of images, or a label that is not one of the classes.
        """
        _, true = self._checked(images, labels)
        classes = self.settings.classes
        found = self.predict(model, images)
        counts = [confusion(one, mask, len(classes)) for one, mask in zip(found, true.numpy(), strict=True)]
        return OverlapResults(classes, np.stack(counts))

    def score(self, model: UNet, images: np.ndarray, labels: Sequence[np.ndarray] | np.ndarray) -> Scores:
        """Return the IoU of each class over all images, and their mean (the primary score); see `test`."""
        return self.test(model, images, labels).scores()

    def predict(self, model: UNet, images: np.ndarray) -> np.ndarray:
        """Return the most likely class of each pixel, uint8 [N, H, W]."""
        found = []
        with torch.inference_mode():
            for start in range(0, len(images), _CHUNK):
                pixels = to_float(torch.from_numpy(images[start : start + _CHUNK])).to(self.settings.device)
                found.append(model(pixels).argmax(dim=1).to(torch.uint8).cpu())
        return torch.cat(found).numpy()

    def _checked(self, images: np.ndarray, labels: Sequence[np.ndarray] | np.ndarray) -> tuple[Tensor, Tensor]:
        """Return images uint8 [N, H, W, 3] and masks uint8 [N, H, W]."""
        check_images(images, len(labels), _MIN_PX)
        shape = images.shape
        most = len(self.settings.classes)
        masks = np.empty(shape[:3], dtype=np.uint8)
        for index, label in enumerate(labels):
            if label.shape != shape[1:3] or not np.issubdtype(label.dtype, np.integer):
                raise InputError(f"mask {index} is {label.dtype} {label.shape}; whole numbers {shape[1:3]} are needed")
            if label.min() < 0 or label.max() > most:
                worst = label.max() if label.max() > most else label.min()
                raise InputError(f"mask {index} holds {worst}, which is no class; allowed: 0 to {most}")
            masks[index] = label
        return torch.from_numpy(images), torch.from_numpy(masks)


@dataclass(frozen=True)
class OverlapResults:
    """The confusion matrix of each image, int64 [N, classes + 1, classes + 1]; see `confusion`."""

    classes: tuple[str, ...]
    confusion: np.ndarray

    def scores(self, chosen: np.ndarray | None = None) -> Scores:
        """Return the IoU of each class over all images, and their mean."""
        counts = self.confusion if chosen is None else self.confusion[chosen]
        found = per_class_iou(counts.sum(axis=0))
        values = {**dict(zip(self.classes, found.tolist(), strict=True)), MEAN: float(found.mean())}
        return Scores(MEAN, values)


def open_network(
    classes: Sequence[str], budget: Budget, device: str = "cpu", given: Mapping[str, object] = NO_SETTINGS
) -> Segmenter:
    """Return the U-Net for an experiment's classes."""
    if budget == "quick":
        quick = SegmentationSettings(
            tuple(classes), filters=8, epochs=3, batch_size=8, learning_rate=1e-2, device=device
        )
        return Segmenter(changed_settings(quick, given), train_images=400)
    return Segmenter(changed_settings(SegmentationSettings(tuple(classes), device=device), given))


def confusion(found: np.ndarray, true: np.ndarray, classes: int) -> np.ndarray:
    """Return the confusion matrix of pixels, int64 [true, found], with `classes` + 1 rows and columns.

    Args:
        found, true: whole numbers of one shape; class i is i + 1, and 0 is none.
    """
    pairs = true.astype(np.int64) * (classes + 1) + found
    return np.bincount(pairs.ravel(), minlength=(classes + 1) ** 2).reshape(classes + 1, classes + 1)


def per_class_iou(confusion: np.ndarray) -> np.ndarray:
    """Return the intersection over union of each class, float64 [classes], from a confusion matrix.

    A class that is absent and not predicted has IoU 1.
    """
    right = np.diag(confusion)[1:]
    union = (confusion.sum(axis=0) + confusion.sum(axis=1))[1:] - right
    iou: np.ndarray = np.where(union > 0, right / np.maximum(union, 1), 1.0)
    return iou
