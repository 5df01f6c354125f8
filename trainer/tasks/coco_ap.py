"""COCO's average precision of boxes (https://cocodataset.org/#detection-eval), computed by faster-coco-eval.

AP is the mean over the IoU thresholds .50, .55 ... .95 and over classes; AP50 and AP75 use a single threshold.
Precision is evaluated at 101 recalls, from at most 100 detections per class and image. A class without objects has no
AP and is left out of the means.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from trainer.errors import InputError
from trainer.tasks.boxes import ImageBoxes, ObjectBox
from trainer.tasks.task import Scores

AP, AP50, AP75 = "AP", "AP50", "AP75"
#: Maximum number of scored detections per class and image, in descending order of confidence.
MOST_DETECTIONS = 100


@dataclass(frozen=True)
class CocoResults:
    """The objects of images, and the detections in them, with scores."""

    classes: tuple[str, ...]
    labels: tuple[ImageBoxes, ...]
    found: tuple[ImageBoxes, ...]

    @cached_property
    def _matches(self) -> "CocoMatches":
        return CocoMatches(self.labels, self.found, len(self.classes))

    def scores(self, chosen: np.ndarray | None = None) -> Scores:
        """Return AP (the primary score), AP50, AP75, and, with several classes, "AP CLASS" of each.

        Raises:
            InputError: the images show no object of any class.
        """
        count = len(self.labels)
        precision = self._matches.precision(np.arange(count) if chosen is None else chosen)
        present = precision >= 0
        if not present.any():
            raise InputError(f"the {count} images to score on show no {' or '.join(self.classes)}")
        by_class = np.where(present, precision, 0).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
        there = present.any(axis=(0, 1))
        values = {
            AP: float(by_class[:, there].mean()),
            AP50: float(by_class[0, there].mean()),
            AP75: float(by_class[5, there].mean()),
        }
        if len(self.classes) > 1:
            values |= {
                f"{AP} {name}": float(by_class[:, index].mean())
                for index, name in enumerate(self.classes)
                if there[index]
            }
        return Scores(AP, values)


class CocoMatches:
    """Objects and detections of images, matched once by faster-coco-eval.

    A crowd without a class (-1) counts for every class.
    """

    def __init__(self, labels: Sequence[ImageBoxes], found: Sequence[ImageBoxes], classes: int) -> None:
        truth = COCO(
            {
                "images": [{"id": number, "width": 1, "height": 1} for number in range(1, len(labels) + 1)],
                "annotations": [{"id": number, **each} for number, each in enumerate(_records(labels, classes), 1)],
                "categories": [{"id": number, "name": str(number)} for number in range(1, classes + 1)],
            }
        )
        detections = truth.loadRes(_records(found, classes))
        self._evaluation = COCOeval_faster(truth, detections, "bbox", separate_eval=True)
        self._evaluation.params.areaRng, self._evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        self._evaluation.params.maxDets = [MOST_DETECTIONS]
        self._evaluation.evaluate()
        # Matches of the first class in each image, then of the second, and so on.
        self._matches = self._evaluation._evalImgs_cpp
        self._images, self._classes = len(labels), classes

    def precision(self, chosen: np.ndarray) -> np.ndarray:
        """Return the precision over a sample of images, float [10 IoUs, 101 recalls, classes].

        It is -1 for a class without objects in the sample.
        """
        self._evaluation._evalImgs_cpp = [
            self._matches[index * self._images + image] for index in range(self._classes) for image in chosen.tolist()
        ]
        self._evaluation._paramsEval.imgIds = list(range(1, len(chosen) + 1))
        self._evaluation.accumulate()
        precision: np.ndarray = self._evaluation.eval["precision"][:, :, :, 0, 0]
        return precision


def _records(images: Sequence[ImageBoxes], classes: int) -> list[dict[str, Any]]:
    return [
        _record(number, item, index)
        for number, objects in enumerate(images, 1)
        for item in objects
        for index in (range(classes) if item.class_index < 0 else (item.class_index,))
    ]


def _record(image: int, item: ObjectBox, class_index: int) -> dict[str, Any]:
    left, top, right, bottom = item.box
    width, height = right - left, bottom - top
    record: dict[str, Any] = {
        "image_id": image,
        "category_id": class_index + 1,
        "bbox": [left, top, width, height],
        "area": width * height,
        "iscrowd": int(item.crowd),
    }
    return record if item.score is None else record | {"score": item.score}
