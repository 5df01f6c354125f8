"""Fitting of images and their labels to the size that a grammar renders.

Three rules:

* `crop`: the image is scaled to cover the frame. The excess is cropped equally on both sides.
* `pad`: the image is scaled to fit into the frame. The rest is filled with the image's mean colour, equally on both
sides. * `resize`: width and height are scaled separately, so objects change their aspect ratio.

Pixels are resampled with a Lanczos filter (a = 3, widened for downsampling to avoid aliasing), masks with the nearest
pixel. An image of the right size is unchanged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from PIL import Image

from trainer.datasets.class_names import ClassNames
from trainer.datasets.dataset import ImageDataset
from trainer.datasets.example import Example
from trainer.datasets.kitti_labels import DONT_CARE, KittiObject, kitti_type
from trainer.errors import InputError

FitRule = Literal["crop", "pad", "resize"]
#: Left, top, width, height of a box in px; clipped to the frame after fitting.
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Fit:
    """The placement of an image in a frame of another size.

    A point (x, y) of the image lies at ((x - left) * scale_x, (y - top) * scale_y) in the frame.

    Attributes:
        left, top: where the frame begins, in pixels of the image; negative where the image is padded.
    """

    width_px: int
    height_px: int
    scale_x: float
    scale_y: float
    left: float
    top: float

    @classmethod
    def of(cls, image: np.ndarray, width_px: int, height_px: int, rule: FitRule = "crop") -> "Fit":
        """Return the fit of an image [h, w, ...] to a frame."""
        height, width = image.shape[:2]
        if rule == "resize":
            return cls(width_px, height_px, width_px / width, height_px / height, 0.0, 0.0)
        if rule == "pad":
            scale = min(width_px / width, height_px / height)
            # Whole pixels, so that labels align with the resampled image.
            inner_width, inner_height = max(round(width * scale), 1), max(round(height * scale), 1)
            scale_x, scale_y = inner_width / width, inner_height / height
            margin_x, margin_y = (width_px - inner_width) // 2, (height_px - inner_height) // 2
            return cls(width_px, height_px, scale_x, scale_y, -margin_x / scale_x, -margin_y / scale_y)
        scale = max(width_px / width, height_px / height)
        left, top = max((width - width_px / scale) / 2, 0.0), max((height - height_px / scale) / 2, 0.0)
        return cls(width_px, height_px, scale, scale, left, top)

    def image(self, image: np.ndarray) -> np.ndarray:
        """Return an image uint8 [h, w, 3] fitted to uint8 [height_px, width_px, 3]."""
        return self._resampled(image, Image.Resampling.LANCZOS, image.mean(axis=(0, 1)).round())

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Return a mask [h, w] fitted to the frame, with the same type; 0 in the padding."""
        pixels = self._resampled(mask.astype(np.int32), Image.Resampling.NEAREST, 0)
        return pixels.astype(mask.dtype)

    def box(self, box: Box) -> Box | None:
        """Return left, top, width, height, clipped to the frame; None: nothing is left."""
        x, y, width, height = box
        left, right = ((edge - self.left) * self.scale_x for edge in (x, x + width))
        top, bottom = ((edge - self.top) * self.scale_y for edge in (y, y + height))
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, self.width_px), min(bottom, self.height_px)
        return (left, top, right - left, bottom - top) if left < right and top < bottom else None

    def kept(self, image: np.ndarray) -> float:
        """Return the fraction of the image [h, w, ...] that lies in the frame, 0 to 1."""
        height, width = image.shape[:2]
        return min(self.width_px / self.scale_x / width, 1.0) * min(self.height_px / self.scale_y / height, 1.0)

    def _resampled(self, pixels: np.ndarray, method: Image.Resampling, padding: Any) -> np.ndarray:
        if pixels.shape[:2] == (self.height_px, self.width_px):
            return pixels
        whole = Image.fromarray(pixels)
        if self.left < 0 or self.top < 0:
            size = round(whole.width * self.scale_x), round(whole.height * self.scale_y)
            x, y = round(-self.left * self.scale_x), round(-self.top * self.scale_y)
            frame = np.empty((self.height_px, self.width_px, *pixels.shape[2:]), pixels.dtype)
            frame[...] = padding
            frame[y : y + size[1], x : x + size[0]] = np.asarray(whole.resize(size, method))
            return frame
        right, bottom = self.left + self.width_px / self.scale_x, self.top + self.height_px / self.scale_y
        inside = (max(self.left, 0), max(self.top, 0), min(right, whole.width), min(bottom, whole.height))
        return np.asarray(whole.resize((self.width_px, self.height_px), method, box=inside))


