"""Car detection (paper section 4.3): a small one-stage detector, scored by KITTI's average precision at an IoU of 0.5.

It stands in for the paper's Mask R-CNN (`trainer.tasks.mask_rcnn`) and trains on a CPU in minutes.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from metasim.transforms import world_matrices
from metasim.v1 import render_pb2 as pb
from torch import Tensor

from trainer.datasets.kitti_labels import DONT_CARE, KittiObject, kitti_type
from trainer.datasets.writers.geometry import camera_of, cuboid_of
from trainer.datasets.writers.kitti import kitti_object
from trainer.datasets.writers.sample import Instance, Rectangle
from trainer.errors import InputError
from trainer.features.detector import Detector, Targets, detection_loss, make_targets, peaks
from trainer.grammar import SceneGraph
from trainer.rendering import Frame
from trainer.tasks.kitti_ap import DIFFICULTIES, MODERATE, NEIGHBOURS, average_precision
from trainer.tasks.task import Budget, Progress, Scores
from trainer.tasks.training import TUNING, TrainingPlan, check_images, optimise

#: Height of KITTI's images, by which the least heights of its difficulties are meant.
KITTI_HEIGHT_PX = 375
#: More hidden cars are not sought: KITTI asks for none of them either.
MOST_OCCLUDED = 2
_MIN_PX = 32
_CHUNK = 16  # Images that are searched at a time

#: The objects of an image, all classes, in the image's pixels as KITTI counts them: from the centre of the first one.
ImageLabels = tuple[KittiObject, ...]


@dataclass(frozen=True)
class DetectionSettings:
    """How the detector is trained. The defaults are for some hundreds of images of 620 x 188 px."""

    #: The class that is sought, one of KITTI's types.
    class_name: str = "Car"
    epochs: int = 12
    batch_size: int = 8
    #: Peak of the one-cycle schedule.
    learning_rate: float = 2e-3
    #: AdamW's decoupled weight decay.
    weight_decay: float = 1e-2
    #: Channels of the detector's finest level.
    width: int = 24
    #: Wider images are made smaller by a whole number until they are at most this wide.
    max_width_px: int = 640
    #: Lower objects are left out of training: neither sought nor taken for background. Of 375 px of height.
    min_height_px: float = 16
    #: Images are mirrored at random, and their brightness and contrast vary by up to this much.
    jitter: float = 0.2
    #: Scores count detections that overlap an object by more than this.
    iou: float = 0.5
    device: str = "cpu"


class CarDetection:
    """The task network of driving scenes: a `TaskNetwork` with labels as KITTI has them."""

    name = photo_labels = "detection"
    outputs = (pb.OUTPUT_BOXES, pb.OUTPUT_DEPTH)
    train_images = 500

    def __init__(self, settings: DetectionSettings = DetectionSettings()) -> None:
        self.settings = settings

    def label(self, scene: SceneGraph, frame: Frame) -> ImageLabels:
        """The objects that can be seen and whose class is one of KITTI's.

        Raises:
            InputError: the camera is not a perspective one.
        """
        return tuple(scene_objects(scene, frame).values())

    def label_photo(self, given: ImageLabels) -> ImageLabels:
        """Return the photo's objects as they are."""
        return given

    def train(
        self, images: np.ndarray, labels: Sequence[ImageLabels], seed: int, progress: Progress | None = None
    ) -> Detector:
        """Trains from scratch. Uses no global generator; one thread count, one result.

        Args:
            images: uint8 [N, H, W, 3].
            labels: of each image.
            seed: of the weights, the order of the images and their variations.
            progress: called as progress(epochs done, epochs in all).

        Raises:
            InputError: no images, another form of images, or no object of the class in any of them.
        """
        generator = torch.Generator().manual_seed(seed)
        model = Detector(self.settings.width, generator).to(self.settings.device)
        return self._fitted(model, images, labels, generator, self.settings.learning_rate, progress)

    def fine_tune(
        self,
        model: Detector,
        images: np.ndarray,
        labels: Sequence[ImageLabels],
        seed: int,
        progress: Progress | None = None,
    ) -> Detector:
        """A copy of a trained detector that goes on with other images, as `train` has them.

        Raises:
            InputError: as `train`.
        """
        generator = torch.Generator().manual_seed(seed)
        copied = copy.deepcopy(model).train()
        return self._fitted(copied, images, labels, generator, TUNING * self.settings.learning_rate, progress)

    def _fitted(
        self,
        model: Detector,
        images: np.ndarray,
        labels: Sequence[ImageLabels],
        generator: torch.Generator,
        learning_rate: float,
        progress: Progress | None,
    ) -> Detector:
        settings = self.settings
        pixels, factor = self._shrunk(images, labels)
        shape = (pixels.shape[2], pixels.shape[3])
        if not any(self._sorted(objects, factor, shape)[0] for objects in labels):
            raise InputError(f"none of the {len(images)} images shows a {settings.class_name} that can be learned")
        mirrored = [_mirrored(objects, images.shape[2]) for objects in labels]

        def loss_of(batch: Tensor) -> Tensor:
            flip = torch.rand(len(batch), generator=generator) < 0.5
            x = pixels[batch].float() / 255
            x = torch.where(flip[:, None, None, None], x.flip(3), x)
            x = _varied(x, settings.jitter, generator).to(settings.device)
            shown = [
                (mirrored if turned else labels)[place]
                for place, turned in zip(batch.tolist(), flip.tolist(), strict=True)
            ]
            heat, boxes = model(x)
            return detection_loss(heat, boxes, [self._targets(objects, factor, shape) for objects in shown])

        optimizer = torch.optim.AdamW(
            model.parameters(), learning_rate, weight_decay=settings.weight_decay, betas=(0.9, 0.98)
        )
        plan = TrainingPlan(settings.epochs, settings.batch_size, clip_norm=10.0)
        return optimise(model, optimizer, len(pixels), loss_of, plan, generator, progress)

    def test(self, model: Detector, images: np.ndarray, labels: Sequence[ImageLabels]) -> "KittiResults":
        """Return the detections in each image beside its labels; see `score`.

        Raises:
            InputError: no images, or another form of images.
        """
        check_images(images, len(labels), _MIN_PX)
        return KittiResults(tuple(labels), tuple(self.detect(model, images)), images.shape[1], self.settings)

    def score(self, model: Detector, images: np.ndarray, labels: Sequence[ImageLabels]) -> Scores:
        """Average precision for easy, moderate (the primary one) and hard objects, at 40 and at 11 recalls.

        Least heights follow the images' height: 25 px of 375 are 12.5 px of 188.

        Raises:
            InputError: no images, another form of images, or no object that is asked for at moderate difficulty.
        """
        return self.test(model, images, labels).scores()

    def detect(self, model: Detector, images: np.ndarray) -> list[ImageLabels]:
        """What is found in each of the images uint8 [N, H, W, 3], with scores, in pixels of the image."""
        pixels, factor = self._shrunk(images, None)
        found: list[ImageLabels] = []
        with torch.inference_mode():
            for chunk in pixels.split(_CHUNK):
                heat, boxes = model((chunk.float() / 255).to(self.settings.device))
                found += [
                    self._found(*peaks(*maps), factor, images.shape[1:3]) for maps in zip(heat, boxes, strict=True)
                ]
        return found

    def _found(self, boxes: Tensor, scores: Tensor, factor: int, size: tuple[int, ...]) -> ImageLabels:
        height, width = size[:2]
        inside = (boxes * factor).clamp(min=0).minimum(torch.tensor([width, height] * 2, device=boxes.device))
        return tuple(
            KittiObject(self.settings.class_name, -1, -1, -10, (left, top, right, bottom), score=score)
            for (left, top, right, bottom), score in zip(inside.tolist(), scores.tolist(), strict=True)
        )

    def _targets(self, objects: ImageLabels, factor: int, size: tuple[int, int]) -> Targets:
        sought, unsure = (torch.tensor(boxes).reshape(-1, 4) for boxes in self._sorted(objects, factor, size))
        return make_targets(size, sought, unsure)

    def _sorted(
        self, objects: ImageLabels, factor: int, size: tuple[int, int]
    ) -> tuple[list[list[float]], list[list[float]]]:
        """The boxes that are sought, and those in which nothing is learned, in px of the shrunk image.

        Args:
            factor: by which the image is smaller than its labels.
            size: height and width of the shrunk image in px.
        """
        settings = self.settings
        least = settings.min_height_px / KITTI_HEIGHT_PX * size[0]
        sought, unsure = [], []
        for item in objects:
            box = [side / factor for side in item.box]
            if item.type == settings.class_name and item.occluded <= MOST_OCCLUDED and box[3] - box[1] >= least:
                sought.append(box)
            elif item.type in (settings.class_name, NEIGHBOURS.get(settings.class_name), DONT_CARE):
                unsure.append(box)
        return sought, unsure

    def _shrunk(self, images: np.ndarray, labels: Sequence[ImageLabels] | None) -> tuple[Tensor, int]:
        """The images as uint8 [N, 3, H / factor, W / factor], and that factor.

        Raises:
            InputError: there are no images, they have another form, or there are more or fewer labels.
        """
        check_images(images, None if labels is None else len(labels), _MIN_PX)
        shape = images.shape
        factor = math.ceil(shape[2] / self.settings.max_width_px)
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
        if factor > 1:
            parts = [F.avg_pool2d(part.float(), factor).round().byte() for part in pixels.split(_CHUNK)]
            pixels = torch.cat(parts)
        return pixels.contiguous(), factor


