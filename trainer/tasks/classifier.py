"""The paper's digit classifier (section 4.1): two convolutions and three fully connected layers."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
from trainer.tasks.training_loop import TUNING, TrainingPlan, optimise

#: Weights of red, green and blue in grey (ITU-R 601-2), the same as in exported idx files.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_CHUNK = 1_000  # Images converted or classified at a time
_LARGE_PX = 48  # Larger windows are halved once more, by the first convolution's stride
_MIN_PX = 16
_MARGIN_PX = 2

#: Shifts (down, right) in pixels under which each image is classified.
VIEWS = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))


@dataclass(frozen=True)
class ClassifierSettings:
    """Settings of the training. The defaults are for 30,000 to 60,000 images."""

    classes: int = 10
    epochs: int = 12
    batch_size: int = 64
    #: Peak of the one-cycle schedule: linear up during the first fifth of the steps, then a half cosine down to zero.
    learning_rate: float = 3e-3
    #: AdamW's decoupled weight decay.
    weight_decay: float = 1e-2
    #: Label smoothing: probability spread over all classes.
    label_smoothing: float = 0.1
    #: The only augmentation: each image is stretched along two random perpendicular axes (standard deviation of the
    #: strain) and shifted (limit). Images are not rotated, since experiments learn rotations.
    strain: float = 0.08
    shift_px: float = 2.0
    device: str = "cpu"


class DigitNet(nn.Module):
    """Two 5x5 convolutions with max pooling, three fully connected layers; the weights come from `generator`.

    Args:
        window: rows and columns of the image that the network sees; see `varying_window`.
        classes: number of classes.
    """

    def __init__(self, window: tuple[slice, slice], classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.window = window
        size = [part.stop - part.start for part in window]
        self.stride = 2 if max(size) > _LARGE_PX else 1
        # Without storage, so that nothing is drawn from the global generator.
        with torch.device("meta"):
            self.conv1 = nn.Conv2d(1, 16, 5, stride=self.stride, padding=2 if self.stride == 2 else 0)
            self.conv2 = nn.Conv2d(16, 32, 5)
            features = self._features(torch.empty(1, 1, *size)).shape[1]
            self.fc1 = nn.Linear(features, 128)
            self.fc2 = nn.Linear(128, 64)
            self.fc3 = nn.Linear(64, classes)
        self.to_empty(device="cpu")
        rectified((self.conv1, self.conv2, self.fc1, self.fc2, self.fc3), generator)

    def _features(self, images: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(self.conv1(images), 2))
        return F.relu(F.max_pool2d(self.conv2(x), 2)).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, classes] of float images [N, 1, H, W] in [0, 1]."""
        return self.look(images[:, :, *self.window])

    def look(self, windows: Tensor) -> Tensor:
        """Return logits [N, classes] of windows, float [N, 1, height, width]."""
        x = F.relu(self.fc1(self._features(windows)))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


class DigitClassifier:
    """The task network of the digit experiments: a `TaskNetwork` whose labels are indices of classes."""

    name = photo_labels = "classification"
    outputs: tuple[int, ...] = ()

    def __init__(self, settings: ClassifierSettings = ClassifierSettings(), train_images: int = 60_000) -> None:
        self.settings, self.train_images = settings, train_images

    def label(self, scene: SceneGraph, frame: Frame) -> int:
        """Return the class index of a scene's single object in the grammar's classes.

        Raises:
            InputError: the scene has not exactly one node with a class.
        """
        del frame
        classes = [node.class_name for node in scene.nodes if node.class_name]
        if len(classes) != 1:
            raise InputError(f"a scene has {len(classes)} nodes with a class; classification needs exactly one")
        return scene.classes.index(classes[0])

    def label_photo(self, given: int) -> int:
        """Return the photo's class index unchanged."""
        return given

    def train(
        self, images: np.ndarray, labels: Sequence[int] | np.ndarray, seed: int, progress: Progress | None = None
    ) -> DigitNet:
        """Return a network trained from scratch, bit-identical for the same number of threads.

        Args:
            images: uint8 [N, H, W, 3] or [N, 1, H, W].
            labels: N whole numbers from 0 to `classes` - 1.
            seed: of the weights, the order of the images and their shifts.
            progress: called as progress(finished epochs, all epochs).

        Raises:
            InputError: no images, another form of images, or a label that is not one of the classes.
        """
        x, y = grey(images), self._checked(images, labels)
        generator = torch.Generator().manual_seed(seed)
        model = DigitNet(varying_window(x), self.settings.classes, generator)
        model = model.to(self.settings.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self._fit(model, x, y, self.settings.learning_rate, generator, progress)

    def fine_tune(
        self,
        model: DigitNet,
        images: np.ndarray,
        labels: Sequence[int] | np.ndarray,
        seed: int,
        progress: Progress | None = None,
    ) -> DigitNet:
        """Return a copy of a trained classifier, trained further on other images; see `train`."""
        x, y = grey(images), self._checked(images, labels)
        rate = TUNING * self.settings.learning_rate
        return self._fit(copy.deepcopy(model).train(), x, y, rate, torch.Generator().manual_seed(seed), progress)

    def _fit(
        self, model: DigitNet, x: Tensor, y: Tensor, rate: float, generator: torch.Generator, progress: Progress | None
    ) -> DigitNet:
        settings = self.settings
        x = x[:, *model.window].contiguous()

        def loss_of(batch: Tensor) -> Tensor:
            pixels = strained(_to_float(x[batch]), settings.strain, settings.shift_px, generator)
            logits = model.look(pixels.to(settings.device))
            return F.cross_entropy(logits, y[batch].to(settings.device), label_smoothing=settings.label_smoothing)

        optimizer = torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.98), weight_decay=settings.weight_decay)
        plan = TrainingPlan(settings.epochs, settings.batch_size)
        return optimise(model, optimizer, len(x), loss_of, plan, generator, progress)

    def test(self, model: DigitNet, images: np.ndarray, labels: Sequence[int] | np.ndarray) -> MeanResults:
        """Return whether each image [N, ...] is classified correctly.

        Raises:
            InputError: no images, another form of images, or a label that is not one of the classes.
        """
        y = self._checked(images, labels).numpy()
        return MeanResults("accuracy", {"accuracy": self.predict(model, images) == y})

    def score(self, model: DigitNet, images: np.ndarray, labels: Sequence[int] | np.ndarray) -> Scores:
        """Return the accuracy; see `test`."""
        return self.test(model, images, labels).scores()

    def predict(self, model: DigitNet, images: np.ndarray) -> np.ndarray:
        """Return the most likely class of each image, int64 [N], by log-probabilities averaged over `VIEWS`."""
        found = []
        with torch.inference_mode():
            for chunk in grey(images).split(_CHUNK):
                pixels = _to_float(chunk).to(self.settings.device)
                views = [model(pixels.roll(view, dims=(2, 3))).log_softmax(dim=1) for view in VIEWS]
                found.append(torch.stack(views).sum(dim=0).argmax(dim=1))
        return torch.cat(found).cpu().numpy()

    def _checked(self, images: np.ndarray, labels: Sequence[int] | np.ndarray) -> Tensor:
        classes = self.settings.classes
        labels = np.asarray(labels)
        if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
            raise InputError(
                f"labels are {labels.dtype} {labels.shape}; {len(images)} images need whole numbers ({len(images)},)"
            )
        wrong = np.flatnonzero((labels < 0) | (labels >= classes))
        if len(wrong):
            raise InputError(f"label {labels[wrong[0]]} of image {wrong[0]} is no class; allowed: 0 to {classes - 1}")
        return torch.from_numpy(labels.astype(np.int64))


