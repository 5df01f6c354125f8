"""Car detection by KITTI's rules: labels of scenes, training boxes, and scores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from metasim.transforms import world_matrices
from metasim.v1 import render_pb2 as pb

from trainer.datasets.kitti_labels import DONT_CARE, KittiObject, kitti_type
from trainer.datasets.writers.geometry import camera_of, cuboid_of
from trainer.datasets.writers.kitti import kitti_object
from trainer.datasets.writers.sample import Instance, Rectangle
from trainer.errors import InputError
from trainer.grammar import SceneGraph
from trainer.rendering import Frame
from trainer.tasks.boxes import COUNTED
from trainer.tasks.kitti_ap import DIFFICULTIES, MODERATE, NEIGHBOURS, Difficulty, KittiMatches
from trainer.tasks.task import Scores

#: The detected class, one of KITTI's types.
CAR = "Car"
#: Height of KITTI's images, to which the minimum heights of its difficulties refer.
KITTI_HEIGHT_PX = 375
#: More occluded cars are ignored, as KITTI does not require them.
MOST_OCCLUDED = 2
#: A match needs a larger IoU than this, the paper's choice.
IOU = 0.5

#: The objects of an image, all classes, in the image's pixels as KITTI counts them: from the centre of the first one.
ImageLabels = tuple[KittiObject, ...]
#: Left, top, right, bottom in px.
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class KittiRules:
    """Labels, training boxes and scores as KITTI defines them; see `trainer.tasks.detection.DetectionRules`."""

    #: Minimum height of objects in training, for an image height of 375 px.
    min_height_px: float = 16

    outputs: ClassVar[tuple[int, ...]] = (pb.OUTPUT_BOXES, pb.OUTPUT_DEPTH)
    classes: ClassVar[tuple[str, ...]] = (CAR,)

    def label(self, scene: SceneGraph, frame: Frame) -> ImageLabels:
        """Return the visible objects whose class is one of KITTI's.

        Raises:
            InputError: the camera is not a perspective one.
        """
        return tuple(scene_objects(scene, frame).values())

    def label_photo(self, given: ImageLabels) -> ImageLabels:
        """Return a photo's objects unchanged."""
        return given

    def mirrored(self, objects: ImageLabels, width: int) -> ImageLabels:
        """Return the objects of the mirrored image; only 2D boxes are mirrored."""
        return tuple(
            replace(item, box=(width - 1 - item.box[2], item.box[1], width - 1 - item.box[0], item.box[3]))
            for item in objects
        )

    def sought(
        self, objects: ImageLabels, factor: int, size: tuple[int, int]
    ) -> tuple[list[Box], list[int], list[Box]]:
        """Return the boxes to learn, their classes, and the boxes to ignore, in px of the shrunk image.

        Args:
            factor: by which the image is smaller than its labels.
            size: height and width of the shrunk image in px.
        """
        least = self.min_height_px / KITTI_HEIGHT_PX * size[0]
        sought, ignored = [], []
        for item in objects:
            left, top, right, bottom = (side / factor for side in item.box)
            if item.type == CAR and item.occluded <= MOST_OCCLUDED and bottom - top >= least:
                sought.append((left, top, right, bottom))
            elif item.type in (CAR, NEIGHBOURS[CAR], DONT_CARE):
                ignored.append((left, top, right, bottom))
        return sought, [0] * len(sought), ignored

    def detections(self, boxes: Sequence[Box], scores: Sequence[float], classes: Sequence[int]) -> ImageLabels:
        """Return detections as KITTI's objects."""
        del classes
        return tuple(
            KittiObject(CAR, -1, -1, -10, (box[0], box[1], box[2], box[3]), score=score)
            for box, score in zip(boxes, scores, strict=True)
        )

    def counted(self, objects: ImageLabels) -> list[int]:
        """Return 0 for each car, and for each detection with at least `COUNTED` confidence."""
        return [0 for item in objects if item.type == CAR and (item.score is None or item.score >= COUNTED)]

    def results(
        self, labels: Sequence[ImageLabels], found: Sequence[ImageLabels], size: tuple[int, int]
    ) -> "KittiResults":
        """Return what scores are computed from."""
        return KittiResults(tuple(labels), tuple(found), size[0])


@dataclass(frozen=True)
class KittiResults:
    """Labels of images of one height, and the detections in them."""

    labels: tuple[ImageLabels, ...]
    found: tuple[ImageLabels, ...]
    height_px: int

    @cached_property
    def _matches(self) -> dict[Difficulty, KittiMatches]:
        scale = self.height_px / KITTI_HEIGHT_PX
        return {each: KittiMatches(self.labels, self.found, CAR, each, IOU, scale) for each in DIFFICULTIES}

    def scores(self, chosen: np.ndarray | None = None) -> Scores:
        """Return AP of easy, moderate (the primary score) and hard objects, at 40 and at 11 recalls.

        Minimum heights scale with the image height: 25 px of 375 become 12.5 px of 188.

        Raises:
            InputError: no object is required at moderate difficulty.
        """
        values: dict[str, float] = {}
        for difficulty, matches in self._matches.items():
            result = matches.average_precision(chosen)
            if result.objects:
                values |= {f"ap_{difficulty.name}": result.points_40, f"ap11_{difficulty.name}": result.points_11}
            elif difficulty is MODERATE:
                raise InputError(
                    f"the {len(self.labels)} images to score on show no {CAR} of moderate difficulty: at least "
                    f"{MODERATE.min_height_px:g} px of {KITTI_HEIGHT_PX} high, at most partly occluded"
                )
        return Scores("ap_moderate", values)


def has_cars(classes: Sequence[str]) -> bool:
    """Return whether one of a grammar's classes is KITTI's car."""
    return CAR in map(kitti_type, classes)


def check_classes(classes: Sequence[str]) -> None:
    """Check that a grammar has cars.

    Raises:
        InputError: none of its classes is KITTI's car.
    """
    if not has_cars(classes):
        found = ", ".join(classes) or "none"
        raise InputError(f"KITTI's rules score the class {CAR.lower()}; the grammar's classes are: {found}")


def scene_objects(scene: SceneGraph, frame: Frame) -> dict[str, KittiObject]:
    """Return KITTI's labels of a rendered scene's visible objects by node id.

    Args:
        frame: with boxes and depth.

    Raises:
        InputError: the camera is not a perspective one.
    """
    wire = scene.to_wire(lambda _: "")  # Only positions and sizes are read from it.
    depth = frame.layers[pb.OUTPUT_DEPTH]
    height, width = depth.shape
    camera = camera_of(wire, pb.RenderSettings(width_px=width, height_px=height))
    if not camera.perspective:
        raise InputError(
            "KITTI's rules need a perspective camera; the scene has an orthographic one: set task_settings.scoring=coco"
        )
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
