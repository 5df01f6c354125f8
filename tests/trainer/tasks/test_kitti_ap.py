"""KITTI's average precision: cases counted by hand, and a slow second implementation on random scenes."""

import math

import numpy as np
import pytest

from trainer.datasets.kitti_labels import KittiObject
from trainer.tasks.kitti_ap import (
    DIFFICULTIES,
    EASY,
    HARD,
    MODERATE,
    KittiMatches,
    average_precision,
    recall_thresholds,
)


def thing(left, top=0.0, size=50.0, kind="Car", score=None, truncated=0.0, occluded=0, width=None):
    box = (left, top, left + (width or size), top + size)
    return KittiObject(kind, truncated, occluded, 0.0, box, score=score)


def ap(truth, found, difficulty=MODERATE, **options):
    return average_precision([truth], [found], "Car", difficulty, **options)


def test_all_found():
    for count in (41, 100):
        truth = [thing(100 * i) for i in range(count)]
        result = ap(truth, [thing(100 * i, score=0.5 + i / 1000) for i in range(count)])
        assert (result.points_11, result.points_40, result.objects) == (1.0, 1.0, count)


def test_few_objects_cannot_reach_1():
    """As in the development kit: an object found stands for one recall, the first of which is 0."""
    result = ap([thing(100 * i) for i in range(5)], [thing(100 * i, score=0.5) for i in range(5)])
    np.testing.assert_array_equal(result.precision, [1.0] * 5 + [0.0] * 36)
    assert result.points_40 == 4 / 40
    assert result.points_11 == 2 / 11


def test_half_found_half_of_the_recalls():
    """20 of 40 objects without a wrong detection: precision 1 at the recalls 1/40 to 20/40, and none above."""
    truth = [thing(100 * i) for i in range(40)]
    result = ap(truth, [thing(100 * i, score=0.9 - i / 100) for i in range(20)])
    # The thresholds are those of the 1st to the 20th detection, standing at the recalls 0 to 19/40.
    np.testing.assert_array_equal(result.precision, [1.0] * 20 + [0.0] * 21)
    assert result.points_40 == 19 / 40
    assert result.points_11 == 5 / 11


def test_wrong_detections_lower_the_precision():
    """One object, found; a surer detection of nothing: precision 1/2 at the one threshold."""
    result = ap([thing(0)], [thing(0, score=0.5), thing(500, score=0.9)])
    assert result.precision[0] == 0.5
    # A less sure one lies below the only threshold.
    assert ap([thing(0)], [thing(0, score=0.5), thing(500, score=0.1)]).precision[0] == 1


def test_the_second_detection_of_an_object_is_wrong():
    truth = [thing(0)]
    found = [thing(0, score=0.5), thing(2, score=0.9)]
    # The threshold is the surer one's score, which alone is above it.
    assert ap(truth, found).precision[0] == 1
    # Two objects: the second threshold is 0.4, above which lie two right ones and the duplicate.
    assert ap([thing(0), thing(500)], [*found, thing(500, score=0.4)]).precision[1] == 2 / 3


def test_neighbours_are_ignored():
    truth = [thing(0), thing(200, kind="Van"), thing(400, kind="Truck")]
    found = [thing(0, score=0.5), thing(200, score=0.9), thing(400, score=0.9)]
    result = ap(truth, found)
    assert (result.precision[0], result.objects) == (1 / 2, 1)


def test_dont_care_excuses_by_the_area_of_the_detection():
    region = thing(200, size=500, kind="DontCare")
    found = [thing(0, score=0.5), thing(300, 100, score=0.9)]
    assert ap([thing(0)], found).precision[0] == 0.5
    # The intersection over union is 0.01, over the detection's area it is 1.
    assert ap([thing(0), region], found).precision[0] == 1
    # Half of it lies inside: not more than half.
    assert ap([thing(0), region], [found[0], thing(175, 100, score=0.9)]).precision[0] == 0.5


