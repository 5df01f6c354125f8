"""Figures as text."""

import math

import pytest

from trainer.runs.formatting import count, plus_minus, score, short, signed_percent, with_unit


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1.0, "1"),
        (-89.73, "−89.7"),
        (0.01234, "0.012"),
        (1234.6, "1235"),
        (123456, "1.2e5"),
        (-0.00001, "−1e−5"),
        (math.nan, "–"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    ("mean", "spread", "text"),
    [(89.731, 9.46, "89.7 ± 9.5"), (-16.04, 0.31, "−16.04 ± 0.31"), (-0.04, 10.4, "0.0 ± 10.4"), (5, 0, "5 ± 0")],
)
def test_means_are_as_precise_as_their_spread(mean: float, spread: float, text: str) -> None:
    assert plus_minus(mean, spread) == text


def test_scores_between_0_and_1_are_in_percent() -> None:
    assert (score(0.9934), score(12.3)) == ("99.3\N{NO-BREAK SPACE}%", "12.3")


def test_units_follow_numbers_as_they_are_written() -> None:
    assert [with_unit(1.5, unit) for unit in ("deg", "px", "1")] == ["1.5°", "1.5 px", "1.5"]
    assert signed_percent(-0.2) == "−20 %"
    assert (count(1, "epoch"), count(2000, "epoch")) == ("1 epoch", "2,000 epochs")
