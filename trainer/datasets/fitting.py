"""Images of any size brought to the size that a grammar renders, and what their labels become.

The rule: the image is made as small (or as large) as it can be while it still covers the frame, its shape kept, and
what hangs over is cut off equally on both sides. Pixels are resampled by Lanczos' filter (a = 3; it widens as images
shrink, so nothing aliases), masks take their nearest pixel. An image that has the size already stays as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from trainer.datasets.dataset import ImageDataset
from trainer.datasets.example import Example
from trainer.datasets.kitti_labels import DONT_CARE, KittiObject
from trainer.errors import InputError


@dataclass(frozen=True)
class Fit:
    """How an image of one size fills a frame of another.

    Attributes:
        scale: pixels of the frame per pixel of the image.
        left, top: what is cut off there, in pixels of the image.
    """

    width_px: int
    height_px: int
    scale: float
    left: float
    top: float

    @classmethod
    def of(cls, image: np.ndarray, width_px: int, height_px: int) -> "Fit":
        """The fit of an image [h, w, ...] to a frame."""
        height, width = image.shape[:2]
        scale = max(width_px / width, height_px / height)
        return cls(width_px, height_px, scale, (width - width_px / scale) / 2, (height - height_px / scale) / 2)

    def image(self, image: np.ndarray) -> np.ndarray:
        """uint8 [h, w, 3] as uint8 [height_px, width_px, 3]."""
        return self._resampled(image, Image.Resampling.LANCZOS)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask [h, w], of the type that it had."""
        pixels = self._resampled(mask.astype(np.int32), Image.Resampling.NEAREST)
        return pixels.astype(mask.dtype)

    def box(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float] | None:
        """Left, top, width, height, cut off at the frame; None: nothing is left."""
        x, y, width, height = box
        left, right = ((edge - self.left) * self.scale for edge in (x, x + width))
        top, bottom = ((edge - self.top) * self.scale for edge in (y, y + height))
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, self.width_px), min(bottom, self.height_px)
        return (left, top, right - left, bottom - top) if left < right and top < bottom else None

    def _resampled(self, pixels: np.ndarray, method: Image.Resampling) -> np.ndarray:
        if pixels.shape[:2] == (self.height_px, self.width_px):
            return pixels
        edges = (
            self.left,
            self.top,
            self.left + self.width_px / self.scale,
            self.top + self.height_px / self.scale,
        )
        whole = Image.fromarray(pixels)
        inside = (max(edges[0], 0), max(edges[1], 0), min(edges[2], whole.width), min(edges[3], whole.height))
        return np.asarray(whole.resize((self.width_px, self.height_px), method, box=inside))


def fitted_images(dataset: ImageDataset, width_px: int, height_px: int, count: int | None = None) -> np.ndarray:
    """Images uint8 [M, height_px, width_px, 3] of a dataset.

    Args:
        count: takes so many at most, evenly spread over the dataset; None: all.

    Raises:
        InputError: an image is missing or damaged.
    """
    indices = chosen(len(dataset), count)
    images = np.empty((len(indices), height_px, width_px, 3), np.uint8)
    for place, index in enumerate(indices):
        image = dataset.example(index).image
        images[place] = Fit.of(image, width_px, height_px).image(image)
    return images


def fitted_labels(
    dataset: ImageDataset,
    width_px: int,
    height_px: int,
    task: str,
    classes: Sequence[str],
    count: int | None = None,
    *,
    spared: int = 0,
) -> tuple[np.ndarray, list[Any]]:
    """Images uint8 [M, height_px, width_px, 3] and their labels, as `TaskNetwork` takes them.

    Args:
        task: "classification": the label is the index of the image's class. "segmentation": the mask of its classes,
            uint8 [height_px, width_px]. "detection", "detection-mask-rcnn": its objects as KITTI's, what is
            not known left open.
        classes: those of the grammar; they are matched by name, whatever its case.
        count: see `fitted_images`.
        spared: leaves out those that are taken with this `count`.

    Raises:
        InputError: an image is missing or damaged, or has no label of the kind, or none is left.
    """
    images, labels = [], []
    left = sorted(set(range(len(dataset))) - set(chosen(len(dataset), spared)))
    if not left:
        raise InputError(
            f"{dataset.folder} has {len(dataset)} images; keep fewer than {spared} apart, so that some are left"
        )
    for example in (dataset.example(left[place]) for place in chosen(len(left), count)):
        fit = Fit.of(example.image, width_px, height_px)
        images.append(fit.image(example.image))
        labels.append(_label(dataset, example, fit, task, classes))
    return np.stack(images), labels


def chosen(total: int, count: int | None) -> list[int]:
    """Which of `total` images are taken."""
    if count is None or count >= total:
        return list(range(total))
    return [index * total // count for index in range(count)]


def _label(dataset: ImageDataset, example: Example, fit: Fit, task: str, classes: Sequence[str]) -> Any:
    numbers = {name.lower(): place for place, name in enumerate(classes)}
    where = f"{dataset.folder}: {example.name}"
    if task == "classification":
        if example.label is None:
            raise InputError(f"{where} has no label, which classification needs")
        number = numbers.get(str(example.label).lower())
        if number is None:
            raise InputError(f"{where} has the label {example.label!r}; allowed: {', '.join(classes)}")
        return number
    if task == "segmentation":
        mask = _class_mask(dataset, example, numbers)
        if mask is None:
            raise InputError(f"{where} has no masks, which segmentation needs")
        return fit.mask(mask)
    if task in ("detection", "detection-mask-rcnn"):
        if example.objects is None:
            raise InputError(f"{where} has no objects, which detection needs")
        return tuple(_kitti_objects(example, fit))
    raise InputError(
        f"task {task!r} takes no labels of datasets; allowed: classification, segmentation, detection, "
        "detection-mask-rcnn"
    )


def _class_mask(dataset: ImageDataset, example: Example, numbers: Mapping[str, int]) -> np.ndarray | None:
    if example.class_mask is not None:
        values = [0, *(numbers.get(name.lower(), -1) + 1 for name in dataset.classes)]
        mask = example.class_mask()
        if int(mask.max()) >= len(values):
            raise InputError(
                f"{dataset.folder}: the mask of {example.name} has the value {mask.max()}, a class unknown"
            )
        return np.array(values, np.uint8)[mask]
    if example.objects is None or any(item.mask is None for item in example.objects):
        return None
    mask = np.zeros(example.image.shape[:2], np.uint8)
    for item in example.objects:
        if item.mask is not None and item.class_name.lower() in numbers:
            mask[item.mask()] = numbers[item.class_name.lower()] + 1
    return mask


def _kitti_objects(example: Example, fit: Fit) -> Iterator[KittiObject]:
    """The objects in the frame; KITTI counts pixels from the centre of the top left one."""
    for item in example.objects or ():
        box = fit.box(item.box)
        if box is None:
            continue
        x, y, width, height = box
        edges = (x - 0.5, y - 0.5, x + width - 0.5, y + height - 0.5)
        if isinstance(item.record, KittiObject):
            yield replace(item.record, box=edges)
        else:
            unknown = KittiObject(item.class_name, truncated=-1, occluded=3, alpha=-10, box=edges)
            yield unknown if item.class_name != DONT_CARE else replace(unknown, occluded=-1)