@dataclass(frozen=True)
class KittiResults:
    """Labels of images of one height, and the detections in them."""

    labels: tuple[ImageLabels, ...]
    found: tuple[ImageLabels, ...]
    height_px: int
    settings: DetectionSettings

    def scores(self, chosen: np.ndarray | None = None) -> Scores:
        """Return the scores; see `CarDetection.score`.

        Raises:
            InputError: no object is asked for at moderate difficulty.
        """
        numbers = range(len(self.labels)) if chosen is None else chosen.tolist()
        found, labels = ([of[number] for number in numbers] for of in (self.found, self.labels))
        return detection_scores(found, labels, self.height_px, self.settings)


def open_network(classes: Sequence[str], budget: Budget, device: str = "cpu") -> CarDetection:
    """Return the detector of cars; "quick" looks at images of a quarter of the size.

    Raises:
        InputError: none of the classes is a car.
    """
    check_classes(classes)
    if budget == "quick":
        return CarDetection(DetectionSettings(epochs=2, width=16, max_width_px=160, device=device))
    return CarDetection(DetectionSettings(device=device))


def check_classes(classes: Sequence[str], wanted: str = "Car") -> None:
    """
    Raises:
        InputError: none of the classes of a grammar is KITTI's `wanted`.
    """
    if wanted not in map(kitti_type, classes):
        found = ", ".join(classes) or "none"
        raise InputError(f"detection looks for the class {wanted.lower()}; the grammar's classes are: {found}")


