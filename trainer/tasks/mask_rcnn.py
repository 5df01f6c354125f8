"""The paper's detector (section 4.3): Mask R-CNN with a ResNet-50-FPN, by torchvision. Intended for GPUs.

He et al. 2017 (arXiv 1703.06870); Lin et al. 2017 (arXiv 1612.03144). Needs the extra `vision`. ImageNet weights are
read from torch's cache or a given file; nothing is downloaded.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from metasim.v1 import render_pb2 as pb
from torch import Tensor, nn

from trainer.datasets.kitti_labels import KittiObject
from trainer.errors import InputError
from trainer.features.published_weights import UNREADABLE, cached, one_line
from trainer.grammar import SceneGraph
from trainer.rendering import Frame
from trainer.tasks.kitti_rules import CAR, MOST_OCCLUDED, ImageLabels, KittiResults, check_classes, scene_objects
from trainer.tasks.task import Budget, Progress, Scores
from trainer.tasks.task_settings import NO_SETTINGS, changed_settings
from trainer.tasks.training_loop import TrainingPlan, optimise

#: URL of torchvision's ResNet-50 weights; the cache stores them under the last part of this name.
WEIGHTS_URL = "https://download.pytorch.org/models/resnet50-0676ba61.pth"
_MIN_BOX_PX = 1.0


@dataclass(frozen=True)
class MaskedLabels:
    """The objects of an image and the pixels of each."""

    objects: ImageLabels
    #: bool [K, H, W], in the order of the objects.
    masks: np.ndarray


@dataclass(frozen=True)
class MaskRcnnSettings:
    """Settings of the training. The defaults are for some thousands of images."""

    epochs: int = 8
    batch_size: int = 4
    #: Learning rate of SGD with momentum 0.9; divided by 10 after three quarters of the epochs.
    learning_rate: float = 5e-3
    #: Learning rate of fine-tuning.
    tuning_rate: float = 5e-4
    weight_decay: float = 1e-4
    #: Height of the network's input, and its maximum width.
    height_px: int = 375
    max_width_px: int = 1333
    #: Weights of ResNet-50 trained on ImageNet; None: torch's cache, or random ones if it has none.
    weights: Path | None = None
    device: str = "cpu"


class MaskRcnn:
    """`trainer.tasks.TaskNetwork`. Labels without masks (`ImageLabels`) train everything except the mask head."""

    name = "detection with Mask R-CNN"
    photo_labels = "detection-mask-rcnn"
    outputs = (pb.OUTPUT_BOXES, pb.OUTPUT_DEPTH, pb.OUTPUT_INSTANCE_MASK)
    train_images = 2_000

    def __init__(self, settings: MaskRcnnSettings = MaskRcnnSettings()) -> None:
        """
        Raises:
            InputError: torchvision is missing.
        """
        _torchvision()
        self.settings = settings

    def label(self, scene: SceneGraph, frame: Frame) -> MaskedLabels:
        """Return the visible objects and their visible pixels.

        Raises:
            InputError: the camera is not a perspective one.
        """
        objects = scene_objects(scene, frame)
        places = {node.id: place + 1 for place, node in enumerate(scene.nodes)}
        mask = frame.layers[pb.OUTPUT_INSTANCE_MASK]
        masks = [mask == places[node] for node in objects]
        return MaskedLabels(
            tuple(objects.values()), np.stack(masks) if masks else np.zeros((0, *mask.shape), dtype=bool)
        )

    def label_photo(self, given: ImageLabels) -> ImageLabels:
        """Return the photo's objects, without masks."""
        return given

    def train(
        self,
        images: np.ndarray,
        labels: Sequence[MaskedLabels | ImageLabels],
        seed: int,
        progress: Progress | None = None,
    ) -> nn.Module:
        """Return a network trained from scratch, or from ImageNet weights.

        torchvision draws from torch's global generator, which is seeded for the training and restored afterwards.

        Raises:
            InputError: no images, more or fewer labels, no object of the class in any image, or weights of another
                network.
        """
        with _seeded(seed):
            targets, masked = self._targets(images, labels)
            model = self._network(masked).to(self.settings.device)
            return self._fitted(model, images, targets, seed, self.settings.learning_rate, progress)

    def fine_tune(
        self,
        model: nn.Module,
        images: np.ndarray,
        labels: Sequence[MaskedLabels | ImageLabels],
        seed: int,
        progress: Progress | None = None,
    ) -> nn.Module:
        """Return a copy of a trained network, trained further on other images, with masks if all have them.

        Raises:
            InputError: as `train`.
        """
        with _seeded(seed):
            targets, masked = self._targets(images, labels)
            copied = copy.deepcopy(model)
            if not masked:
                _without_masks(copied)
            return self._fitted(copied, images, targets, seed, self.settings.tuning_rate, progress)

    def _targets(
        self, images: np.ndarray, labels: Sequence[MaskedLabels | ImageLabels]
    ) -> tuple[list[dict[str, Tensor]], bool]:
        """Return torchvision's targets of each image, and whether all have masks."""
        if not len(images) or len(images) != len(labels):
            raise InputError(
                f"{len(labels)} labels for {len(images)} images; each image needs one, and there must be any"
            )
        targets = [self._target(label) for label in labels]
        if not any(len(target["boxes"]) for target in targets):
            raise InputError(f"none of the {len(images)} images shows a {CAR} that can be learned")
        return targets, all("masks" in target for target in targets)

    def _fitted(
        self,
        model: nn.Module,
        images: np.ndarray,
        targets: Sequence[dict[str, Tensor]],
        seed: int,
        learning_rate: float,
        progress: Progress | None,
    ) -> nn.Module:
        settings = self.settings
        model.train()
        generator = torch.Generator().manual_seed(seed)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.SGD(parameters, learning_rate, momentum=0.9, weight_decay=settings.weight_decay)
        decays = max(1, settings.epochs * 3 // 4) / settings.epochs

        def loss_of(batch: Tensor) -> Tensor:
            places = batch.tolist()
            x = [_to_float(images[place]).to(settings.device) for place in places]
            wanted = [{name: part.to(settings.device) for name, part in targets[place].items()} for place in places]
            losses: Tensor = sum(model(x, wanted).values())
            return losses

        plan = TrainingPlan(
            settings.epochs,
            settings.batch_size,
            schedule=lambda progress: 1.0 if progress < decays else 0.1,
            keep_last=True,
            clip_norm=10.0,
        )
        return optimise(model, optimizer, len(images), loss_of, plan, generator, progress)

    def test(self, model: nn.Module, images: np.ndarray, labels: Sequence[MaskedLabels | ImageLabels]) -> KittiResults:
        """Return the detections in each image beside its labels."""
        objects = tuple(_objects(label) for label in labels)
        return KittiResults(objects, tuple(self.detect(model, images)), images.shape[1])

    def score(self, model: nn.Module, images: np.ndarray, labels: Sequence[MaskedLabels | ImageLabels]) -> Scores:
        """Return KITTI's scores; see `KittiResults.scores`."""
        return self.test(model, images, labels).scores()

    def detect(self, model: nn.Module, images: np.ndarray) -> list[ImageLabels]:
        """Return the detections in each of the images uint8 [N, H, W, 3], with scores."""
        found = []
        with torch.inference_mode():
            for image in images:
                (answer,) = model([_to_float(image).to(self.settings.device)])
                found.append(
                    tuple(
                        KittiObject(CAR, -1, -1, -10, (left, top, right, bottom), score=score)
                        for (left, top, right, bottom), score in zip(
                            answer["boxes"].tolist(), answer["scores"].tolist(), strict=True
                        )
                    )
                )
        return found

    def _target(self, label: MaskedLabels | ImageLabels) -> dict[str, Tensor]:
        """Return a target for torchvision: boxes [K, 4], labels [K], masks uint8 [K, H, W] where there are any."""
        objects = _objects(label)
        kept = [
            place
            for place, item in enumerate(objects)
            if item.type == CAR
            and item.occluded <= MOST_OCCLUDED
            and min(item.box[2] - item.box[0], item.box[3] - item.box[1]) >= _MIN_BOX_PX
        ]
        target = {
            "boxes": torch.tensor([objects[place].box for place in kept], dtype=torch.float32).reshape(-1, 4),
            "labels": torch.ones(len(kept), dtype=torch.int64),
        }
        if isinstance(label, MaskedLabels):
            target["masks"] = torch.from_numpy(label.masks[kept].astype(np.uint8))
        return target

    def _network(self, masked: bool) -> nn.Module:
        detection = _torchvision().models.detection
        weights = _find_weights(self.settings.weights)
        backbone = detection.backbone_utils.resnet_fpn_backbone(
            backbone_name="resnet50",
            weights=None,
            norm_layer=nn.BatchNorm2d if weights is None else _torchvision().ops.FrozenBatchNorm2d,
            trainable_layers=5 if weights is None else 3,
        )
        if weights is not None:
            _load(backbone.body, weights)
        network = detection.MaskRCNN(
            backbone, num_classes=2, min_size=self.settings.height_px, max_size=self.settings.max_width_px
        )
        return network if masked else _without_masks(network)


def open_network(
    classes: Sequence[str], budget: Budget, device: str = "cpu", given: Mapping[str, object] = NO_SETTINGS
) -> MaskRcnn:
    """Return Mask R-CNN for cars.

    Raises:
        InputError: none of the classes is a car, or torchvision is missing.
    """
    check_classes(classes)
    settings = MaskRcnnSettings(epochs=8 if budget == "full" else 1, device=device)
    return MaskRcnn(changed_settings(settings, given))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator, from which torchvision draws, and restore it afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _without_masks(network: Any) -> Any:
    """Remove the mask head, and return the network."""
    network.roi_heads.mask_roi_pool = network.roi_heads.mask_head = network.roi_heads.mask_predictor = None
    return network


def _objects(label: MaskedLabels | ImageLabels) -> ImageLabels:
    return label.objects if isinstance(label, MaskedLabels) else label


def _to_float(image: np.ndarray) -> Tensor:
    """Return float [3, H, W] in [0, 1] of uint8 [H, W, 3]."""
    return torch.from_numpy(image).permute(2, 0, 1).float() / 255


def _torchvision() -> Any:
    try:
        import torchvision
        import torchvision.models.detection
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that was built for another torch
        raise InputError(
            f"Mask R-CNN needs torchvision ({one_line(error)}); install the extra `vision`, or choose task: detection"
        ) from error
    return torchvision


def _find_weights(path: Path | None) -> Path | None:
    """Return the file of the weights: `path`, or that in torch's cache, or None.

    Raises:
        InputError: `path` is no file.
    """
    if path is not None and not path.is_file():
        raise InputError(f"ResNet-50 weights: there is no file {path}; fetch {WEIGHTS_URL} to that place")
    kept = cached(WEIGHTS_URL)
    return path or (kept if kept.is_file() else None)


def _load(body: nn.Module, file: Path) -> None:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        wanted = body.state_dict()
        body.load_state_dict({name: state[name] for name in wanted})
    except UNREADABLE as error:
        raise InputError(
            f"{file} does not hold the weights of torchvision's ResNet-50 ({one_line(error)}); "
            f"fetch {WEIGHTS_URL} again"
        ) from error
