"""Detection of any classes by COCO's rules: labels of scenes and photos, training boxes, and scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from metasim.v1 import render_pb2 as pb

from trainer.datasets.kitti_labels import KittiObject
from trainer.errors import InputError
from trainer.grammar import SceneGraph
from trainer.rendering import Frame
from trainer.tasks.boxes import COUNTED, ImageBoxes, ObjectBox, boxes_of_frame, boxes_of_photo
from trainer.tasks.coco_ap import CocoResults

#: Smallest object size for training, in px of the network's input.
MIN_SIDE_PX = 4.0
#: Left, top, right, bottom in px.
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class CocoRules:
    """Boxes of any classes, scored as COCO does; see `trainer.tasks.detection.DetectionRules`."""

    #: The grammar's classes.
    classes: tuple[str, ...]

    outputs: ClassVar[tuple[int, ...]] = (pb.OUTPUT_BOXES,)

    def __post_init__(self) -> None:
        if not self.classes:
            raise InputError("detection needs objects with a class; the grammar has none: add `class: NAME` to a kind")

    def label(self, scene: SceneGraph, frame: Frame) -> ImageBoxes:
        """Return the boxes around the visible pixels of the scene's objects."""
        del scene
        return boxes_of_frame(self.classes, frame)

    def label_photo(self, given: Sequence[KittiObject]) -> ImageBoxes:
        """Return the boxes of a photo's objects; see `boxes_of_photo`."""
        return boxes_of_photo(self.classes, given)

    def mirrored(self, objects: ImageBoxes, width: int) -> ImageBoxes:
        """Return the objects of the mirrored image."""
        return tuple(
            ObjectBox(
                item.class_index, (width - item.box[2], item.box[1], width - item.box[0], item.box[3]), item.crowd
            )
            for item in objects
        )

    def sought(self, objects: ImageBoxes, factor: int, size: tuple[int, int]) -> tuple[list[Box], list[int], list[Box]]:
        """Return the boxes to learn, their classes, and the boxes to ignore, in px of the shrunk image.

        Args:
            factor: by which the image is smaller than its labels.
            size: height and width of the shrunk image in px.
        """
        del size
        sought, classes, ignored = [], [], []
        for item in objects:
            left, top, right, bottom = (side / factor for side in item.box)
            if item.crowd or min(right - left, bottom - top) < MIN_SIDE_PX:
                ignored.append((left, top, right, bottom))
            else:
                sought.append((left, top, right, bottom))
                classes.append(item.class_index)
        return sought, classes, ignored

    def detections(self, boxes: Sequence[Box], scores: Sequence[float], classes: Sequence[int]) -> ImageBoxes:
        """Return detections as boxes."""
        return tuple(
            ObjectBox(index, (box[0], box[1], box[2], box[3]), score=score)
            for box, score, index in zip(boxes, scores, classes, strict=True)
        )

    def counted(self, objects: ImageBoxes) -> list[int]:
        """Return the class of each object except crowds, and of each detection with at least `COUNTED` confidence."""
        return [
            item.class_index for item in objects if not item.crowd and (item.score is None or item.score >= COUNTED)
        ]

    def results(self, labels: Sequence[ImageBoxes], found: Sequence[ImageBoxes], size: tuple[int, int]) -> CocoResults:
        """Return the results from which scores are computed."""
        del size
        return CocoResults(self.classes, tuple(labels), tuple(found))
