"""KITTI's average precision of 2D boxes, by the rules of its own evaluation.

Geiger, Lenz, Urtasun, CVPR 2012, and the development kit's readme.txt:

* A difficulty requires objects of a minimum height, maximum occlusion and maximum truncation. Other objects are
ignored: neither detecting nor missing them is an error. The same holds for similar classes (vans, for cars). *
Detections below the minimum height are ignored, as are those in a DontCare region, by the intersection over the
detection's own area. * Precision is evaluated at 41 recalls from 0 to 1, each set by a score threshold. A detection
matches the object that it overlaps by more than `iou`. Each object matches one detection; further detections are
errors. * AP is the mean of the monotone precision at 40 recalls from 1/40 to 1 (Simonelli et al. 2019, used by KITTI
since), or at 11 recalls from 0 to 1 (earlier).

This follows the development kit's code where it differs from its text; comments mark the places. One consequence: each
detection that finds an object gives at most one of the 41 recalls, so with n < 41 objects the average precision cannot
exceed (n - 1) / 40.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.datasets.kitti_labels import DONT_CARE, KittiObject

#: Classes similar to another; detecting them is not an error.
NEIGHBOURS = {"Car": "Van", "Pedestrian": "Person_sitting"}
_RECALLS = 41
#: The role of an object or a detection in the score.
_OTHER, _VALID, _IGNORED = -1, 0, 1


@dataclass(frozen=True)
class Difficulty:
    """The requirements of a difficulty on objects."""

    name: str
    #: Height of the 2D box, for KITTI's size of 1242 x 375 px.
    min_height_px: float
    #: 0: fully visible, 1: partly occluded, 2: largely occluded.
    max_occlusion: int
    max_truncation: float


EASY = Difficulty("easy", 40, 0, 0.15)
MODERATE = Difficulty("moderate", 25, 1, 0.3)
HARD = Difficulty("hard", 25, 2, 0.5)
DIFFICULTIES = (EASY, MODERATE, HARD)


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision of a class at a difficulty; nan if no object is required."""

    points_11: float
    points_40: float
    #: Highest precision at each recall or above, float64 [41].
    precision: np.ndarray
    #: Number of required objects.
    objects: int


@dataclass(frozen=True)
class _Image:
    """An image with G objects and D detections."""

    objects: np.ndarray  # [G]: _OTHER, _VALID or _IGNORED
    detections: np.ndarray  # [D]: the same
    scores: np.ndarray  # [D]
    overlaps: np.ndarray  # [D, G]: intersection over union
    excused: np.ndarray  # [D] bool: lies in a DontCare region


class KittiMatches:
    """Objects and detections of images, matched for scoring a class at a difficulty."""

    def __init__(
        self,
        truth: Sequence[Sequence[KittiObject]],
        detections: Sequence[Sequence[KittiObject]],
        class_name: str,
        difficulty: Difficulty,
        iou: float = 0.5,
        scale: float = 1.0,
    ) -> None:
        """
        Args:
            truth: the labels of each image, all classes and DontCare regions.
            detections: the detections in each image, with scores; all classes.
            iou: a detection matches an object if their intersection over union is larger. KITTI uses 0.7 for cars and
                0.5 for pedestrians and cyclists; the paper uses 0.5.
            scale: size of the images relative to KITTI's; minimum heights scale with it.

        Raises:
            ValueError: the numbers of images differ, or a detection has no score.
        """
        if len(truth) != len(detections):
            raise ValueError(
                f"labels of {len(truth)} images and detections in {len(detections)}; the two must be alike"
            )
        images = [
            _image(objects, found, class_name, difficulty, iou, scale)
            for objects, found in zip(truth, detections, strict=True)
        ]
        self._asked = np.array([int((image.objects == _VALID).sum()) for image in images], dtype=int)
        self._found = [_found_scores(image, iou) for image in images]
        self._steps = [np.unique(image.scores) for image in images]
        # True and false positives at each score of the image, and above the highest.
        self._counts = [
            np.array([*(_counts(image, threshold, iou) for threshold in steps), (0, 0)])
            for image, steps in zip(images, self._steps, strict=True)
        ]

    def average_precision(self, chosen: np.ndarray | None = None) -> AveragePrecision:
        """Return the average precision over all images, or over a sample of them with repetitions, int64 [n]."""
        numbers = range(len(self._asked)) if chosen is None else chosen.tolist()
        asked = sum(int(self._asked[number]) for number in numbers)
        precision = np.zeros(_RECALLS)
        if not asked:
            return AveragePrecision(math.nan, math.nan, precision, 0)
        found_scores = np.concatenate([self._found[number] for number in numbers])
        thresholds = np.array(recall_thresholds(found_scores, asked))
        counts = np.zeros((len(thresholds), 2), dtype=int)
        for number in numbers:
            counts += self._counts[number][np.searchsorted(self._steps[number], thresholds)]
        for index, (right, wrong) in enumerate(counts.tolist()):
            precision[index] = right / (right + wrong) if right + wrong else 0.0
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        return AveragePrecision(float(precision[::4].mean()), float(precision[1:].mean()), precision, asked)


