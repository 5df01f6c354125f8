"""What stands on the table, and which way it faces: a small convolutional network for one object per image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.errors import InputError
from trainer.features.initial_weights import rectified
from trainer.features.schedule import one_cycle
from trainer.grammar import SceneGraph
from trainer.rendering import Frame
from trainer.tasks import Budget, Progress, Scores

_CHUNK = 256  # Images looked at a time
_MIN_PX = 32
_CHANNELS = (3, 16, 32, 64, 64)
#: A yaw counts as found within so many degrees.
TOLERANCE_DEG = 15.0
#: The score of images whose class and yaw are found, and of those whose class is.
POSE, CLASS = "pose", "class"


@dataclass(frozen=True)
class Pose:
    """What there is to say of an image."""

    #: Index in the grammar's classes.
    class_index: int
    yaw_deg: float


@dataclass(frozen=True)
class PoseSettings:
    """How the network is built and trained."""

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
        """Logits [N, classes], and cosine and sine of the yaw [N, 2], of float images [N, 3, H, W] in [0, 1]."""
        x = images - 0.5
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.relu(norm(convolution(x)))
        found = self.heads[1](F.relu(self.heads[0](x.flatten(1))))
        return found[:, :-2], found[:, -2:]


class PoseEstimation:
    """The task network of table-top scenes: `trainer.tasks.TaskNetwork` whose labels are `Pose`."""

    name = "pose"
    outputs: tuple[int, ...] = ()

    def __init__(self, settings: PoseSettings, train_images: int = 4_000) -> None:
        self.settings, self.train_images = settings, train_images

    def label(self, scene: SceneGraph, frame: Frame) -> Pose:
        """Class and yaw of the scene's one object.

        Raises:
            InputError: the scene has not exactly one node with a class.
        """
        del frame
        nodes = [node for node in scene.nodes if node.class_name]
        if len(nodes) != 1:
            raise InputError(f"a scene has {len(nodes)} nodes with a class; pose estimation needs exactly one")
        return Pose(scene.classes.index(nodes[0].class_name), float(nodes[0].values.get("yaw", 0.0)))

    def train(self, images: np.ndarray, labels: Sequence[Pose], seed: int, progress: Progress | None = None) -> PoseNet:
        """Trains from scratch. Uses no global generator; one thread count, one result.

        Args:
            images: uint8 [N, H, W, 3].
            labels: N poses.
            seed: of the weights and of the order of the images.
            progress: called as progress(epochs done, epochs in all).

        Raises:
            InputError: no images, another form of images, or a class that is not one of the task's.
        """
        settings = self.settings
        x, classes, turns = self._checked(images, labels)
        generator = torch.Generator().manual_seed(seed)
        model = PoseNet((x.shape[1], x.shape[2]), len(settings.classes), generator).to(settings.device)
        batch_size = min(settings.batch_size, len(x))
        steps = settings.epochs * (len(x) // batch_size)
        optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(step / steps))
        for epoch in range(settings.epochs):
            order = torch.randperm(len(x), generator=generator)
            for start in range(0, len(x) - batch_size + 1, batch_size):
                batch = order[start : start + batch_size]
                logits, facing = model(_to_float(x[batch]).to(settings.device))
                loss = F.cross_entropy(logits, classes[batch].to(settings.device))
                loss = loss + F.mse_loss(facing, turns[batch].to(settings.device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            if progress:
                progress(epoch + 1, settings.epochs)
        return model.eval()

    def score(self, model: PoseNet, images: np.ndarray, labels: Sequence[Pose]) -> Scores:
        """The fraction of images whose class is found, and of those whose yaw is as well, within TOLERANCE_DEG.

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
        return Scores(POSE, {POSE: float(np.mean(np.logical_and(right, near))), CLASS: float(np.mean(right))})

    def predict(self, model: PoseNet, images: np.ndarray) -> list[Pose]:
        """The most likely class and the yaw, from -180 to 180 degrees, of each image uint8 [N, H, W, 3]."""
        found: list[Pose] = []
        with torch.inference_mode():
            for start in range(0, len(images), _CHUNK):
                pixels = _to_float(torch.from_numpy(images[start : start + _CHUNK])).to(self.settings.device)
                logits, facing = model(pixels)
                yaws = torch.rad2deg(torch.atan2(facing[:, 1], facing[:, 0]))
                found += [Pose(*pair) for pair in zip(logits.argmax(1).tolist(), yaws.tolist(), strict=True)]
        return found

    def _checked(self, images: np.ndarray, labels: Sequence[Pose]) -> tuple[Tensor, Tensor, Tensor]:
        """Images uint8 [N, H, W, 3], classes [N], and cosine and sine of the yaws [N, 2]."""
        shape = images.shape
        if images.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3:
            raise InputError(f"images are {images.dtype} {shape}; pose estimation needs uint8 [N, H, W, 3]")
        if not len(images) or min(shape[1:3]) < _MIN_PX:
            raise InputError(
                f"{len(images)} images of {shape[2]}x{shape[1]} px; at least 1 of {_MIN_PX}x{_MIN_PX} is needed"
            )
        if len(labels) != len(images):
            raise InputError(f"there are {len(images)} images and {len(labels)} poses; they must be as many")
        most = len(self.settings.classes) - 1
        for index, pose in enumerate(labels):
            if not 0 <= pose.class_index <= most:
                raise InputError(f"class {pose.class_index} of image {index} is none; allowed: 0 to {most}")
        turns = np.deg2rad([pose.yaw_deg for pose in labels])
        return (
            torch.from_numpy(images),
            torch.tensor([pose.class_index for pose in labels]),
            torch.from_numpy(np.stack((np.cos(turns), np.sin(turns)), axis=1).astype(np.float32)),
        )


def open_network(classes: Sequence[str], budget: Budget) -> PoseEstimation:
    """The network for an experiment's classes."""
    if budget == "quick":
        return PoseEstimation(PoseSettings(tuple(classes), epochs=8), train_images=500)
    return PoseEstimation(PoseSettings(tuple(classes)))


def _to_float(images: Tensor) -> Tensor:
    """Float [N, 3, H, W] in [0, 1] of uint8 [N, H, W, 3]."""
    return images.permute(0, 3, 1, 2).float().div_(255)
