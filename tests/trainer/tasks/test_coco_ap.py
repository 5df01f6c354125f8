"""COCO's average precision against pycocotools and against numbers worked out by hand."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from trainer.errors import InputError
from trainer.tasks.boxes import ImageBoxes, ObjectBox
from trainer.tasks.coco_ap import AP, AP50, AP75, CocoResults


def random_case(seed: int, classes: int = 3) -> tuple[list[ImageBoxes], list[ImageBoxes]]:
    """Labels and detections of images: crowds, empty images, equal scores, and a class that no image shows."""
    rng = np.random.default_rng(seed)
    labels, found = [], []
    for image in range(int(rng.integers(4, 12))):
        objects: list[ObjectBox] = []
        for _ in range(0 if image % 4 == 1 else int(rng.integers(1, 9))):
            x, y, width, height = rng.uniform(0, 60, 2).tolist() + rng.uniform(4, 40, 2).tolist()
            crowd = bool(rng.random() < 0.15)
            objects.append(ObjectBox(int(rng.integers(classes - 1)), (x, y, x + width, y + height), crowd))
        guesses: list[ObjectBox] = []
        for item in objects * 2:
            if rng.random() < 0.7:
                box = np.array(item.box) + rng.normal(0, 3, 4)
                box[2:] = np.maximum(box[2:], box[:2] + 1)
                index = item.class_index if rng.random() < 0.8 else int(rng.integers(classes))
                guesses.append(ObjectBox(index, tuple(box.tolist()), score=round(float(rng.random()), 1)))
        for _ in range(int(rng.integers(0, 4))):
            x, y, width, height = rng.uniform(0, 60, 2).tolist() + rng.uniform(4, 40, 2).tolist()
            guess = ObjectBox(int(rng.integers(classes)), (x, y, x + width, y + height), score=float(rng.random()))
            guesses.append(guess)
        labels.append(tuple(objects))
        found.append(tuple(guesses))
    return labels, found


def reference(labels: list[ImageBoxes], found: list[ImageBoxes], classes: int) -> np.ndarray:
    """pycocotools's precision [10, 101, classes]."""

    def record(image: int, item: ObjectBox) -> dict[str, object]:
        left, top, right, bottom = item.box
        return {
            "image_id": image,
            "category_id": item.class_index,
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top),
            "iscrowd": int(item.crowd),
            "score": item.score,
        }

    truth = COCO()
    truth.dataset = {
        "images": [{"id": image} for image in range(len(labels))],
        "categories": [{"id": index} for index in range(classes)],
        "annotations": [
            {"id": number, **each}
            for number, each in enumerate((record(i, item) for i, items in enumerate(labels) for item in items), 1)
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        detections = truth.loadRes([record(i, item) for i, items in enumerate(found) for item in items])
        evaluation = COCOeval(truth, detections, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision: np.ndarray = evaluation.eval["precision"][:, :, :, 0, -1]
    return precision


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_pycocotools(seed: int) -> None:
    labels, found = random_case(seed)
    classes = ("a", "b", "c")
    scores = CocoResults(classes, tuple(labels), tuple(found)).scores()
    precision = reference(labels, found, 3)

    def mean(part: np.ndarray) -> float:
        return float(part[part > -1].mean())

    expected = {AP: mean(precision), AP50: mean(precision[0]), AP75: mean(precision[5])}
    expected |= {f"AP {name}": mean(precision[:, :, index]) for index, name in enumerate(classes[:2])}
    assert "AP c" not in scores.values, "no image shows the class"
    assert scores.primary == AP
    assert dict(scores.values) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_a_bootstrap_sample_is_scored_as_copies_of_its_images(seed: int) -> None:
    labels, found = random_case(seed)
    chosen = np.random.default_rng(seed).integers(0, len(labels), len(labels))
    sample = CocoResults(("a", "b", "c"), tuple(labels), tuple(found)).scores(chosen)
    precision = reference([labels[i] for i in chosen], [found[i] for i in chosen], 3)
    assert sample.value == pytest.approx(float(precision[precision > -1].mean()), abs=1e-6)


def square(left: float, score: float | None = None, class_index: int = 0, crowd: bool = False) -> ObjectBox:
    return ObjectBox(class_index, (left, 0, left + 10, 10), crowd, score)


def test_one_of_two_objects_found_is_half_the_recalls() -> None:
    results = CocoResults(("a",), ((square(0), square(50)),), ((square(0, 0.9),),))
    # Recalls 0, .01 ... .50 of 101 are reached.
    assert results.scores().values == pytest.approx({AP: 51 / 101, AP50: 51 / 101, AP75: 51 / 101})


def test_the_threshold_decides() -> None:
    # 10 x 10 px moved by 2: IoU 80 / 120 = .67 counts at .50, .55, .60 and .65.
    results = CocoResults(("a",), ((square(0),),), ((square(2, 0.9),),))
    assert results.scores().values == pytest.approx({AP: 0.4, AP50: 1, AP75: 0})


def test_detections_in_a_crowd_of_any_class_are_ignored() -> None:
    labels = (square(0), square(0, class_index=1), ObjectBox(-1, (100, 0, 200, 100), crowd=True))
    guesses = (
        ObjectBox(0, (120, 20, 140, 40), score=0.99),
        ObjectBox(1, (150, 20, 170, 40), score=0.99),
        square(0, 0.5),
        square(0, 0.5, 1),
    )
    assert CocoResults(("a", "b"), (labels,), (guesses,)).scores().value == pytest.approx(1)
    false = (*guesses, ObjectBox(0, (300, 0, 310, 10), score=0.99))
    assert CocoResults(("a", "b"), (labels,), (false,)).scores().value == pytest.approx(0.75)


def test_without_detections_the_score_is_zero() -> None:
    assert CocoResults(("a", "b"), ((square(0),), ()), ((), ())).scores().values == {AP: 0, AP50: 0, AP75: 0, "AP a": 0}


def test_without_objects_there_is_no_score() -> None:
    with pytest.raises(InputError, match=r"^the 2 images to score on show no a or b$"):
        CocoResults(("a", "b"), ((), ()), ((), (square(0, 0.5),))).scores()