def fitted_images(
    dataset: ImageDataset, width_px: int, height_px: int, count: int | None = None, rule: FitRule = "crop"
) -> np.ndarray:
    """Return the images uint8 [M, height_px, width_px, 3] of a dataset.

    Args:
        count: the largest number of images, evenly spread over the dataset; None: all.

    Raises:
        InputError: an image is missing or damaged.
    """
    indices = chosen(len(dataset), count)
    images = np.empty((len(indices), height_px, width_px, 3), np.uint8)
    for place, index in enumerate(indices):
        image = dataset.example(index).image
        images[place] = Fit.of(image, width_px, height_px, rule).image(image)
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
    rule: FitRule = "crop",
    names: ClassNames | None = None,
) -> tuple[np.ndarray, list[Any]]:
    """Return images uint8 [M, height_px, width_px, 3] and their labels for a `TaskNetwork`.

    Args:
        task: "classification": the label is the index of the image's class. "segmentation": the mask of its classes,
            uint8 [height_px, width_px]. "detection", "detection-mask-rcnn": its objects as KITTI's.
        classes: classes of the grammar.
        count: see `fitted_images`.
        spared: excludes the images that `count` of this value would select.
        names: mapping from the dataset's classes to the grammar's; default: by name.

    Raises:
        InputError: an image is missing or damaged, or has no label of the kind, or no image is left.
    """
    names = names or ClassNames.of(dataset, classes)
    names.check(str(dataset.folder))
    images, labels = [], []
    left = sorted(set(range(len(dataset))) - set(chosen(len(dataset), spared)))
    if not left:
        raise InputError(
            f"{dataset.folder} has {len(dataset)} images; keep fewer than {spared} apart, so that some are left"
        )
    for example in (dataset.example(left[place]) for place in chosen(len(left), count)):
        fit = Fit.of(example.image, width_px, height_px, rule)
        images.append(fit.image(example.image))
        labels.append(_label(dataset, example, fit, task, names))
    return np.stack(images), labels


def chosen(total: int, count: int | None) -> list[int]:
    """Return the indices of at most `count` of `total` images, evenly spread."""
    if count is None or count >= total:
        return list(range(total))
    return [index * total // count for index in range(count)]


def _label(dataset: ImageDataset, example: Example, fit: Fit, task: str, names: ClassNames) -> Any:
    where = f"{dataset.folder}: {example.name}"
    if task == "classification":
        if example.label is None:
            raise InputError(f"{where} has no label, which classification needs")
        number = names.number(str(example.label))
        if number is None:
            raise InputError(f"{where} has the label {example.label!r}; {names.advice()}")
        return number
    if task == "segmentation":
        mask = class_mask(dataset, example, names)
        if mask is None:
            raise InputError(f"{where} has no masks, which segmentation needs")
        return fit.mask(mask)
    if task in ("detection", "detection-mask-rcnn"):
        if example.objects is None:
            raise InputError(f"{where} has no objects, which detection needs")
        return tuple(_kitti_objects(example, fit, names))
    raise InputError(
        f"task {task!r} takes no labels of datasets; allowed: classification, segmentation, detection, "
        "detection-mask-rcnn"
    )


def class_mask(dataset: ImageDataset, example: Example, names: ClassNames) -> np.ndarray | None:
    """Return the class of each pixel of an image, uint8 [h, w]: the index in `names.classes` + 1, 0: none of them.

    Returns:
        None where the dataset has no masks.

    Raises:
        InputError: a mask is damaged, or holds a class that the dataset does not name.
    """

    def value(name: str) -> int:
        number = names.number(name)
        return 0 if number is None else number + 1

    if example.class_mask is not None:
        values = [0, *(value(name) for name in dataset.classes)]
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
        if item.mask is not None and value(item.class_name):
            mask[item.mask()] = value(item.class_name)
    return mask


def _kitti_objects(example: Example, fit: Fit, names: ClassNames) -> Iterator[KittiObject]:
    """Return the objects in the frame; KITTI counts pixels from the centre of the top left one.

    Unknown occlusion counts as none, so that scores require the object.
    """
    for item in example.objects or ():
        box = fit.box(item.box)
        if box is None:
            continue
        x, y, width, height = box
        edges = (x - 0.5, y - 0.5, x + width - 0.5, y + height - 0.5)
        if item.ignored or item.class_name == DONT_CARE:
            yield KittiObject(DONT_CARE, truncated=-1, occluded=-1, alpha=-10, box=edges)
            continue
        name = names.name(item.class_name)
        name = kitti_type(name) or name
        if isinstance(item.record, KittiObject):
            yield replace(item.record, type=name, box=edges)
        else:
            yield KittiObject(name, truncated=-1, occluded=0, alpha=-10, box=edges)
