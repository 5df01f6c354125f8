"""What renders show of nodes that may repeat, and which detections show them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trainer.inference.objects import Detections, Objects, matched, objects_of, overlap, precision_of
from trainer.inference.variables import Number, Variables

COIN = Variables("coin", (Number("x", "px", -10.0, 10.0, False, 0.0, 1.0),), ())


def objects(boxes: list[list[float]], images: list[int], kinds: list[int]) -> Objects:
    n = len(boxes)
    return Objects(
        np.array(images),
        np.array(kinds),
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.ones(n, dtype=bool),
        np.arange(n, dtype=float)[:, None],
        np.zeros((n, 0), dtype=np.int64),
    )


def detections(boxes: list[list[float]], images: list[int], kinds: list[int]) -> Detections:
    shaped = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return Detections(np.array(images), np.array(kinds), shaped, np.full(len(boxes), 0.9))


def test_overlap_of_boxes_is_area_shared_over_area_covered():
    a, b = np.array([[0.0, 0, 4, 4]]), np.array([[2.0, 0, 6, 4], [0, 0, 4, 4], [8, 8, 9, 9]])
    assert overlap(a, b)[0] == pytest.approx([8 / 24, 1.0, 0.0])


def test_a_second_detection_of_an_object_is_false():
    truth = objects([[0, 0, 10, 10], [20, 0, 30, 10]], [0, 0], [0, 0])
    found = detections([[1, 0, 11, 10], [0, 0, 10, 10], [21, 1, 31, 11], [50, 50, 60, 60]], [0] * 4, [0] * 4)
    assert matched(found, truth).tolist() == [-1, 0, 1, -1]


def test_pairs_have_the_largest_total_overlap_not_the_first_best_one():
    truth = objects([[0, 0, 10, 10], [4, 0, 14, 10]], [0, 0], [0, 0])
    found = detections([[2, 0, 12, 10], [-2, 0, 8, 10]], [0, 0], [0, 0])
    assert matched(found, truth).tolist() == [1, 0]


def test_detections_match_objects_of_their_own_image_and_kind_alone():
    truth = objects([[0, 0, 10, 10]] * 3, [0, 1, 1], [0, 0, 1])
    found = detections([[0, 0, 10, 10]] * 4, [0, 0, 1, 2], [1, 0, 1, 0])
    assert matched(found, truth).tolist() == [-1, 0, 2, -1]


def test_an_object_without_a_visible_pixel_is_missed():
    truth = objects([[0, 0, 0, 0], [0, 0, 10, 10]], [0, 0], [0, 0])
    assert matched(detections([[0, 0, 10, 10]], [0], [0]), truth).tolist() == [1]


def test_objects_have_the_boxes_of_their_masks():
    scene: Any = SimpleNamespace(
        nodes=[
            SimpleNamespace(kind=kind, values={"x": x})
            for kind, x in (("table", 0), ("coin", 3), ("coin", 4), ("coin", 5))
        ]
    )
    mask = np.zeros((32, 40), dtype=np.uint16)
    mask[2:10, 4:14] = 2
    mask[20:22, 20:22] = 3
    found = objects_of([COIN], [scene], [mask])
    assert found.boxes.tolist() == [[4, 2, 14, 10], [20, 20, 22, 22], [0, 0, 0, 0]]
    assert found.visible.tolist() == [True, False, False], "too few pixels to be learned from, or none"
    assert found.numbers[:, 0].tolist() == [3, 4, 5]


def test_objects_of_some_images_are_numbered_by_these():
    every = Objects.joined([objects([[0, 0, 1, 1]] * 3, [0, 0, 2], [0] * 3), objects([[0, 0, 1, 1]], [1], [0])], [3, 2])
    assert every.images.tolist() == [0, 0, 2, 4]
    some = every.of(np.array([0, 4]))
    assert some.images.tolist() == [0, 0, 1]
    assert len(every.of(np.array([], dtype=np.int64)).images) == 0


def test_precision_recovers_the_curve_that_made_the_outcomes():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20_000)
    true = rng.random(20_000) < 1 / (1 + np.exp(-(0.7 * logits - 1)))
    assert precision_of(1 / (1 + np.exp(-logits)), true) == pytest.approx((-1.0, 0.7), abs=0.08)


def test_precision_without_detections_is_the_score():
    assert precision_of(np.zeros(0), np.zeros(0, dtype=bool)) == pytest.approx((0.0, 1.0), abs=1e-6)
