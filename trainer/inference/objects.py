"""Nodes of kinds that may repeat: their visible boxes in renders, and their match with detections."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.ndimage import find_objects
from scipy.optimize import linear_sum_assignment, minimize
from scipy.special import expit

from trainer.grammar import SceneGraph
from trainer.inference.variables import Variables

#: Nodes with fewer pixels or a shorter side of the box are not used for training. Detecting them is not an error.
LEAST_PIXELS, LEAST_SIDE_PX = 30, 5
#: Least intersection over union of a detection's box and the box of the node that it shows.
LEAST_OVERLAP = 0.4


@dataclass(frozen=True)
class Objects:
    """The nodes of repeating kinds in N images; n of them.

    Attributes:
        images: int64 [n], the image of each.
        kinds: int64 [n], the index of its kind among the repeating ones.
        boxes: float32 [n, 4], left, top, right and bottom of the visible part, in px; zeros for hidden nodes.
        visible: bool [n], whether the node shows enough for training.
        numbers: [n, D], the numbers of the node's kind. D is the maximum over kinds; the rest of a row is zero.
        categories: int64 [n, F], the same for categories.
    """

    images: np.ndarray
    kinds: np.ndarray
    boxes: np.ndarray
    visible: np.ndarray
    numbers: np.ndarray
    categories: np.ndarray

    @property
    def shown(self) -> np.ndarray:
        """Return which nodes have a visible pixel, bool [n]."""
        return np.asarray(self.boxes[:, 2] > self.boxes[:, 0])

    @staticmethod
    def joined(parts: Sequence["Objects"], sizes: Sequence[int]) -> "Objects":
        """Return the concatenation of all parts, given the number of images of each part."""
        firsts = np.cumsum([0, *sizes[:-1]])
        moved = [replace(part, images=part.images + first) for part, first in zip(parts, firsts, strict=True)]
        return Objects(*(np.concatenate([getattr(part, item.name) for part in moved]) for item in fields(Objects)))

    def of(self, index: np.ndarray) -> "Objects":
        """Return the objects of the images in `index`, int [m], sorted; images get their position in `index`."""
        place = np.searchsorted(index, self.images).clip(max=max(len(index) - 1, 0))
        kept = index[place] == self.images if len(index) else np.zeros(len(self.images), bool)
        return replace(self.where(kept), images=place[kept])

    def where(self, kept: np.ndarray) -> "Objects":
        """Return the objects that a mask selects."""
        return Objects(*(getattr(self, item.name)[kept] for item in fields(Objects)))


@dataclass(frozen=True)
class Detections:
    """The n detections in N images, ordered by image.

    Attributes:
        images: int64 [n].
        kinds: int64 [n].
        boxes: float32 [n, 4], in px.
        scores: [n], from 0 to 1.
    """

    images: np.ndarray
    kinds: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray


def objects_of(kinds: Sequence[Variables], scenes: Sequence[SceneGraph], masks: Sequence[np.ndarray]) -> Objects:
    """Return the nodes of some kinds in rendered scenes.

    Args:
        masks: instance masks [H, W] of the scenes: 1 + the node's number in its scene, or 0.
    """
    place = {variables.kind: k for k, variables in enumerate(kinds)}
    most = [max((len(getattr(each, name)) for each in kinds), default=0) for name in ("numbers", "factors")]
    at = [(i, n) for i, scene in enumerate(scenes) for n, node in enumerate(scene.nodes) if node.kind in place]
    numbers, categories = np.zeros((len(at), most[0])), np.zeros((len(at), most[1]), dtype=np.int64)
    boxes, visible = np.zeros((len(at), 4), dtype=np.float32), np.zeros(len(at), dtype=bool)
    own = np.zeros(len(at), dtype=np.int64)
    found = [find_objects(mask, len(scene.nodes)) for scene, mask in zip(scenes, masks, strict=True)]
    pixels = [np.bincount(m.ravel(), minlength=len(s.nodes) + 1) for s, m in zip(scenes, masks, strict=True)]
    for row, (i, n) in enumerate(at):
        node = scenes[i].nodes[n]
        own[row] = place[node.kind]
        variables = kinds[own[row]]
        numbers[row, : len(variables.numbers)] = variables.values_of(node)
        categories[row, : len(variables.factors)] = variables.categories_of(scenes[i], node)
        if found[i][n] is not None:
            rows, columns = found[i][n]
            boxes[row] = columns.start, rows.start, columns.stop, rows.stop
            side = min(rows.stop - rows.start, columns.stop - columns.start)
            visible[row] = pixels[i][n + 1] >= LEAST_PIXELS and side >= LEAST_SIDE_PX
    images = np.array([i for i, _ in at], dtype=np.int64)
    return Objects(images, own, boxes, visible, numbers, categories)


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the intersection over union [n, m] of boxes [n, 4] and [m, 4]."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), -1)
    areas = [np.prod(np.clip(each[:, 2:] - each[:, :2], 0, None), -1) for each in (a, b)]
    return np.asarray(shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9))


def matched(detections: Detections, objects: Objects) -> np.ndarray:
    """Return the object that each detection shows, int64 [n]; -1 where it shows none, or one that is taken already.

    Within an image and a kind, the pairs have the largest total intersection over union (Kuhn, The Hungarian Method,
    1955).
    """
    found = np.full(len(detections.images), -1, dtype=np.int64)
    shown = objects.shown
    keys = [
        each.images * (int(max(detections.kinds.max(initial=0), objects.kinds.max(initial=0))) + 1) + each.kinds
        for each in (detections, objects)
    ]
    order = [np.argsort(each, kind="stable") for each in keys]
    for key in np.intersect1d(*keys):
        rows, columns = (
            each[slice(*np.searchsorted(key_of[each], [key, key + 1]))]
            for each, key_of in zip(order, keys, strict=True)
        )
        columns = columns[shown[columns]]
        shared = overlap(detections.boxes[rows], objects.boxes[columns])
        for row, column in zip(*linear_sum_assignment(-shared), strict=True):
            if shared[row, column] >= LEAST_OVERLAP:
                found[rows[row]] = columns[column]
    return found


def precision_of(scores: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Return (a, b) of P(true | score) = σ(a + b · logit(score)), fitted to detections (Platt, 1999).

    Half a detection of each outcome keeps the curve finite; few detections keep it near the score.
    """
    logits = logit_of(scores)

    def loss(ab: np.ndarray) -> tuple[float, np.ndarray]:
        at = ab[0] + ab[1] * logits
        value = np.logaddexp(0, at).sum() - at[true].sum() + 0.5 * (ab[0] ** 2 + (ab[1] - 1) ** 2)
        slope = expit(at) - true
        return float(value), np.array([slope.sum() + ab[0], (slope * logits).sum() + ab[1] - 1])

    a, b = minimize(loss, np.array([0.0, 1.0]), jac=True, method="BFGS").x
    return float(a), float(b)


def logit_of(scores: np.ndarray) -> np.ndarray:
    """Return log(score / (1 - score)) [n]; the ends are cut."""
    clipped = np.clip(scores, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(clipped / (1 - clipped)))
