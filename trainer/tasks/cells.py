"""Networks that predict an image's classes, or the number of objects of each class, from its cells.

A small convolutional network gives a value of each class in every cell of 8 x 8 px. The label of the image is the sum
of the cells' values (counting) or a smooth maximum of them (presence). No position is needed, but coordinates can be an
input, for classes that differ by position (CoordConv; Liu et al., NeurIPS 2018).
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from metasim.v1 import render_pb2 as pb
from torch import Tensor, nn

from trainer.datasets.kitti_labels import KittiObject
from trainer.errors import InputError
from trainer.features.initial_weights import rectified
from trainer.grammar import SceneGraph
from trainer.rendering import Frame
from trainer.tasks.augmentation import photographed
from trainer.tasks.boxes import ImageBoxes, boxes_of_frame, boxes_of_photo
from trainer.tasks.task import Budget, MeanResults, Progress, Scores
from trainer.tasks.task_settings import NO_SETTINGS, changed_settings
from trainer.tasks.training_loop import TUNING, TrainingPlan, check_images, optimise, to_float

#: Pixels of the image per cell.
CELL_PX = 8
_CHANNELS = (3, 16, 32, 48, 64)
_STRIDES = (2, 2, 2, 1)
#: Side of the feature grid for reading the whole image.
_GRID = 8
_MIN_PX = 32
_CHUNK = 64  # Images that are labelled at a time


@dataclass(frozen=True)
class CellSettings:
    """How the network is trained."""

    #: Names of the classes.
    classes: tuple[str, ...]
    epochs: int = 20
    batch_size: int = 16
    #: Peak of the one-cycle schedule.
    learning_rate: float = 3e-3
    #: AdamW's decoupled weight decay.
    weight_decay: float = 1e-2
    #: Mirrors images at random.
    mirror: bool = True
    #: Reads the whole image with coordinates, so that classes may differ by position.
    coordinates: bool = False
    #: Passes images through a random camera: response, white balance, blur, noise, JPEG.
    camera: bool = False
    device: str = "cpu"


class CellNet(nn.Module):
    """Four 3 x 3 convolutions with group normalisation, and a value of each class in every cell, or of the image."""

    def __init__(self, classes: int, generator: torch.Generator, *, coordinates: bool = False) -> None:
        """
        Args:
            coordinates: the image is a single cell whose value depends on the positions of features.
        """
        super().__init__()
        self.coordinates = coordinates
        # Without storage, so that nothing is drawn from the global generator.
        with torch.device("meta"):
            convolutions = [
                nn.Conv2d(inputs, outputs, 3, stride, padding=1)
                for (inputs, outputs), stride in zip(pairwise(_CHANNELS), _STRIDES, strict=True)
            ]
            head = nn.Conv2d(_CHANNELS[-1], classes, _GRID if coordinates else 1)
        norms = [nn.GroupNorm(4, outputs) for outputs in _CHANNELS[1:]]
        self.convolutions, self.norms, self.head = nn.ModuleList(convolutions), nn.ModuleList(norms), head
        self.to_empty(device="cpu")
        for norm in norms:
            norm.reset_parameters()
        rectified([*convolutions, head], generator)
        with torch.no_grad():
            self.head.weight.mul_(0.1)

    def forward(self, images: Tensor) -> Tensor:
        """Return values [N, classes, h, w] of float images [N, 3, H, W] in [0, 1]; h = w = 1 with coordinates."""
        x = images - 0.5
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.relu(norm(convolution(x)))
        values: Tensor = self.head(F.adaptive_avg_pool2d(x, _GRID) if self.coordinates else x)
        return values


class CellTask(ABC):
    """A `TaskNetwork` whose labels are one number per class, int64 [classes]."""

    name: str
    photo_labels = "detection"
    outputs: tuple[int, ...] = (pb.OUTPUT_BOXES,)

    def __init__(self, settings: CellSettings, train_images: int = 1_000) -> None:
        """
        Raises:
            InputError: there are no classes.
        """
        if not settings.classes:
            raise InputError(
                f"{self.name} needs objects with a class; the grammar has none: add `class: NAME` to a kind"
            )
        self.settings, self.train_images = settings, train_images

    @classmethod
    def for_classes(
        cls, classes: Sequence[str], budget: Budget, device: str = "cpu", given: Mapping[str, object] = NO_SETTINGS
    ) -> Self:
        """Return the network for an experiment's classes.

        Raises:
            InputError: there are no classes, or a setting is wrong.
        """
        settings = CellSettings(tuple(classes), epochs=20 if budget == "full" else 6, device=device)
        return cls(changed_settings(settings, given), train_images=1_000 if budget == "full" else 300)

    def label(self, scene: SceneGraph, frame: Frame) -> np.ndarray:
        """Return the label of a rendered scene's visible objects."""
        del scene
        return self.number(boxes_of_frame(self.settings.classes, frame))

    def label_photo(self, given: Sequence[KittiObject]) -> np.ndarray:
        """Return the label of a photo's objects."""
        return self.number(boxes_of_photo(self.settings.classes, given))

    def number(self, objects: ImageBoxes) -> np.ndarray:
        """Return the number of objects of each class."""
        indices = [item.class_index for item in objects if not item.crowd]
        return np.bincount(np.array(indices, dtype=int), minlength=len(self.settings.classes))

    @abstractmethod
    def pooled(self, values: Tensor) -> Tensor:
        """Return an image's value per class [N, classes] from its cells' values [N, classes, h, w]."""

    @abstractmethod
    def loss(self, pooled: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of images with values [N, classes]."""

    @abstractmethod
    def first_value(self, mean: np.ndarray, cells: int) -> np.ndarray:
        """Return the cell value [classes] that gives the mean label [classes] when all cells share it."""

    @abstractmethod
    def results(self, predicted: np.ndarray, labels: np.ndarray) -> MeanResults:
        """Return the results for predicted values [N, classes]."""

    def train(
        self, images: np.ndarray, labels: Sequence[np.ndarray], seed: int, progress: Progress | None = None
    ) -> CellNet:
        """Return a network trained from scratch. It uses no global generator and is deterministic per thread count.

        Args:
            images: uint8 [N, H, W, 3].
            labels: N labels, int [classes].
            seed: of the weights and of the order of the images.
            progress: called as progress(finished epochs, all epochs).

        Raises:
            InputError: no images, or another form of images or labels.
        """
        y = self._checked(images, labels)
        generator = torch.Generator().manual_seed(seed)
        coordinates = self.settings.coordinates
        model = CellNet(len(self.settings.classes), generator, coordinates=coordinates)
        cells = 1 if coordinates else math.prod(-(-side // CELL_PX) for side in images.shape[1:3])
        first = self.first_value(y.double().mean(dim=0).numpy(), cells)
        with torch.no_grad():
            model.head.bias.copy_(torch.from_numpy(first))  # type: ignore[union-attr]
        return self._fit(model.to(self.settings.device), images, y, self.settings.learning_rate, generator, progress)

    def fine_tune(
        self,
        model: CellNet,
        images: np.ndarray,
        labels: Sequence[np.ndarray],
        seed: int,
        progress: Progress | None = None,
    ) -> CellNet:
        """Return a copy of a trained network, trained further on other images; see `train`."""
        y = self._checked(images, labels)
        generator, rate = torch.Generator().manual_seed(seed), TUNING * self.settings.learning_rate
        return self._fit(copy.deepcopy(model).train(), images, y, rate, generator, progress)

    def _fit(
        self,
        model: CellNet,
        images: np.ndarray,
        labels: Tensor,
        rate: float,
        generator: torch.Generator,
        progress: Progress | None,
    ) -> CellNet:
        settings, pixels = self.settings, torch.from_numpy(images)

        def loss_of(batch: Tensor) -> Tensor:
            taken = photographed(pixels[batch], generator) if settings.camera else pixels[batch]
            x = to_float(taken)
            if settings.mirror:
                flip = torch.rand(len(batch), generator=generator) < 0.5
                x = torch.where(flip[:, None, None, None], x.flip(3), x)
            return self.loss(self.pooled(model(x.to(settings.device))), labels[batch].to(settings.device))

        optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=settings.weight_decay)
        plan = TrainingPlan(settings.epochs, settings.batch_size, clip_norm=10.0)
        return optimise(model, optimizer, len(images), loss_of, plan, generator, progress)

    def predict(self, model: CellNet, images: np.ndarray) -> np.ndarray:
        """Return the value of each class of each image, float64 [N, classes]."""
        found = []
        with torch.inference_mode():
            for start in range(0, len(images), _CHUNK):
                x = to_float(torch.from_numpy(images[start : start + _CHUNK])).to(self.settings.device)
                found.append(self.pooled(model(x)).cpu().double())
        return torch.cat(found).numpy()

    def test(self, model: CellNet, images: np.ndarray, labels: Sequence[np.ndarray]) -> MeanResults:
        """Return a trained network's results.

        Raises:
            InputError: no images, or another form of images or labels.
        """
        true = self._checked(images, labels).numpy()
        return self.results(self.predict(model, images), true)

    def score(self, model: CellNet, images: np.ndarray, labels: Sequence[np.ndarray]) -> Scores:
        """Return the scores of `test`."""
        return self.test(model, images, labels).scores()

    def _checked(self, images: np.ndarray, labels: Sequence[np.ndarray]) -> Tensor:
        check_images(images, len(labels), _MIN_PX)
        classes = len(self.settings.classes)
        for index, label in enumerate(labels):
            if np.shape(label) != (classes,) or np.min(label) < 0:
                raise InputError(f"label {index} is {label}; {classes} whole numbers from 0 on are needed")
        return torch.from_numpy(np.stack(labels).astype(np.int64))
