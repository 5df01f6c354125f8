"""Charts say what they are given: positions are read back from the SVG."""

import math
import re
from xml.etree import ElementTree

import pytest

from trainer.runs.report.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    WIDTH,
    Histogram,
    Level,
    Line,
    histogram_chart,
    line_chart,
    plus_minus,
    short,
    ticks,
)


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


@pytest.mark.parametrize(
    ("low", "high", "about", "expected"),
    [
        (0, 8, 4, [0, 2, 4, 6, 8]),
        (-3, 97, 5, [0, 20, 40, 60, 80]),
        (0.1, 0.13, 4, [0.1, 0.11, 0.12, 0.13]),
        (4, 5, 2, [4, 4.5, 5]),
    ],
)
def test_ticks_are_round_numbers_inside(low: float, high: float, about: int, expected: list[float]) -> None:
    assert ticks(low, high, about) == pytest.approx(expected)


def drawn(svg: str, style: str) -> list[str]:
    """The data of the paths with a class."""
    root = ElementTree.fromstring(svg)
    return [path.get("d", "") for path in root.iter("path") if style in path.get("class", "").split()]


def test_a_line_goes_from_edge_to_edge_and_leaves_out_what_is_not_finite() -> None:
    svg = line_chart("t", "epoch", [Line("a", [(1, 0), (2, math.nan), (3, 10)], "learned")])
    (path,) = drawn(svg, "line")
    points = [tuple(map(float, point)) for point in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]
    assert [x for x, _ in points] == [LEFT, WIDTH - RIGHT]
    assert points[0][1] > points[1][1]  # Greater values are higher up.


def test_a_logarithmic_axis_has_equal_distances_for_equal_factors() -> None:
    svg = line_chart("t", "epoch", [Line("a", [(1, 0.01), (2, 0.1), (3, 1), (4, -5)], "learned")], logarithmic=True)
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", drawn(svg, "line")[0])]
    assert len(heights) == 3
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)


def test_levels_and_bands_are_part_of_the_range() -> None:
    svg = line_chart("t", "epoch", [Line("a", [(1, 0)], "learned", spread=[1])], [Level("Target", 90, 10, "target")])
    assert len(drawn(svg, "band")) == 2
    for path in drawn(svg, "band"):
        assert all(0 <= float(y) <= HEIGHT - BOTTOM for y in re.findall(r"V([\d.]+)", path))


def test_the_area_of_a_histogram_is_the_same_for_any_number_of_values() -> None:
    few, many = [0.0, 1.0, 1.0, 3.0], [0.0, 1.0, 1.0, 3.0] * 25
    svg = histogram_chart("t", "x", [Histogram("a", [few], "prior"), Histogram("b", [many], "target")])
    assert drawn(svg, "prior") == drawn(svg, "target")


def test_states_of_a_distribution_are_kept_and_the_last_is_shown() -> None:
    svg = histogram_chart("t", "x", [Histogram("a", [[0.0, 1.0], [4.0, 5.0]], "learned")])
    (path,) = [item for item in ElementTree.fromstring(svg).iter("path") if item.get("data-frames")]
    frames = (path.get("data-frames") or "").split("|")
    assert len(frames) == 2
    assert path.get("d") == frames[-1]


@pytest.mark.parametrize("values", [[], [2.0], [2.0, 2.0], [math.nan]])
def test_little_data_still_makes_a_chart(values: list[float]) -> None:
    ElementTree.fromstring(histogram_chart("t", "x", [Histogram("a", [values], "prior")]))
    ElementTree.fromstring(line_chart("t & u", "epoch", [Line("a", list(enumerate(values)), "prior")]))
    ElementTree.fromstring(line_chart("t", "epoch", [Line("a", list(enumerate(values)), "prior")], logarithmic=True))
