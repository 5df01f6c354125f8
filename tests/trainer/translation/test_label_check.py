"""The check that labels survive: what keeps objects passes, what loses, moves or invents them is refused."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from trainer.tasks import Scores
from trainer.translation.label_check import LabelCheck, TaskCheck, check_outlines, check_task, outlined


def discs() -> tuple[np.ndarray, np.ndarray]:
    """Six images uint8 [96, 96, 3] of five discs each on a rough ground, and the masks of their instances."""
    rng = np.random.default_rng(0)
    images, masks = [], []
    rows, columns = np.mgrid[:96, :96]
    for _ in range(6):
        image = np.full((96, 96, 3), 90.0) + 6 * ndimage.gaussian_filter(rng.normal(size=(96, 96, 1)), (1, 1, 0)) * 4
        mask = np.zeros((96, 96), np.uint16)
        for number, (x, y) in enumerate(((18, 18), (70, 20), (46, 46), (20, 74), (72, 72)), 1):
            x, y = x + rng.integers(-4, 5), y + rng.integers(-4, 5)
            inside = (rows - y) ** 2 + (columns - x) ** 2 < rng.uniform(7, 10) ** 2
            image[inside], mask[inside] = rng.uniform(150, 240, 3), number
        images.append(np.clip(image, 0, 255).astype(np.uint8))
        masks.append(mask)
    return np.stack(images), np.stack(masks)


IMAGES, MASKS = discs()


def refused(after: np.ndarray) -> str:
    return LabelCheck(check_outlines(IMAGES, after, MASKS)).problem


def neutral() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "nothing": IMAGES,
        "darker": (IMAGES * 0.6).astype(np.uint8),
        "other colours": IMAGES[..., ::-1] // 2 + 60,
        "negative": 255 - IMAGES,
        "noise": np.clip(IMAGES + rng.normal(0, 4, IMAGES.shape), 0, 255).astype(np.uint8),
        "blur": ndimage.gaussian_filter(IMAGES, (0, 0.7, 0.7, 0)),
        "haze": IMAGES // 2 + 100,
    }


@pytest.mark.parametrize("name", neutral())
def test_a_neutral_model_passes(name: str) -> None:
    found = check_outlines(IMAGES, neutral()[name], MASKS)
    assert found.objects == 30
    assert LabelCheck(found).problem == ""
    assert found.kept >= 0.95
    assert found.new < 0.05


@pytest.mark.parametrize("shift", [(0, 5), (5, 0), (4, -4)])
def test_a_model_that_shifts_objects_is_refused(shift: tuple[int, int]) -> None:
    assert "of the objects are lost or moved; at most 10% may be" in refused(np.roll(IMAGES, shift, (1, 2)))


def test_a_model_that_removes_objects_is_refused() -> None:
    after = IMAGES.copy()
    for image, mask in zip(after, MASKS, strict=True):
        for number in (1, 3):
            image[ndimage.binary_dilation(mask == number, iterations=2)] = 90
    assert refused(after) == "the outlines of 40% of the objects are lost or moved; at most 10% may be"


def test_a_model_that_invents_objects_is_refused() -> None:
    after = IMAGES.copy()
    after[:, 40:56, 2:18] = 220  # Where no disc is.
    after[:, 2:14, 38:56] = 220
    found = check_outlines(IMAGES, after, MASKS)
    assert found.kept >= 0.9
    assert LabelCheck(found).problem.startswith("new edges appear where there is no object")


def test_the_worst_images_come_first() -> None:
    after = IMAGES.copy()
    after[4] = 90
    found = check_outlines(IMAGES, after, MASKS)
    assert found.worst[0] == 4
    assert sorted(found.worst) == list(range(6))


def test_images_without_objects_have_nothing_to_lose() -> None:
    found = check_outlines(IMAGES, 255 - IMAGES, np.zeros_like(MASKS))
    assert (found.objects, LabelCheck(found).problem) == (0, "")


def test_outlines_are_drawn() -> None:
    shown = outlined(IMAGES[0], MASKS[0])
    changed = (shown != IMAGES[0]).any(-1)
    assert 0 < changed.sum() < 0.1 * changed.size
    assert (shown[changed] == (0, 255, 0)).all()


class MeanBrightness:
    """A task whose network knows the brightness of each label, and scores the share that it tells right."""

    name = "brightness"

    def train(self, images: np.ndarray, labels: Sequence[int], seed: int) -> dict[int, float]:
        del seed
        return {label: float(images[np.array(labels) == label].mean()) for label in set(labels)}

    def score(self, model: dict[int, float], images: np.ndarray, labels: Sequence[int]) -> Scores:
        found = [min(model, key=lambda label: abs(model[label] - image.mean())) for image in images]
        return Scores("accuracy", {"accuracy": float(np.mean(np.array(found) == labels))})


def test_a_task_is_learned_from_translated_images() -> None:
    labels = [0, 1, 2] * 6
    images = np.stack([np.full((4, 4, 3), 60 * label + 40, np.uint8) for label in labels])
    network: Any = MeanBrightness()
    found = check_task(network, images, 255 - images, labels, seed=0)
    assert (found.renders, found.translated, found.share) == (1.0, 1.0, 1.0)
    assert found.across < 1
    lost = check_task(network, images, np.full_like(images, 90), labels, seed=0)
    outlines = check_outlines(IMAGES, IMAGES, MASKS)
    assert LabelCheck(outlines, found).problem == ""
    assert LabelCheck(outlines, lost).problem == (
        "the brightness trained on translated renders keeps 33% of its accuracy on renders; at least 75% are needed"
    )


def test_scores_too_low_to_tell_decide_nothing() -> None:
    outlines = check_outlines(IMAGES, IMAGES, MASKS)
    assert LabelCheck(outlines, TaskCheck("detection", "AP", 0.05, 0.0, 0.0)).problem == ""
    assert LabelCheck(outlines, TaskCheck("counting", "MAE", 1.0, 4.0, 4.0, errors=True)).problem != ""
    assert LabelCheck(outlines, TaskCheck("counting", "MAE", 1.0, 1.1, 4.0, errors=True)).problem == ""