@pytest.mark.parametrize(
    ("item", "asked"),
    [
        (thing(0, size=40), (1, 1, 1)),
        (thing(0, size=39.5), (0, 1, 1)),
        (thing(0, size=25), (0, 1, 1)),
        (thing(0, size=24.5), (0, 0, 0)),
        (thing(0, occluded=1), (0, 1, 1)),
        (thing(0, occluded=2), (0, 0, 1)),
        (thing(0, occluded=3), (0, 0, 0)),
        (thing(0, truncated=0.15), (1, 1, 1)),
        (thing(0, truncated=0.2), (0, 1, 1)),
        (thing(0, truncated=0.4), (0, 0, 1)),
        (thing(0, truncated=0.6), (0, 0, 0)),
    ],
)
def test_who_is_asked_for(item, asked):
    results = [ap([item, thing(500)], [], difficulty) for difficulty in DIFFICULTIES]
    assert tuple(result.objects - 1 for result in results) == asked


def test_ignored_objects_may_be_found_or_missed():
    truth = [thing(0), thing(200, occluded=2)]
    sure = thing(0, score=0.5)
    for found in ([sure], [sure, thing(200, score=0.9)]):
        result = ap(truth, found)
        assert (result.precision[0], result.objects) == (1, 1)
    # Found for real, where it is asked for.
    assert ap(truth, [sure, thing(200, score=0.9)], HARD).precision[1] == 1


def test_low_detections_are_ignored():
    truth = [thing(0)]
    assert ap(truth, [thing(0, score=0.5), thing(300, size=24.9, score=0.9)]).precision[0] == 1
    # Heights of detections are rounded down: 25.9 is 25, 39.9 is below 40.
    assert ap(truth, [thing(0, score=0.5), thing(300, size=25.9, score=0.9)]).precision[0] == 0.5
    assert ap(truth, [thing(0, score=0.5), thing(300, size=39.9, score=0.9)], EASY).precision[0] == 1


def test_smaller_images_ask_for_smaller_objects():
    truth = [thing(0, size=20)]
    assert ap(truth, [], EASY).objects == 0
    assert ap(truth, [], EASY, scale=0.5).objects == 1
    assert ap(truth, [thing(0, size=20, score=1)], EASY, scale=0.5).precision[0] == 1


def test_the_overlap_must_be_larger_than_asked():
    truth = [thing(0, size=60)]
    # Shifted by a third of its width: 2/3 over 4/3.
    assert ap(truth, [thing(20, size=60, score=1)]).precision[0] == 0
    assert ap(truth, [thing(19, size=60, score=1)]).precision[0] == 1
    assert ap(truth, [thing(19, size=60, score=1)], iou=0.7).precision[0] == 0


def test_no_objects_no_number():
    result = ap([], [thing(0, score=1)])
    assert math.isnan(result.points_11)
    assert math.isnan(result.points_40)
    assert result.objects == 0


def test_thresholds_are_spread_over_the_recalls():
    # 80 objects, all found: every second score, from the surest to the least sure.
    scores = np.arange(80) / 80
    thresholds = recall_thresholds(scores, 80)
    assert len(thresholds) == 41
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] == scores[-1]
    assert thresholds[-1] == scores[0]
    assert recall_thresholds(np.array([]), 3) == []


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="labels of 1 images and detections in 2; the two must be alike"):
        average_precision([[]], [[], []], "Car", EASY)
    with pytest.raises(ValueError, match="a detection without a score"):
        ap([thing(0)], [thing(0)])


