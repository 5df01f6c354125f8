"""Labelled boxes: the labels and detections of object detection by COCO's rules."""

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.datasets.kitti_labels import DONT_CARE, KittiObject
from trainer.rendering import Frame

#: KITTI counts pixels from the centre of the top left one.
_KITTI_OFFSET_PX = 0.5


@dataclass(frozen=True)
class ObjectBox:
    """An object in an image, or a detection."""

    #: Index in the grammar's classes; -1: any class, for a crowd.
    class_index: int
    #: Left, top, right, bottom in px; (0, 0) is the top left corner of the top left pixel.
    box: tuple[float, float, float, float]
    #: COCO's iscrowd: detections in this region are ignored.
    crowd: bool = False
    #: Confidence of a detection.
    score: float | None = None


#: Least confidence of a detection that counts as an object.
COUNTED = 0.3
#: The objects of an image.
ImageBoxes = tuple[ObjectBox, ...]


def boxes_of_frame(classes: Sequence[str], frame: Frame) -> ImageBoxes:
    """Return the boxes around the visible pixels of a rendered scene's objects that have a class."""
    found = []
    for item in frame.boxes:
        if item.class_name in classes and item.visible_px:
            x, y, width, height = (getattr(item.visible, name) for name in ("x_px", "y_px", "width_px", "height_px"))
            found.append(ObjectBox(classes.index(item.class_name), (x, y, x + width, y + height)))
    return tuple(found)


def boxes_of_photo(classes: Sequence[str], objects: Sequence[KittiObject]) -> ImageBoxes:
    """Return the boxes of a photo's objects. Class names are matched regardless of case; other classes are left out.

    Args:
        objects: the labels that `trainer.datasets.fitting.fitted_labels` returns for detection.
    """
    numbers = {name.lower(): index for index, name in enumerate(classes)}
    found = []
    for item in objects:
        left, top, right, bottom = (edge + _KITTI_OFFSET_PX for edge in item.box)
        if item.type == DONT_CARE:
            found.append(ObjectBox(-1, (left, top, right, bottom), crowd=True))
        elif item.type.lower() in numbers:
            found.append(ObjectBox(numbers[item.type.lower()], (left, top, right, bottom)))
    return tuple(found)
