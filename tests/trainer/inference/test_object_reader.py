"""The estimator of kinds that repeat, untrained."""

import numpy as np
import pytest
import torch

from trainer.inference.object_reader import ObjectReader
from trainer.inference.objects import Detections, objects_of
from trainer.inference.variables import Factor, Number, Variables

YAW = Number("yaw", "deg", -180.0, 180.0, True, 0.0, 10.0)
SIZE = Number("size", "px", 1.0, 9.0, False, 5.0, 1.0)
CAR = Variables("car", (YAW, SIZE), (Factor("class", ("van", "bus"), False, (0.5, 0.5)),))
TREE = Variables("tree", (SIZE,), ())


@pytest.fixture(scope="module")
def reader() -> ObjectReader:
    torch.set_num_threads(1)
    return ObjectReader([CAR, TREE], (40, 64), torch.Generator().manual_seed(0))


def test_a_box_is_read_alike_alone_and_among_others(reader: ObjectReader):
    images = torch.rand(3, 3, 40, 64, generator=torch.Generator().manual_seed(1))
    at = torch.tensor([0, 0, 2])
    boxes = torch.tensor([[2.0, 3, 22, 15], [30, 10, 40, 30], [50, 0, 70, 20]])
    with torch.no_grad():
        features = reader.detector.features(images)
        together = reader._read(images, features, at, boxes)
        alone = [reader._read(images, features, at[i : i + 1], boxes[i : i + 1]) for i in range(3)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_images_without_a_detection_have_features_and_no_readings(reader: ObjectReader):
    dark = np.zeros((2, 40, 64, 3), dtype=np.uint8)
    detections, posteriors = reader.read(dark)
    assert len(detections.images) == 0
    assert [len(posterior.means) for posterior in posteriors] == [0, 0]
    assert reader(torch.zeros(2, 3, 40, 64)).isfinite().all()
    reader.calibrate(dark, objects_of([CAR, TREE], [], []))
    assert torch.equal(reader.log_scales, torch.zeros(2, 2))


def test_calibrated_scores_are_the_precision_of_their_kind(reader: ObjectReader):
    detections = Detections(np.zeros(2, int), np.array([0, 1]), np.zeros((2, 4), np.float32), np.array([0.5, 0.5]))
    before = reader.precision.clone()
    reader.precision.copy_(torch.tensor([[1.0, 1.0], [-2.0, 0.5]]))
    assert reader.true(detections) == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(2))])
    reader.precision.copy_(before)


def test_detections_count_as_much_as_they_are_likely_to_be_true(reader: ObjectReader, monkeypatch: pytest.MonkeyPatch):
    images, kinds = np.array([0, 0, 0, 2]), np.array([0, 0, 1, 1])
    found = Detections(images, kinds, np.zeros((4, 4), np.float32), np.array([0.9, 0.5, 0.6, 0.7]))
    monkeypatch.setattr(reader, "read", lambda _: (found, []))
    counts = reader.counts(np.zeros((3, 40, 64, 3), dtype=np.uint8))
    assert counts == pytest.approx(np.array([[1.4, 0.6], [0, 0], [0, 0.7]]), abs=1e-6)