def slow_average_precision(truth, found, kind, difficulty, iou):
    """The same from the rules, one box after the other; nothing shared with the implementation."""

    def inter(a, b):
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        return width * height if width > 0 and height > 0 else 0.0

    def area(a):
        return (a[2] - a[0]) * (a[3] - a[1])

    def union(a, b):
        return area(a) + area(b) - inter(a, b)

    neighbour = {"Car": "Van", "Pedestrian": "Person_sitting"}.get(kind)

    def status(o):
        if o.type == kind:
            bad = o.occluded > difficulty.max_occlusion or o.truncated > difficulty.max_truncation
            return "ignored" if bad or o.box[3] - o.box[1] < difficulty.min_height_px else "valid"
        return "ignored" if o.type == neighbour else "other"

    def detection_status(d):
        if int(d.box[3] - d.box[1]) < difficulty.min_height_px:
            return "ignored"
        return "valid" if d.type == kind else "other"

    def below(d, threshold):
        return threshold is not None and d.score < threshold

    def run(threshold):
        right, wrong, scores = 0, 0, []
        for objects, detections in zip(truth, found, strict=True):
            used = set()
            for o in objects:
                if status(o) == "other":
                    continue
                best = None
                for index, d in enumerate(detections):
                    if (
                        index in used
                        or detection_status(d) == "other"
                        or (threshold is not None and d.score < threshold)
                    ):
                        continue
                    share = inter(d.box, o.box) / union(d.box, o.box)
                    if share <= iou:
                        continue
                    matched = (1, share) if detection_status(d) == "valid" else (0, 0)
                    key = (d.score,) if threshold is None else matched
                    if best is None or key > best[0]:
                        best = (key, index)
                if best is None:
                    continue
                used.add(best[1])
                if status(o) == "valid" and detection_status(detections[best[1]]) == "valid":
                    right += 1
                    scores.append(detections[best[1]].score)
            for index, d in enumerate(detections):
                if index in used or detection_status(d) != "valid" or below(d, threshold):
                    continue
                regions = [o for o in objects if o.type == "DontCare"]
                if not any(inter(d.box, o.box) / area(d.box) > iou for o in regions):
                    wrong += 1
        return right, wrong, scores

    asked = sum(status(o) == "valid" for objects in truth for o in objects)
    scores = sorted(run(None)[2], reverse=True)
    precision, wanted = [], 0.0
    for index, score in enumerate(scores):
        here = (index + 1) / asked
        following = (index + 2) / asked if index + 1 < len(scores) else here
        if following - wanted < wanted - here and index + 1 < len(scores):
            continue
        right, wrong, _ = run(score)
        precision.append(right / (right + wrong))
        wanted += 1 / 40
    precision += [0.0] * (41 - len(precision))
    smooth = [max(precision[index:]) for index in range(41)]
    return sum(smooth[::4]) / 11, sum(smooth[1:]) / 40


@pytest.mark.parametrize("seed", range(6))
def test_a_slow_second_implementation_agrees(seed):
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(16):
        objects = [
            thing(
                rng.uniform(0, 400),
                rng.uniform(0, 60),
                rng.uniform(15, 80),
                rng.choice(["Car", "Car", "Car", "Van", "Truck", "DontCare"]),
                truncated=rng.choice([0, 0, 0.2, 0.4]),
                occluded=int(rng.choice([0, 0, 1, 2, 3])),
                width=rng.uniform(20, 90),
            )
            for _ in range(rng.integers(0, 9))
        ]
        detections = []
        for o in objects:
            for _ in range(rng.integers(0, 3)):
                left, top, right, bottom = np.add(o.box, rng.normal(0, 5, 4))
                box = (left, top, max(right, left + 5), max(bottom, top + 5))
                kind = rng.choice(["Car", "Car", "Car", "Pedestrian"])
                detections.append(KittiObject(kind, -1, -1, -10, box, score=round(float(rng.uniform()), 2)))
        detections += [thing(rng.uniform(0, 400), score=float(rng.uniform())) for _ in range(rng.integers(0, 4))]
        truth.append(objects)
        found.append(detections)
    for difficulty in DIFFICULTIES:
        for iou in (0.5, 0.7):
            mine = average_precision(truth, found, "Car", difficulty, iou)
            slow = slow_average_precision(truth, found, "Car", difficulty, iou)
            assert (mine.points_11, mine.points_40) == pytest.approx(slow, abs=1e-12)
    assert 0 < mine.points_40 < 1


def test_a_bootstrap_sample_is_scored_as_copies_of_its_images() -> None:
    rng = np.random.default_rng(3)
    truth, found = [], []
    for _ in range(20):
        boxes = [(x, y, x + 60, y + 50) for x, y in rng.uniform(0, 300, (int(rng.integers(0, 5)), 2)).tolist()]
        truth.append([KittiObject(str(rng.choice(["Car", "Van"])), 0, 0, 0, box) for box in boxes])
        moved = [tuple((np.array(box) + rng.normal(0, 8, 4)).tolist()) for box in boxes * 2]
        found.append([KittiObject("Car", -1, -1, -10, box, score=round(float(rng.random()), 2)) for box in moved])
    matches = KittiMatches(truth, found, "Car", MODERATE)
    for _ in range(5):
        chosen = rng.integers(0, 20, 20)
        expected = average_precision([truth[i] for i in chosen], [found[i] for i in chosen], "Car", MODERATE)
        sample = matches.average_precision(chosen)
        assert (sample.points_40, sample.points_11, sample.objects) == (
            expected.points_40,
            expected.points_11,
            expected.objects,
        )
