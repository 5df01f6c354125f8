"""Notes are written where they apply, and only there."""

from typing import Any

import numpy as np
import pytest

from trainer.metrics.attributes import AttributeStatistics
from trainer.metrics.kid import BLOCK
from trainer.runs.histories import AttributeHistory
from trainer.runs.notes import notes

KNOWN: dict[str, Any] = {"monitor_images": 2 * BLOCK, "target_images": 2 * BLOCK}


def record(epoch: int, **figures: Any) -> dict[str, Any]:
    return {"epoch": epoch, "stage": "mmd", "mmd": 0.1, "kid": 0.1, "kid_standard_error": 0.02, **figures}


def piled(fraction_at_end: float) -> AttributeStatistics:
    count = round(200 * fraction_at_end)
    values = np.concatenate([np.full(count, 0.5), np.linspace(0.1, 0.4, 200 - count)])
    return AttributeStatistics("card", "z", "m", False, 0.3, 0.1, tuple(values), (0.1 - 0.2, 0.5))


def history(learned: float, prior: float = 0.0) -> AttributeHistory:
    return AttributeHistory(prior=piled(prior), learned={1: piled(0.0), 2: piled(learned)})


def test_an_attribute_that_piles_up_at_the_end_of_its_range_is_noted() -> None:
    assert notes(KNOWN, [], [history(0.3)]) == [
        "card.z: 30% of the learned values lie at the end of its range, 0.5 m. Widen the range if the target can lie "
        "beyond it."
    ]


@pytest.mark.parametrize(("learned", "prior"), [(0.05, 0.0), (0.3, 0.2)])
def test_few_values_at_the_end_or_those_of_the_prior_are_not_noted(learned: float, prior: float) -> None:
    assert notes(KNOWN, [], [history(learned, prior)]) == []


def test_an_angle_without_ends_does_not_pile_up() -> None:
    item = AttributeStatistics("card", "yaw", "deg", True, 0.0, 0.0, (180.0,) * 50, None)
    assert notes(KNOWN, [], [AttributeHistory(learned={1: item})]) == []


def test_objects_that_are_not_visible_are_noted_from_a_tenth_on() -> None:
    hidden = [record(1, out_of_sight={"cup": 0.09, "plate": 0.1, "road": 0.3}, out_of_sight_prior={"road": 0.3})]
    assert [note.split(":")[0] for note in notes(KNOWN, hidden, [])] == ["10% of plate are not visible"]


def test_the_prior_stands_beside_what_is_not_visible() -> None:
    records = [
        record(1, out_of_sight={"cup": 0.0}, out_of_sight_prior={"cup": 0.02}),
        record(2, out_of_sight={"cup": 0.5}),
    ]
    (note,) = notes(KNOWN, records, [])
    assert note.startswith("50% of cup are not visible (prior: 2%):")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"mmd_prior": 0.5, "mmd": 0.1}, {"mmd": 0.2}, "In the last epoch MMD² got worse: 0.2 after 0.1."),
        ({"kid": 0.1}, {"kid": 0.2}, "In the last epoch KID got worse: 0.2 after 0.1."),
        ({"score": 0.9}, {"score": 0.8}, "In the last epoch the score got worse: 80.0\N{NO-BREAK SPACE}% after"),
    ],
)
def test_a_figure_that_got_worse_in_the_last_epoch_is_noted(
    before: dict[str, Any], after: dict[str, Any], expected: str
) -> None:
    (note,) = notes(KNOWN, [record(1, **before), record(2, **after)], [])
    assert note.startswith(expected)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"mmd_prior": 0.5, "mmd": 0.1}, {"mmd": 0.11}),
        ({"mmd_prior": 0.01, "mmd": 0.0}, {"mmd": 0.015}),
        ({"kid": 0.1}, {"kid": 0.13}),
        ({"score": 0.8}, {"score": 0.9}),
        ({"stage": "cars", "kid": 0.1}, {"stage": "camera", "kid": 0.9}),
    ],
)
def test_noise_improvement_and_another_stage_are_not_noted(before: dict[str, Any], after: dict[str, Any]) -> None:
    floor = {"mmd_floor": {"mean": 0.0, "upper": 0.02}}
    assert notes({**KNOWN, **floor}, [record(1, **before), record(2, **after)], []) == []


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ({"monitor_images": 64, "target_images": 500}, "training.monitor_images is 64, and KID needs 128"),
        ({"monitor_images": 256, "target_images": 60}, "the target has 60 images, and KID needs 128"),
    ],
)
def test_the_setting_that_prevents_kid_is_named(summary: dict[str, Any], expected: str) -> None:
    (note,) = notes(summary, [{"epoch": 1, "mmd": 0.1}], [])
    assert expected in note
