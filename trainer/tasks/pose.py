"""Class and yaw of an image's single object, by a small convolutional network."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.errors import InputError
from trainer.features.initial_weights import rectified
from trainer.grammar import SceneGraph
from trainer.rendering import Frame
from trainer.tasks.task import Budget, MeanResults, Progress, Scores
from trainer.tasks.task_settings import NO_SETTINGS, changed_settings
from trainer.tasks.training_loop import TUNING, TrainingPlan, check_images, optimise, to_float

_CHUNK = 256  # Images in a batch of predictions
_MIN_PX = 32
_CHANNELS = (3, 16, 32, 64, 64)
#: Largest yaw error that counts as correct.
TOLERANCE_DEG = 15.0
#: The scores: fraction of images with correct class and yaw, and with correct class.
POSE, CLASS = "pose", "class"


@dataclass(frozen=True)
class Pose:
    """The label of an image."""

    #: Index in the grammar's classes.
    class_index: int
    yaw_deg: float


@dataclass(frozen=True)
class PoseSettings:
    """Settings of the network and of its training."""

    classes: tuple[str, ...]
    epochs: int = 20
    batch_size: int = 32
    #: Peak of the one-cycle schedule.
    learning_rate: float = 3e-3
    #: AdamW's decoupled weight decay.
    weight_decay: float = 1e-2
    device: str = "cpu"


class PoseNet(nn.Module):
    """Four 3 x 3 convolutions that halve the image, and two fully connected layers; weights come from `generator`."""

    def __init__(self, size: tuple[int, int], classes: int, generator: torch.Generator) -> None:
        """
        Args:
            size: height and width of the images.
        """
        super().__init__()
        # Without storage, so that nothing is drawn from the global generator.
        with torch.device("meta"):
            convolutions = [nn.Conv2d(i, o, 3, stride=2, padding=1) for i, o in pairwise(_CHANNELS)]
            flat = _CHANNELS[-1] * math.prod(-(-length // 2 ** len(convolutions)) for length in size)
            heads = [nn.Linear(flat, 128), nn.Linear(128, classes + 2)]
        norms = [nn.GroupNorm(4, o) for o in _CHANNELS[1:]]
        self.convolutions, self.norms = nn.ModuleList(convolutions), nn.ModuleList(norms)
        self.heads = nn.ModuleList(heads)
        self.to_empty(device="cpu")
        for norm in norms:
            norm.reset_parameters()
        rectified([*convolutions, *heads], generator)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [N, classes], and cosine and sine of the yaw [N, 2], of float images [N, 3, H, W] in [0, 1]."""
        x = images - 0.5
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.relu(norm(convolution(x)))
        found = self.heads[1](F.relu(self.heads[0](x.flatten(1))))
        return found[:, :-2], found[:, -2:]