def scene_objects(scene: SceneGraph, frame: Frame) -> dict[str, KittiObject]:
    """KITTI's labels of what can be seen in a rendered scene, by the node's id.

    Args:
        frame: with boxes and depth.

    Raises:
        InputError: the camera is not a perspective one.
    """
    wire = scene.to_wire(lambda _: "")  # Only places and sizes are read from it.
    depth = frame.layers[pb.OUTPUT_DEPTH]
    height, width = depth.shape
    camera = camera_of(wire, pb.RenderSettings(width_px=width, height_px=height))
    if not camera.perspective:
        raise InputError("detection needs a perspective camera; the scene has an orthographic one")
    world = world_matrices(wire)
    return {
        box.node: kitti_object(
            Instance(
                box.node,
                box.class_name,
                number=0,
                amodal=Rectangle(box.amodal.x_px, box.amodal.y_px, box.amodal.width_px, box.amodal.height_px),
                cuboid=cuboid_of(box.extent, world[box.node], camera),
            ),
            camera,
            depth,
        )
        for box in frame.boxes
        if kitti_type(box.class_name) and box.visible_px and box.HasField("amodal") and box.HasField("extent")
    }


def detection_scores(
    found: Sequence[ImageLabels], labels: Sequence[ImageLabels], height_px: int, settings: DetectionSettings
) -> Scores:
    """Scores of detections in images of that height; see `CarDetection.score`.

    Raises:
        InputError: no object is asked for at moderate difficulty.
    """
    values: dict[str, float] = {}
    for difficulty in DIFFICULTIES:
        result = average_precision(
            labels, found, settings.class_name, difficulty, settings.iou, height_px / KITTI_HEIGHT_PX
        )
        if result.objects:
            values |= {f"ap_{difficulty.name}": result.points_40, f"ap11_{difficulty.name}": result.points_11}
        elif difficulty is MODERATE:
            raise InputError(
                f"the {len(labels)} images to score on show no {settings.class_name} of moderate difficulty: at least "
                f"{MODERATE.min_height_px:g} px of {KITTI_HEIGHT_PX} high, at most partly occluded"
            )
    return Scores("ap_moderate", values)


def _mirrored(objects: ImageLabels, width: int) -> ImageLabels:
    """2D boxes of the mirrored image; nothing else is mirrored."""
    return tuple(
        replace(item, box=(width - 1 - item.box[2], item.box[1], width - 1 - item.box[0], item.box[3]))
        for item in objects
    )


def _varied(images: Tensor, jitter: float, generator: torch.Generator) -> Tensor:
    """Brightness and contrast of each image [N, 3, H, W] changed by up to `jitter`."""
    gain, offset = (torch.rand(2, len(images), 1, 1, 1, generator=generator) * 2 - 1) * jitter
    return ((images - 0.5) * (1 + gain) + 0.5 + offset / 2).clamp(0, 1)
