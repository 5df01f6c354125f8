"""Object detection (paper section 4.3): a small one-stage detector, scored by COCO's or KITTI's average precision.

It replaces the paper's Mask R-CNN (`trainer.tasks.mask_rcnn`) and trains on a CPU in minutes.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.errors import InputError
from trainer.features.detector import Detector, Trunk, detection_loss, make_targets, peaks
from trainer.grammar import SceneGraph
from trainer.rendering import Frame
from trainer.tasks.augmentation import photographed, varied, zoomed
from trainer.tasks.coco_rules import CocoRules
from trainer.tasks.kitti_rules import KittiRules, check_classes, has_cars
from trainer.tasks.task import Budget, Progress, Results, Scores
from trainer.tasks.task_settings import NO_SETTINGS, changed_settings
from trainer.tasks.training_loop import TUNING, TrainingPlan, check_images, optimise

_MIN_PX = 32
_CHUNK = 16  # Images per batch
#: Number of peaks examined per image: with one class, and with several classes.
_PEAKS, _PEAKS_OF_CLASSES = 100, 300
#: Learning rate of a tuned natural trunk, as a fraction of the other layers' learning rate.
_TRUNK_RATE = 0.1

#: Left, top, right, bottom in px.
Box = tuple[float, float, float, float]


class DetectionRules(Protocol):
    """The rules for labels, training boxes and scores. The labels of an image are a tuple of objects."""

    @property
    def outputs(self) -> tuple[int, ...]:
        """See `TaskNetwork.outputs`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that the network distinguishes."""

    def label(self, scene: SceneGraph, frame: Frame) -> Any:
        """See `TaskNetwork.label`."""

    def label_photo(self, given: Any) -> Any:
        """See `TaskNetwork.label_photo`."""

    def mirrored(self, objects: Any, width: int) -> Any:
        """Return the labels of the mirrored image."""

    def sought(self, objects: Any, factor: int, size: tuple[int, int]) -> tuple[list[Box], list[int], list[Box]]:
        """Return the boxes to learn, their classes, and the boxes to ignore, in px of the shrunk image.

        Args:
            factor: by which the image is smaller than its labels.
            size: height and width of the shrunk image in px.
        """

    def detections(self, boxes: Sequence[Box], scores: Sequence[float], classes: Sequence[int]) -> Any:
        """Return detections in the form of labels."""

    def counted(self, objects: Any) -> list[int]:
        """Return the class of each counted object, and of each detection with at least `COUNTED` confidence."""

    def results(self, labels: Sequence[Any], found: Sequence[Any], size: tuple[int, int]) -> Results:
        """Return the results from which scores are computed, for images of a height and width."""


@dataclass(frozen=True)
class DetectionSettings:
    """Settings of the detector and its training. The defaults suit hundreds of images of 620 x 188 px."""

    #: kitti: cars by KITTI's rules; coco: all classes by COCO's; auto: kitti for grammars with cars.
    scoring: Literal["auto", "kitti", "coco"] = "auto"
    #: small: trained from scratch; natural: EfficientNet-Lite0, trained on ImageNet.
    trunk: Trunk = "small"
    #: Also trains the natural trunk, at a tenth of the learning rate.
    tune_trunk: bool = False
    epochs: int = 12
    batch_size: int = 8
    #: Peak of the one-cycle schedule.
    learning_rate: float = 2e-3
    #: AdamW's decoupled weight decay.
    weight_decay: float = 1e-2
    #: Channels of the detector's finest level.
    width: int = 24
    #: Maximum length of an image's longer side; larger images are downsampled by an integer factor.
    max_side_px: int = 640
    #: Mirrors images at random.
    mirror: bool = True
    #: Brightness and contrast of images vary by up to this much.
    jitter: float = 0.2
    #: Each colour channel's gain varies by up to this much.
    colour: float = 0.0
    #: Images are scaled at random by a factor from 1 / (1 + zoom) to 1 + zoom.
    zoom: float = 0.0
    #: Passes images through a random camera: response, white balance, blur, noise, JPEG.
    camera: bool = False
    device: str = "cpu"


class ObjectDetection:
    """A `TaskNetwork` whose labels are the objects of an image."""

    name = photo_labels = "detection"

    def __init__(
        self,
        rules: DetectionRules,
        settings: DetectionSettings = DetectionSettings(),
        train_images: int = 500,
    ) -> None:
        self.rules, self.settings, self.train_images = rules, settings, train_images
        self.outputs = rules.outputs

    def label(self, scene: SceneGraph, frame: Frame) -> Any:
        """Return the visible objects of a rendered scene.

        Raises:
            InputError: KITTI's rules, and the camera is not a perspective one.
        """
        return self.rules.label(scene, frame)

    def label_photo(self, given: Any) -> Any:
        """Return the objects of a photo."""
        return self.rules.label_photo(given)

    def train(self, images: np.ndarray, labels: Sequence[Any], seed: int, progress: Progress | None = None) -> Detector:
        """Return a detector trained from scratch. It uses no global generator and is deterministic per thread count.

        Args:
            images: uint8 [N, H, W, 3].
            labels: of each image.
            seed: of the weights, the order of the images and their variations.
            progress: called as progress(finished epochs, all epochs).

        Raises:
            InputError: there are no images, they have another form, or no image has an object to learn.
        """
        settings = self.settings
        generator = torch.Generator().manual_seed(seed)
        model = Detector(settings.width, generator, len(self.rules.classes), settings.trunk)
        return self._fit(model.to(settings.device), images, labels, generator, settings.learning_rate, progress)

    def fine_tune(
        self,
        model: Detector,
        images: np.ndarray,
        labels: Sequence[Any],
        seed: int,
        progress: Progress | None = None,
    ) -> Detector:
        """Return a copy of a trained detector, trained further on other images; see `train`."""
        rate = TUNING * self.settings.learning_rate
        generator = torch.Generator().manual_seed(seed)
        return self._fit(copy.deepcopy(model).train(), images, labels, generator, rate, progress)

    def _fit(
        self,
        model: Detector,
        images: np.ndarray,
        labels: Sequence[Any],
        generator: torch.Generator,
        learning_rate: float,
        progress: Progress | None,
    ) -> Detector:
        settings, rules = self.settings, self.rules
        pixels, factor = self._shrunk(images, len(labels))
        shape = (pixels.shape[2], pixels.shape[3])
        if not any(rules.sought(objects, factor, shape)[0] for objects in labels):
            wanted = " or ".join(rules.classes)
            raise InputError(f"none of the {len(images)} images shows a {wanted} that can be learned")
        mirrored = [rules.mirrored(objects, images.shape[2]) for objects in labels]

        def loss_of(batch: Tensor) -> Tensor:
            x = pixels[batch]
            if settings.camera:
                x = photographed(x.movedim(1, -1).contiguous(), generator).movedim(-1, 1)
            x = x.float() / 255
            flip = torch.zeros(len(batch), dtype=torch.bool)
            if settings.mirror:
                flip = torch.rand(len(batch), generator=generator) < 0.5
                x = torch.where(flip[:, None, None, None], x.flip(3), x)
            x = varied(x, settings.jitter, settings.colour, generator)
            shown = [
                rules.sought((mirrored if turned else labels)[index], factor, shape)
                for index, turned in zip(batch.tolist(), flip.tolist(), strict=True)
            ]
            if settings.zoom:
                x, shown = zoomed(x, shown, settings.zoom, generator)
            targets = [
                make_targets(shape, _tensor(boxes), _tensor(ignored), classes, len(rules.classes))
                for boxes, classes, ignored in shown
            ]
            heat, edges = model(x.to(settings.device))
            return detection_loss(heat, edges, targets)

        optimizer = torch.optim.AdamW(
            self._parameters(model, learning_rate), weight_decay=settings.weight_decay, betas=(0.9, 0.98)
        )
        plan = TrainingPlan(settings.epochs, settings.batch_size, clip_norm=10.0)
        return optimise(model, optimizer, len(pixels), loss_of, plan, generator, progress)

    def _parameters(self, model: Detector, learning_rate: float) -> list[dict[str, Any]]:
        """Return the trainable parameters: all except a frozen trunk's."""
        if model.natural is None:
            return [{"params": list(model.parameters()), "lr": learning_rate}]
        model.natural.requires_grad_(self.settings.tune_trunk)
        own = [value for name, value in model.named_parameters() if not name.startswith("natural.")]
        groups: list[dict[str, Any]] = [{"params": own, "lr": learning_rate}]
        if self.settings.tune_trunk:
            groups.append({"params": list(model.natural.parameters()), "lr": _TRUNK_RATE * learning_rate})
        return groups

    def test(self, model: Detector, images: np.ndarray, labels: Sequence[Any]) -> Results:
        """Return the detections in each image together with its labels.

        Raises:
            InputError: no images, or another form of images.
        """
        check_images(images, len(labels), _MIN_PX)
        size = (images.shape[1], images.shape[2])
        return self.rules.results(labels, self.detect(model, images), size)

    def score(self, model: Detector, images: np.ndarray, labels: Sequence[Any]) -> Scores:
        """Return the scores of `test`.

        Raises:
            InputError: no images, another form of images, or no object to score.
        """
        return self.test(model, images, labels).scores()

    def detect(self, model: Detector, images: np.ndarray) -> list[Any]:
        """Return the detections in each of the images uint8 [N, H, W, 3], with scores, in pixels of the image."""
        pixels, factor = self._shrunk(images, None)
        most = _PEAKS if len(self.rules.classes) == 1 else _PEAKS_OF_CLASSES
        edge = torch.tensor([images.shape[2], images.shape[1]] * 2)
        found: list[Any] = []
        with torch.inference_mode():
            for chunk in pixels.split(_CHUNK):
                maps = model((chunk.float() / 255).to(self.settings.device))
                for heat, edges in zip(*(each.cpu() for each in maps), strict=True):
                    boxes, scores, classes = peaks(heat, edges, most)
                    inside = (boxes * factor).clamp(min=0).minimum(edge)
                    found.append(self.rules.detections(inside.tolist(), scores.tolist(), classes.tolist()))
        return found

    @property
    def count_classes(self) -> Sequence[str]:
        """See `CountsObjects.count_classes`."""
        return self.rules.classes

    def counts(self, model: Detector, images: np.ndarray) -> np.ndarray:
        """See `CountsObjects.counts`."""
        return self.label_counts(self.detect(model, images))

    def label_counts(self, labels: Sequence[Any]) -> np.ndarray:
        """See `CountsObjects.label_counts`."""
        most = len(self.rules.classes)
        counted = (np.array(self.rules.counted(objects), dtype=int) for objects in labels)
        return np.stack([np.bincount(classes, minlength=most) for classes in counted]).astype(np.float64)

    def _shrunk(self, images: np.ndarray, labels: int | None) -> tuple[Tensor, int]:
        """Return the images as uint8 [N, 3, H / factor, W / factor], and that factor.

        Raises:
            InputError: see `check_images`.
        """
        check_images(images, labels, _MIN_PX)
        factor = math.ceil(max(images.shape[1:3]) / self.settings.max_side_px)
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
        if factor > 1:
            parts = [F.avg_pool2d(part.float(), factor).round().byte() for part in pixels.split(_CHUNK)]
            pixels = torch.cat(parts)
        return pixels.contiguous(), factor


def open_network(
    classes: Sequence[str], budget: Budget, device: str = "cpu", given: Mapping[str, object] = NO_SETTINGS
) -> ObjectDetection:
    """Return the detector for an experiment's classes; "quick" sees images of a quarter of the size.

    Raises:
        InputError: there are no classes, or none is a car by KITTI's rules, or a setting is wrong.
    """
    settings = DetectionSettings(device=device)
    scoring = given.get("scoring", "auto")
    kitti = scoring == "kitti" or (scoring == "auto" and has_cars(classes))
    if not kitti:
        settings = replace(settings, colour=0.1, zoom=0.3)
    if budget == "quick":
        settings = replace(settings, epochs=2, width=16, max_side_px=160)
    settings = changed_settings(settings, given)
    if kitti:
        check_classes(classes)
        return ObjectDetection(KittiRules(), settings)
    return ObjectDetection(CocoRules(tuple(classes)), settings)


def _tensor(boxes: Sequence[Box]) -> Tensor:
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
