"""A check that labels survive a translation: outlines stay, no new ones appear, and the task stays learnable.

Outlines are compared by the gradient magnitude of the Gaussian-smoothed luma, before and after translation. Around each
object with a visible outline the two gradients are correlated. A removed, moved or distorted object has a low
correlation; a changed colour or texture does not lower it. New strong gradients away from all objects indicate objects
without labels.

If the labels still hold, a network trained and tested on translated images scores as well as one trained and tested on
renders.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from trainer.tasks import TaskNetwork

#: Luma of sRGB (BT.601).
_LUMA = np.array([0.299, 0.587, 0.114])
#: Standard deviation of the Gaussian under which gradients are taken, px: for outlines, and for new objects.
_FINE_PX, _COARSE_PX = 1.0, 2.0
#: Half-width of an outline, and of the band around it in which gradients are correlated, px.
_OUTLINE_PX, _BAND_PX = 1.5, 5.0
#: Minimum number of visible pixels of a checked object.
_SMALLEST_PX = 24
#: An outline is visible if its gradient exceeds that of the band around it by this factor.
_VISIBLE = 1.3
#: Gradients below this count as 0, in display values per px.
_FLAT = 0.1
#: Minimum correlation of the gradients around a preserved object.
_KEPT = 0.4
#: A new edge is at least as strong as an outline, and was weaker than this fraction of one before.
_WEAKER = 0.5
#: Limits for accepting a model.
LEAST_KEPT, MOST_NEW, LEAST_LEARNABLE = 0.9, 0.2, 0.75
#: Lower scores are not informative.
_LEAST_SCORE = 0.1


@dataclass(frozen=True)
class OutlineCheck:
    """Statistics of outlines in a set of images.

    Attributes:
        objects: number of objects with a visible outline before translation.
        kept: fraction of them whose gradients correlate.
        correlation: mean correlation.
        new: pixels of new strong edges away from objects, as a fraction of all outline pixels.
        worst: indices of the images, the worst first.
    """

    objects: int
    kept: float
    correlation: float
    new: float
    worst: tuple[int, ...] = ()


@dataclass(frozen=True)
class TaskCheck:
    """Scores of a task network.

    Attributes:
        task, metric: names of the task and of the score.
        renders: trained and tested on renders.
        translated: trained and tested on translated renders.
        across: trained on renders, tested on translated renders; it also depends on appearance and does not decide.
        errors: whether the score is an error, where lower is better.
    """

    task: str
    metric: str
    renders: float
    translated: float
    across: float
    errors: bool = False

    @property
    def share(self) -> float | None:
        """Return the preserved fraction of the score, 1 or more: all; None: the score on renders is too low."""
        if self.errors:
            return self.renders / max(self.translated, 1e-9)
        return self.translated / self.renders if self.renders >= _LEAST_SCORE else None


@dataclass(frozen=True)
class LabelCheck:
    """The result of the check; `problem` is empty if labels are preserved."""

    outlines: OutlineCheck
    task: TaskCheck | None = None

    @property
    def problem(self) -> str:
        """Return the reason for rejecting the model; empty if it is accepted."""
        outlines, task = self.outlines, self.task
        if outlines.objects and outlines.kept < LEAST_KEPT:
            return (
                f"the outlines of {1 - outlines.kept:.0%} of the objects are lost or moved; at most "
                f"{1 - LEAST_KEPT:.0%} may be"
            )
        if outlines.new > MOST_NEW:
            return (
                f"new edges appear where there is no object, {outlines.new:.0%} of all outlines; at most "
                f"{MOST_NEW:.0%} are allowed"
            )
        if task is not None and task.share is not None and task.share < LEAST_LEARNABLE:
            return (
                f"the {task.task} trained on translated renders keeps {task.share:.0%} of its {task.metric} on "
                f"renders; at least {LEAST_LEARNABLE:.0%} are needed"
            )
        return ""

    def figures(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        outlines = asdict(self.outlines)
        del outlines["worst"]
        task = None if self.task is None else {**asdict(self.task), "share": self.task.share}
        return {"outlines": outlines, "task": task, "problem": self.problem}


def check_outlines(before: np.ndarray, after: np.ndarray, instances: Sequence[np.ndarray]) -> OutlineCheck:
    """Compare the outlines of objects in images before and after a translation.

    Args:
        before, after: uint8 [N, H, W, 3].
        instances: integers [H, W] of each image: object numbers; 0: none.
    """
    correlations: list[float] = []
    fates: list[tuple[float, int]] = []
    new = outline = 0
    for index, (image, translated, mask) in enumerate(zip(before, after, instances, strict=True)):
        found = _correlations(_gradient(image, _FINE_PX), _gradient(translated, _FINE_PX), mask)
        edges, around = _new_edges(_gradient(image, _COARSE_PX), _gradient(translated, _COARSE_PX), mask)
        correlations += found
        new, outline = new + edges, outline + around
        fates.append((float(np.mean(np.array(found) < _KEPT)) if found else 0.0, index))
        fates[-1] = (fates[-1][0] + edges / max(around, 1), index)
    kept = float(np.mean(np.array(correlations) >= _KEPT)) if correlations else 1.0
    return OutlineCheck(
        len(correlations),
        kept,
        float(np.mean(correlations)) if correlations else 1.0,
        new / max(outline, 1),
        tuple(index for _, index in sorted(fates, key=lambda fate: (-fate[0], fate[1]))),
    )


def check_task(
    network: TaskNetwork[Any, Any], before: np.ndarray, after: np.ndarray, labels: Sequence[Any], seed: int
) -> TaskCheck:
    """Train the network on the first two thirds of the images before and after, and test it on the rest.

    Raises:
        InputError: the network cannot be trained on the images.
    """
    split = len(before) * 2 // 3
    known, asked = labels[:split], labels[split:]
    plain = network.train(before[:split], known, seed)
    other = network.train(after[:split], known, seed)
    first = network.score(plain, before[split:], asked)
    second = network.score(other, after[split:], asked)
    across = network.score(plain, after[split:], asked)
    return TaskCheck(network.name, first.primary, first.value, second.value, across.value, first.errors)


def outlined(image: np.ndarray, instances: np.ndarray) -> np.ndarray:
    """Return an image uint8 [H, W, 3] with the outlines of its objects in green."""
    edges = instances != ndimage.grey_erosion(instances, size=3)
    shown = image.copy()
    shown[edges] = (0, 255, 0)
    return shown


def _gradient(image: np.ndarray, sigma: float) -> np.ndarray:
    found: np.ndarray = ndimage.gaussian_gradient_magnitude(image.astype(np.float64) @ _LUMA, sigma, mode="nearest")
    return found


def _correlations(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> list[float]:
    """Return the correlation of two gradients around each object with a visible outline before translation."""
    found = []
    margin = int(_BAND_PX) + 1
    for number, box in enumerate(ndimage.find_objects(mask.astype(np.int32)), 1):
        if box is None:
            continue
        rows, columns = (slice(max(side.start - margin, 0), side.stop + margin) for side in box)
        inside = mask[rows, columns] == number
        if inside.sum() < _SMALLEST_PX or inside.all():
            continue
        distance = np.where(inside, ndimage.distance_transform_edt(inside), ndimage.distance_transform_edt(~inside))
        band, outline = distance <= _BAND_PX, distance <= _OUTLINE_PX
        here, there = before[rows, columns], after[rows, columns]
        beside = here[band & ~outline].mean() if (band & ~outline).any() else 0.0
        if here[outline].mean() > _VISIBLE * beside + _FLAT:
            lost = there[band].std() < _FLAT
            found.append(0.0 if lost else float(np.corrcoef(here[band], there[band])[0, 1]))
    return found


def _new_edges(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> tuple[int, int]:
    """Return the numbers of pixels of new edges away from objects, and of outlines."""
    away = ndimage.distance_transform_edt(mask == 0) > _BAND_PX
    outline = (ndimage.grey_dilation(mask, size=3) != ndimage.grey_erosion(mask, size=3)).astype(bool)
    if not outline.any() or not away.any():
        return 0, int(outline.sum())
    strong = np.median(after[outline])
    usual = np.median(before[outline])
    new = away & (after > strong) & (before < _WEAKER * usual)
    return int(new.sum()), int(outline.sum())
