"""Mean numbers of objects: those of models, and those of photographs with an interval."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.cli.evaluate import _counts
from trainer.metrics.prediction_powered import FEWEST, prediction_powered_mean
from trainer.progress import Silent
from trainer.runs.evaluation_data import DataSets, TargetImages
from trainer.runs.report.evaluation_tables import count_tables
from trainer.runs.task_scores import Measurement
from trainer.tasks import CountsObjects
from trainer.tasks.boxes import ObjectBox
from trainer.tasks.cells import CellSettings
from trainer.tasks.coco_rules import CocoRules
from trainer.tasks.counting import Counting
from trainer.tasks.detection import ObjectDetection
from trainer.tasks.kitti_rules import KittiRules


class BrightPixels:
    """Counts pixels above a level, and misses every third; labels are the true numbers."""

    name = "bright"
    count_classes = ("dot",)

    def counts(self, model: Any, images: np.ndarray) -> np.ndarray:
        del model
        return (images[..., 0] > 128).sum((1, 2))[:, None] * 2 / 3

    def label_counts(self, labels: Sequence[Any]) -> np.ndarray:
        return np.array(labels, dtype=np.float64)[:, None]


def dots(count: int, seed: int) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(seed)
    numbers = rng.poisson(4, count)
    images = np.zeros((count, 8, 8, 3), np.uint8)
    for image, number in zip(images, numbers, strict=True):
        image.reshape(64, 3)[rng.permutation(64)[:number]] = 255
    return images, numbers.tolist()


def measurement(test: int, unlabelled: np.ndarray | None) -> Measurement:
    data = DataSets(None, None, BrightPixels(), 0, Silent())  # type: ignore[arg-type]
    images, labels = dots(test, 1)
    return Measurement(data, TargetImages(images, labels), 0, 1, unlabelled=unlabelled)


def test_a_reader_that_misses_objects_is_corrected() -> None:
    unlabelled, true = dots(400, 2)
    found = measurement(40, unlabelled)._counted(None, unlabelled)["dot"]
    assert found["low"] < np.mean(true) < found["high"]
    assert (found["labelled"], found["unlabelled"]) == (40, 400)
    # The 400 photographs narrow the interval of the 40 labels alone.
    labels = np.array(dots(40, 1)[1])
    alone = 2 * 1.96 * labels.std(ddof=1) / 40**0.5
    assert found["high"] - found["low"] < 0.6 * alone


def test_few_labels_give_no_interval() -> None:
    unlabelled, _ = dots(30, 2)
    assert measurement(FEWEST - 1, unlabelled)._counted(None, unlabelled) == {}


def test_detectors_and_counters_count() -> None:
    detection = ObjectDetection(CocoRules(("coin", "key")))
    assert isinstance(detection, CountsObjects)
    boxes = (ObjectBox(0, (0, 0, 9, 9)), ObjectBox(1, (0, 0, 9, 9)), ObjectBox(-1, (0, 0, 9, 9), crowd=True))
    found = (ObjectBox(1, (0, 0, 9, 9), score=0.9), ObjectBox(1, (0, 0, 9, 9), score=0.1))
    assert detection.label_counts([boxes, found, ()]).tolist() == [[1, 1], [0, 1], [0, 0]]
    assert ObjectDetection(KittiRules()).label_counts([(), ()]).tolist() == [[0], [0]]
    assert isinstance(Counting(CellSettings(("coin",))), CountsObjects)


def test_the_table_has_models_and_photographs() -> None:
    estimate = prediction_powered_mean(np.arange(20) % 5, np.arange(20) % 5, np.arange(100) % 5)
    photographs = {"mean": estimate.mean, "low": 1.5, "high": 2.5, "labelled": 20, "unlabelled": 100}
    evaluation = {"counts": {"coin": {"prior": 4.0, "learned": 2.1, "photographs": photographs}}}
    (table,) = count_tables(evaluation)
    assert table.rows == [["coin", "4.00", "2.10", "2.00 (1.50 to 2.50)"]]
    assert "20 labelled test images" in table.note
    assert "2.00 (1.50 to 2.50)" in _counts(evaluation)[0]
    assert count_tables({}) == _counts({}) == []
    without = {"counts": {"coin": {"prior": 4.0, "learned": 2.1}}}
    assert count_tables(without)[0].rows == [["coin", "4.00", "2.10"]]
    assert "photographs" not in _counts(without)[0]
