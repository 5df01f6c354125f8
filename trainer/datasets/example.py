"""An image of a dataset with its labels."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from trainer.datasets.kitti_labels import KittiObject


@dataclass(frozen=True)
class BopPose:
    """Pose of an object of a BOP dataset, from its model's frame to the camera's (x right, y down, z forward)."""

    object_number: int
    rotation: np.ndarray  # [3, 3]
    translation_m: np.ndarray  # [3]


@dataclass(frozen=True)
class ExampleObject:
    """An object in an image."""

    class_name: str
    #: Left, top, width, height in px; (0, 0) is the top left corner of the top left pixel.
    box: tuple[float, float, float, float]
    #: Returns its mask, bool [height, width]; None: the files have none.
    mask: Callable[[], np.ndarray] | None = None
    #: KITTI's record or BOP's pose, if the files have it.
    record: KittiObject | BopPose | None = None
    #: Detections in this region are ignored: COCO's iscrowd, Pascal VOC's difficult.
    ignored: bool = False


@dataclass(frozen=True)
class Example:
    """An image and its labels."""

    #: The image's path in the dataset, or its number.
    name: str
    #: uint8 [height, width, 3], sRGB.
    image: np.ndarray
    #: The class of the whole image; None: the files state none.
    label: int | str | None = None
    #: None: the files state no objects. Empty: there are none in this image.
    objects: tuple[ExampleObject, ...] | None = None
    #: Returns the class of each pixel, [height, width]: index in `ImageDataset.classes` + 1, 0: none. None: the files
    #: have no such mask.
    class_mask: Callable[[], np.ndarray] | None = field(default=None, repr=False)