def average_precision(
    truth: Sequence[Sequence[KittiObject]],
    detections: Sequence[Sequence[KittiObject]],
    class_name: str,
    difficulty: Difficulty,
    iou: float = 0.5,
    scale: float = 1.0,
) -> AveragePrecision:
    """Return the average precision of a class over images; see `KittiMatches`."""
    return KittiMatches(truth, detections, class_name, difficulty, iou, scale).average_precision()


def recall_thresholds(scores: np.ndarray, objects: int) -> list[float]:
    """Return at most 41 score thresholds at which the recall is nearest to 0, 1/40, 2/40 ...

    Args:
        scores: scores of the true positives, in any order.
        objects: number of required objects.
    """
    thresholds: list[float] = []
    ordered = np.sort(scores)[::-1]
    for place, score in enumerate(ordered):
        wanted = len(thresholds) / (_RECALLS - 1)
        here, after = (place + 1) / objects, (place + 2) / objects
        # The next detection comes nearer to the wanted recall. The last one is always taken.
        if place < len(ordered) - 1 and after - wanted < wanted - here:
            continue
        thresholds.append(float(score))
    return thresholds


def _image(
    truth: Sequence[KittiObject],
    found: Sequence[KittiObject],
    class_name: str,
    difficulty: Difficulty,
    iou: float,
    scale: float,
) -> _Image:
    regions = [item for item in truth if item.type == DONT_CARE]
    objects = [item for item in truth if item.type != DONT_CARE]
    boxes = _boxes(found)
    inside = _intersections(boxes, _boxes(regions)) / np.maximum(_areas(boxes), 1e-12)[:, None]
    if any(item.score is None for item in found):
        raise ValueError("a detection without a score; precision and recall need one")
    return _Image(
        objects=np.array([_rated(item, class_name, difficulty, scale) for item in objects], dtype=int),
        detections=np.array([_rated_detection(item, class_name, difficulty, scale) for item in found], dtype=int),
        scores=np.array([item.score for item in found], dtype=float),
        overlaps=_intersection_over_union(boxes, _boxes(objects)),
        excused=(inside > iou).any(axis=1),
    )


def _rated(item: KittiObject, class_name: str, difficulty: Difficulty, scale: float) -> int:
    if item.type == NEIGHBOURS.get(class_name):
        return _IGNORED
    if item.type != class_name:
        return _OTHER
    height = (item.box[3] - item.box[1]) / scale
    asked = (
        item.occluded <= difficulty.max_occlusion
        and item.truncated <= difficulty.max_truncation
        and height >= difficulty.min_height_px
    )
    return _VALID if asked else _IGNORED


def _rated_detection(item: KittiObject, class_name: str, difficulty: Difficulty, scale: float) -> int:
    # The development kit rounds this height down, and ignores low detections of every class.
    if math.floor((item.box[3] - item.box[1]) / scale) < difficulty.min_height_px:
        return _IGNORED
    return _VALID if item.type == class_name else _OTHER


def _found_scores(image: _Image, iou: float) -> np.ndarray:
    """Return the scores of true positives without a threshold; each object takes its most confident detection."""
    free = image.detections != _OTHER
    scores = []
    for place in np.flatnonzero(image.objects != _OTHER):
        candidates = np.flatnonzero(free & (image.overlaps[:, place] > iou))
        if not len(candidates):
            continue
        taken = candidates[np.argmax(image.scores[candidates])]
        free[taken] = False
        if image.objects[place] == _VALID and image.detections[taken] == _VALID:
            scores.append(image.scores[taken])
    return np.array(scores)


def _counts(image: _Image, threshold: float, iou: float) -> tuple[int, int]:
    """Return true and false positives at a threshold; each object takes the detection with the largest overlap."""
    above = (image.detections != _OTHER) & (image.scores >= threshold)
    free, right = above.copy(), 0
    for place in np.flatnonzero(image.objects != _OTHER):
        candidates = np.flatnonzero(free & (image.overlaps[:, place] > iou))
        if not len(candidates):
            continue
        # An ignored detection is matched only if there is no other; of several, the first one.
        valid = candidates[image.detections[candidates] == _VALID]
        taken = valid[np.argmax(image.overlaps[valid, place])] if len(valid) else candidates[0]
        free[taken] = False
        right += int(image.objects[place] == _VALID and image.detections[taken] == _VALID)
    wrong = free & (image.detections == _VALID) & ~image.excused
    return right, int(wrong.sum())


def _boxes(items: Iterable[KittiObject]) -> np.ndarray:
    """Return left, top, right, bottom, float [N, 4]."""
    return np.array([item.box for item in items], dtype=float).reshape(-1, 4)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _intersections(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return areas [A, B] of the intersections of boxes [A, 4] and [B, 4]."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.prod(np.maximum(high - low, 0), axis=2)


def _intersection_over_union(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    shared = _intersections(a, b)
    return shared / np.maximum(_areas(a)[:, None] + _areas(b)[None, :] - shared, 1e-12)
