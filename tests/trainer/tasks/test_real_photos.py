"""The detector on real photographs: coins, read from COCO, of one class."""

import numpy as np
import pytest
import torch
from support.scenes import DATA

from trainer.datasets.class_names import ClassNames
from trainer.datasets.fitting import fitted_labels
from trainer.datasets.readers import open_dataset
from trainer.tasks.boxes import ImageBoxes
from trainer.tasks.coco_ap import AP50
from trainer.tasks.coco_rules import CocoRules
from trainer.tasks.detection import DetectionSettings, ObjectDetection

COINS = DATA / "photos" / "coins"
SIDE_PX = 224
RULES = CocoRules(("coin",))


def coins(count: int, spared: int = 0) -> tuple[np.ndarray, list[ImageBoxes]]:
    """Photos of the sides' own shape in a square, and the boxes of their coins, of any denomination."""
    if not COINS.is_dir():
        pytest.skip(f"{COINS} is absent")
    dataset = open_dataset(COINS)
    names = ClassNames.of(dataset, RULES.classes, dict.fromkeys(dataset.classes, "coin"))
    images, given = fitted_labels(
        dataset, SIDE_PX, SIDE_PX, "detection", RULES.classes, count, spared=spared, rule="pad", names=names
    )
    return images, [RULES.label_photo(each) for each in given]


def test_the_boxes_of_photos_hold_coins() -> None:
    images, labels = coins(8)
    for image, boxes in zip(images, labels, strict=True):
        assert 5 < len(boxes) < 70
        for item in boxes:
            left, top, right, bottom = item.box
            assert 0 <= left < right <= SIDE_PX
            assert 0 <= top < bottom <= SIDE_PX
            # Coins are round; one at the border is cut off.
            inside = min(left, top, SIDE_PX - right, SIDE_PX - bottom) > 1
            assert not inside or 0.5 < (right - left) / (bottom - top) < 2
        assert image.shape == (SIDE_PX, SIDE_PX, 3)


def test_a_few_photos_teach_what_a_coin_is() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    network = ObjectDetection(RULES, DetectionSettings(epochs=10, batch_size=4, width=16, learning_rate=4e-3, zoom=0.3))
    try:
        model = network.train(*coins(24), seed=0)
        scores = network.score(model, *coins(12, spared=24))
    finally:
        torch.set_num_threads(threads)
    # Three seeds: 0.73 to 0.77.
    assert scores.values[AP50] > 0.5