class PoseEstimation:
    """The task network of table-top scenes: a `TaskNetwork` whose labels are `Pose`."""

    name = photo_labels = "pose"
    outputs: tuple[int, ...] = ()

    def __init__(self, settings: PoseSettings, train_images: int = 4_000) -> None:
        self.settings, self.train_images = settings, train_images

    def label(self, scene: SceneGraph, frame: Frame) -> Pose:
        """Return the class and yaw of the scene's single object.

        Raises:
            InputError: the scene has not exactly one node with a class.
        """
        del frame
        nodes = [node for node in scene.nodes if node.class_name]
        if len(nodes) != 1:
            raise InputError(f"a scene has {len(nodes)} nodes with a class; pose estimation needs exactly one")
        return Pose(scene.classes.index(nodes[0].class_name), float(nodes[0].values.get("yaw", 0.0)))

    def label_photo(self, given: Pose) -> Pose:
        """Return a pose unchanged; no dataset format has such labels."""
        return given

    def train(self, images: np.ndarray, labels: Sequence[Pose], seed: int, progress: Progress | None = None) -> PoseNet:
        """Return a network trained from scratch, bit-identical for the same number of threads.

        Args:
            images: uint8 [N, H, W, 3].
            labels: N poses.
            seed: of the weights and of the order of the images.
            progress: called as progress(finished epochs, all epochs).

        Raises:
            InputError: no images, another form of images, or a class that is not one of the task's.
        """
        data = self._checked(images, labels)
        generator = torch.Generator().manual_seed(seed)
        model = PoseNet((images.shape[1], images.shape[2]), len(self.settings.classes), generator)
        model = model.to(self.settings.device)
        return self._fit(model, data, self.settings.learning_rate, generator, progress)

    def fine_tune(
        self, model: PoseNet, images: np.ndarray, labels: Sequence[Pose], seed: int, progress: Progress | None = None
    ) -> PoseNet:
        """Return a copy of a trained network, trained further on other images; see `train`."""
        data = self._checked(images, labels)
        rate = TUNING * self.settings.learning_rate
        return self._fit(copy.deepcopy(model).train(), data, rate, torch.Generator().manual_seed(seed), progress)

    def _fit(
        self,
        model: PoseNet,
        data: tuple[Tensor, Tensor, Tensor],
        rate: float,
        generator: torch.Generator,
        progress: Progress | None,
    ) -> PoseNet:
        settings = self.settings
        x, classes, turns = data

        def loss_of(batch: Tensor) -> Tensor:
            logits, facing = model(to_float(x[batch]).to(settings.device))
            loss = F.cross_entropy(logits, classes[batch].to(settings.device))
            return loss + F.mse_loss(facing, turns[batch].to(settings.device))

        optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=settings.weight_decay)
        plan = TrainingPlan(settings.epochs, settings.batch_size)
        return optimise(model, optimizer, len(x), loss_of, plan, generator, progress)

    def test(self, model: PoseNet, images: np.ndarray, labels: Sequence[Pose]) -> MeanResults:
        """Return for each image whether its class is correct, and whether its yaw is also within TOLERANCE_DEG.

        Raises:
            InputError: no images, another form of images, or a class that is not one of the task's.
        """
        self._checked(images, labels)
        found = self.predict(model, images)
        right = [pose.class_index == label.class_index for pose, label in zip(found, labels, strict=True)]
        near = [
            abs((pose.yaw_deg - label.yaw_deg + 180) % 360 - 180) <= TOLERANCE_DEG
            for pose, label in zip(found, labels, strict=True)
        ]
        return MeanResults(POSE, {POSE: np.logical_and(right, near), CLASS: np.array(right)})

    def score(self, model: PoseNet, images: np.ndarray, labels: Sequence[Pose]) -> Scores:
        """Return the fractions of images with correct class and yaw, and with correct class; see `test`."""
        return self.test(model, images, labels).scores()

    def predict(self, model: PoseNet, images: np.ndarray) -> list[Pose]:
        """Return the most likely class and the yaw, from -180 to 180 degrees, of each image uint8 [N, H, W, 3]."""
        found: list[Pose] = []
        with torch.inference_mode():
            for start in range(0, len(images), _CHUNK):
                pixels = to_float(torch.from_numpy(images[start : start + _CHUNK])).to(self.settings.device)
                logits, facing = model(pixels)
                yaws = torch.rad2deg(torch.atan2(facing[:, 1], facing[:, 0]))
                found += [Pose(*pair) for pair in zip(logits.argmax(1).tolist(), yaws.tolist(), strict=True)]
        return found

    def _checked(self, images: np.ndarray, labels: Sequence[Pose]) -> tuple[Tensor, Tensor, Tensor]:
        """Images uint8 [N, H, W, 3], classes [N], and cosine and sine of the yaws [N, 2]."""
        check_images(images, len(labels), _MIN_PX)
        most = len(self.settings.classes) - 1
        for index, pose in enumerate(labels):
            if not 0 <= pose.class_index <= most:
                raise InputError(f"class {pose.class_index} of image {index} does not exist; allowed: 0 to {most}")
        turns = np.deg2rad([pose.yaw_deg for pose in labels])
        return (
            torch.from_numpy(images),
            torch.tensor([pose.class_index for pose in labels]),
            torch.from_numpy(np.stack((np.cos(turns), np.sin(turns)), axis=1).astype(np.float32)),
        )


def open_network(
    classes: Sequence[str], budget: Budget, device: str = "cpu", given: Mapping[str, object] = NO_SETTINGS
) -> PoseEstimation:
    """Return the network for an experiment's classes."""
    if budget == "quick":
        quick = PoseSettings(tuple(classes), epochs=8, device=device)
        return PoseEstimation(changed_settings(quick, given), train_images=500)
    return PoseEstimation(changed_settings(PoseSettings(tuple(classes), device=device), given))
