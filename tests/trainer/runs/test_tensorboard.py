"""TensorBoard events are read back with TensorBoard's own reader."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainer.metrics.attributes import AttributeStatistics, summarise
from trainer.runs.tensorboard import EventLog


def yaw(*values: float) -> AttributeStatistics:
    return summarise("digit", "yaw", "deg", True, values)


def metrics(epoch: int, mmd: float) -> dict[str, object]:
    return {"epoch": epoch, "mmd": mmd, "gradient_norms": {"digit.yaw": 0.25}, "workers": 2}


@pytest.fixture
def events(tmp_path: Path) -> EventAccumulator:
    with EventLog(tmp_path) as log:
        log.epoch(metrics(1, 0.5), [yaw(80, 90, 100)], Image.new("RGB", (48, 16)))
        log.epoch(metrics(2, 0.125), [yaw(88, 90, 92)])
    accumulator = EventAccumulator(str(tmp_path), size_guidance={"histograms": 0})
    accumulator.Reload()
    return accumulator


def test_every_number_of_the_metrics_is_a_scalar_at_its_epoch(events: EventAccumulator) -> None:
    assert [(event.step, event.value) for event in events.Scalars("training/mmd")] == [(1, 0.5), (2, 0.125)]
    assert [event.value for event in events.Scalars("gradient_norms/digit.yaw")] == [0.25, 0.25]
    assert [event.value for event in events.Scalars("training/workers")] == [2, 2]
    assert "training/epoch" not in events.Tags()["scalars"]


def test_attributes_become_histograms_with_mean_and_spread(events: EventAccumulator) -> None:
    first, second = events.Histograms("attributes/digit.yaw")
    assert (first.step, first.histogram_value.num, first.histogram_value.min, first.histogram_value.max) == (
        1,
        3,
        80,
        100,
    )
    assert second.histogram_value.sum == pytest.approx(270)
    assert [event.value for event in events.Scalars("mean/digit.yaw")] == pytest.approx([90, 90])
    assert events.Scalars("std/digit.yaw")[0].value == pytest.approx(np.std([80, 90, 100]))


def test_the_sheet_is_kept_in_its_size_and_may_be_missing(events: EventAccumulator) -> None:
    (image,) = events.Images("samples")
    assert (image.step, image.width, image.height) == (1, 48, 16)
