"""Charts show what they are given: positions are read back from the SVG."""

import math
import re
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from trainer.metrics.attributes import summarise
from trainer.runs.histories import AttributeHistory
from trainer.runs.report.charts import HEIGHT, WIDTH, Line, attribute_chart, line_chart


def parsed(svg: Markup) -> ElementTree.Element:
    return ElementTree.fromstring(str(svg).replace("<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"', 1))


def drawn(svg: Markup, variable: str, kind: str = "stroke") -> list[list[tuple[float, float]]]:
    """Return the points of the paths in the colour of a CSS variable, without its markers."""
    root = parsed(svg)
    defined = {path for definition in root.iter("defs") for path in definition.iter("path")}
    paths = [
        path
        for path in root.iter("path")
        if f"{kind}: var(--{variable})" in path.get("style", "") and path not in defined
    ]
    return [
        [(float(x), float(y)) for x, y in re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path.get("d", ""))] for path in paths
    ]


def band_of(svg: Markup, variable: str) -> list[tuple[float, float]]:
    """Return the corners of the band in the colour of a CSS variable."""
    root = parsed(svg)
    paths = {path.get("id"): path.get("d", "") for path in root.iter("path")}
    style = f"fill: var(--{variable}); fill-opacity: 0.16"
    (use,) = [use for use in root.iter("use") if use.get("style") == style]
    d, up = paths[(use.get("{http://www.w3.org/1999/xlink}href") or "#")[1:]], float(use.get("y") or 0)
    return [(float(x), float(y) + up) for x, y in re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", d)]


def test_points_that_are_not_finite_are_left_out_and_greater_values_are_higher() -> None:
    (points,) = drawn(line_chart("t", [Line("a", [(1, 0), (2, math.nan), (3, 10)], "learned")]), "learned")
    assert len(points) == 2
    assert points[0][0] < points[1][0]
    assert points[0][1] > points[1][1]


def test_a_logarithmic_axis_has_equal_distances_for_equal_factors() -> None:
    lines = [Line("a", [(1, 0.01), (2, 0.1), (3, 1), (4, -5)], "learned")]
    (points,) = drawn(line_chart("t", lines, logarithmic=True), "learned")
    heights = [y for _, y in points]
    assert len(heights) == 3
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=1e-3)


def test_bands_have_the_height_of_the_spread() -> None:
    svg = line_chart("t", [Line("a", [(1, 0), (2, 2)], "learned", spread=[1, 1])])
    (line,), band = drawn(svg, "learned"), band_of(svg, "learned")
    unit = (line[0][1] - line[1][1]) / 2
    at_first = [y for x, y in band if x == pytest.approx(line[0][0], abs=1e-3)]
    assert (max(at_first) - min(at_first)) / unit == pytest.approx(2, abs=1e-3)


def test_a_histogram_has_the_same_size_for_any_number_of_values() -> None:
    few = summarise("digit", "yaw", "px", False, [0.0, 1.0, 1.0, 3.0])
    many = summarise("digit", "yaw", "px", False, [0.0, 1.0, 1.0, 3.0] * 25)
    svg = attribute_chart(AttributeHistory(prior=few, target=many))
    assert drawn(svg, "prior", "fill") == drawn(svg, "target", "fill")
    assert drawn(svg, "prior", "fill") != []


def test_both_panels_of_an_attribute_share_the_axis() -> None:
    items = {epoch: summarise("digit", "yaw", "px", False, [float(epoch)] * 4) for epoch in (1, 2, 9)}
    first, second = drawn(attribute_chart(AttributeHistory(learned=items)), "learned")
    course, histogram = sorted((first, second), key=lambda points: points[0][0])
    last = course[-1][1]
    bar = [y for x, y in histogram if x == max(x for x, _ in histogram)]
    assert min(bar) <= last <= max(bar), "the histogram of the last epoch lies where its mean is drawn"


def test_everything_lies_inside_the_chart() -> None:
    svg = line_chart("t", [Line("a", [(1, 0), (2, 1e9)], "learned", spread=[1, 1])])
    assert parsed(svg).get("viewBox") == f"0 0 {WIDTH} {HEIGHT}"
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for points in drawn(svg, "learned") for x, y in points)


def test_colours_are_those_of_the_page() -> None:
    svg = line_chart("t", [Line("a", [(1, 0), (2, 1)], "learned"), Line("b", [(1, 1)], "prior", reference=True)])
    assert re.findall(r"#[0-9a-f]{6}\b", svg) == []
    assert "var(--soft)" in svg


def test_the_same_values_give_the_same_bytes() -> None:
    lines = [Line("a", [(1, 0), (2, 1)], "learned")]
    assert line_chart("t", lines) == line_chart("t", lines)


@pytest.mark.parametrize("values", [[], [2.0], [2.0, 2.0], [math.nan]])
def test_little_data_still_makes_a_chart(values: list[float]) -> None:
    line = Line("a", list(enumerate(values)), "prior")
    parsed(line_chart("t & u", [line]))
    parsed(line_chart("t", [line], logarithmic=True))
    if values:
        parsed(attribute_chart(AttributeHistory(prior=summarise("a<b", "x", "px", False, values))))