def open_network(
    classes: Sequence[str], budget: Budget, device: str = "cpu", given: Mapping[str, object] = NO_SETTINGS
) -> DigitClassifier:
    """Return the classifier for an experiment's classes."""
    if budget == "quick":
        quick = ClassifierSettings(classes=len(classes), epochs=8, batch_size=32, device=device)
        return DigitClassifier(changed_settings(quick, given), train_images=300)
    return DigitClassifier(changed_settings(ClassifierSettings(classes=len(classes), device=device), given))


def grey(images: np.ndarray) -> Tensor:
    """Return grey images uint8 [N, H, W] of uint8 [N, H, W, 3] (by luma) or [N, 1, H, W].

    Raises:
        InputError: there are none, or they have another form.
    """
    shape = images.shape
    rgb = len(shape) == 4 and shape[3] == 3
    if images.dtype != np.uint8 or len(shape) != 4 or not (rgb or shape[1] == 1):
        raise InputError(f"images are {images.dtype} {shape}; allowed: uint8 [N, H, W, 3] or [N, 1, H, W]")
    size = shape[1:3] if rgb else shape[2:]
    if not len(images) or min(size) < _MIN_PX:
        raise InputError(f"{len(images)} images of {size[1]}x{size[0]} px; at least 1 of {_MIN_PX}x{_MIN_PX} is needed")
    if not rgb:
        return torch.from_numpy(images[:, 0].copy())
    result = torch.empty((len(images), *size), dtype=torch.uint8)
    for start in range(0, len(images), _CHUNK):
        luma = images[start : start + _CHUNK] @ _LUMA
        result[start : start + _CHUNK] = torch.from_numpy(np.rint(luma).astype(np.uint8))
    return result


def varying_window(images: Tensor) -> tuple[slice, slice]:
    """Return the rows and columns that enclose all pixels varying between images uint8 [N, H, W], with a margin.

    Pixels that are equal in all training images carry no information; cropping them saves time.
    """
    varies = images.amax(dim=0) != images.amin(dim=0)
    rows, columns = (_span(varies.any(dim=dim)) for dim in (1, 0))
    return rows, columns


def _span(varies: Tensor) -> slice:
    size = len(varies)
    where = varies.nonzero().flatten().tolist() or [0, size - 1]
    start = max(0, min(where[0] - _MARGIN_PX, size - _MIN_PX))
    return slice(start, min(size, max(where[-1] + 1 + _MARGIN_PX, start + _MIN_PX)))


def strained(images: Tensor, strain: float, shift_px: float, generator: torch.Generator) -> Tensor:
    """Return images [N, C, H, W], each stretched by a random symmetric matrix and shifted, with bilinear interpolation.

    Args:
        strain: standard deviation of the elements of the matrix, less the identity.
        shift_px: limit of the uniform shifts in x and in y. Edge pixels repeat beyond the edges.
    """
    if not strain and not shift_px:
        return images
    count, (height, width) = len(images), images.shape[-2:]
    xx, xy, yy = torch.randn(3, count, generator=generator) * strain
    x, y = (torch.rand(2, count, generator=generator) * 2 - 1) * shift_px
    # In the units of affine_grid, where the image goes from -1 to 1 in both directions.
    rows = [torch.stack([1 + xx, xy * height / width, 2 * x / width], dim=1)]
    rows.append(torch.stack([xy * width / height, 1 + yy, 2 * y / height], dim=1))
    grid = F.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _to_float(images: Tensor) -> Tensor:
    """Return float [N, 1, H, W] in [0, 1] of uint8 [N, H, W]."""
    return images.unsqueeze(1).float().div_(255)
