"""Charts as inline SVG: small, sharp in print, styled by the page's CSS (`trainer/reports/template.html`)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

Point = tuple[float, float]

WIDTH, HEIGHT = 380, 210
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 10, 36
#: Lines with more points than this have no dots at them.
MOST_DOTS = 40


@dataclass(frozen=True)
class Line:
    """A course of values. Points that are not finite are left out."""

    label: str
    points: Sequence[Point]
    style: str  # Class in the CSS
    #: Half width of a band around each point; empty: none.
    spread: Sequence[float] = ()


@dataclass(frozen=True)
class Level:
    """A value that stays, drawn over the whole width, with a band of `spread` to each side."""

    label: str
    value: float
    spread: float
    style: str


@dataclass(frozen=True)
class Histogram:
    """A distribution. `frames` are its states over the epochs; the last one is shown first."""

    label: str
    frames: Sequence[Sequence[float]]
    style: str


@dataclass
class _Axes:
    """The mapping from values to the drawing, with what has been drawn."""

    x: tuple[float, float]
    y: tuple[float, float]
    logarithmic: bool = False
    parts: list[str] = field(default_factory=list)

    def across(self, value: float) -> float:
        low, high = self.x
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low), 1)

    def up(self, value: float) -> float:
        low, high = self.y
        if self.logarithmic:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low), 1)

    def draw(self, text: str) -> None:
        self.parts.append(text)

    def frame(self, x_label: str, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> None:
        bottom = HEIGHT - BOTTOM
        for value in y_ticks:
            y = self.up(value)
            self.draw(f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
            self.draw(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{short(value)}</text>')
        for value in x_ticks:
            x = self.across(value)
            self.draw(f'<path class="axis" d="M{x} {bottom}v4"/>')
            self.draw(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{short(value)}</text>')
        self.draw(f'<path class="axis" d="M{LEFT} {bottom}H{WIDTH - RIGHT}"/>')
        middle = (LEFT + WIDTH - RIGHT) / 2
        self.draw(f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>')

    def svg(self, title: str) -> str:
        return (
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
            f"<title>{escape(title)}</title>{''.join(self.parts)}</svg>"
        )


def line_chart(
    title: str, x_label: str, lines: Sequence[Line], levels: Sequence[Level] = (), *, logarithmic: bool = False
) -> str:
    """Lines over a common axis.

    Args:
        logarithmic: powers of ten upwards; points that are not positive are left out.
    """
    drawn = [(line, _drawable(line.points, logarithmic)) for line in lines]
    xs = [x for _, points in drawn for x, _ in points]
    ys = [y for _, points in drawn for _, y in points]
    for line in lines:
        ys += [y + sign * s for (_, y), s in zip(line.points, line.spread, strict=False) for sign in (-1, 1)]
    ys += [level.value + sign * level.spread for level in levels for sign in (-1, 1)]
    low, high = _range([y for y in ys if math.isfinite(y)])
    if logarithmic:
        axes = _Axes(_range(xs, 0.0), _decades(ys), logarithmic=True)
        y_ticks = [10.0**e for e in range(round(math.log10(axes.y[0])), round(math.log10(axes.y[1])) + 1)]
    else:
        y_ticks = ticks(low, high, 5)
        axes = _Axes(_range(xs, 0.0), (min(low, y_ticks[0]), max(high, y_ticks[-1])))
    whole = [value for value in ticks(*axes.x, 6) if value == round(value)]
    axes.frame(x_label, whole, y_ticks)
    for level in levels:
        y, upper, lower = (axes.up(level.value + sign * level.spread) for sign in (0, 1, -1))
        axes.draw(f'<path class="band {level.style}" d="M{LEFT} {upper}H{WIDTH - RIGHT}V{lower}H{LEFT}Z"/>')
        axes.draw(f'<path class="line level {level.style}" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
    for line, points in drawn:
        if line.spread and len(line.spread) == len(points):
            edge = [(x, y + s) for (x, y), s in zip(points, line.spread, strict=True)]
            edge += [(x, y - s) for (x, y), s in reversed(list(zip(points, line.spread, strict=True)))]
            axes.draw(f'<path class="band {line.style}" d="{_path(axes, edge)}Z"/>')
        axes.draw(f'<path class="line {line.style}" d="{_path(axes, points)}"/>')
        for x, y in points if len(points) <= MOST_DOTS else []:
            axes.draw(f'<circle class="{line.style}" cx="{axes.across(x)}" cy="{axes.up(y)}" r="2.5"/>')
    return axes.svg(title)


def histogram_chart(title: str, x_label: str, histograms: Sequence[Histogram], bins: int = 48) -> str:
    """Distributions over each other, on common bins; heights are densities.

    The states of a distribution with several frames stand in the attribute data-frames of its path, one after the
    other with a | between, so that a script can show them.
    """
    values = [value for histogram in histograms for frame in histogram.frames for value in frame]
    low, high = _range([value for value in values if math.isfinite(value)], 0.04)
    edges = np.linspace(low, high, bins + 1)
    counted = [
        (histogram, [_densities(frame, edges) for frame in histogram.frames])
        for histogram in histograms
        if histogram.frames
    ]
    top = max((float(frames[-1].max()) for _, frames in counted), default=0.0) * 1.05 or 1.0
    axes = _Axes((low, high), (0.0, top))
    axes.frame(x_label, ticks(low, high, 5), [])
    for histogram, frames in counted:
        paths = [_steps(axes, edges, np.minimum(frame, top)) for frame in frames]
        more = f' data-frames="{"|".join(paths)}"' if len(paths) > 1 else ""
        axes.draw(f'<path class="filled {histogram.style}" d="{paths[-1]}"{more}/>')
    return axes.svg(title)


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from low to high, at distances of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def short(value: float) -> str:
    """A number in at most four digits, with a proper minus sign."""
    if not math.isfinite(value):
        return "–"
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.1e}".split("e")
        text = f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    else:
        digits = 0 if abs(value) >= 1000 else max(0, 3 - len(str(int(abs(value)))) + (abs(value) < 1))
        text = f"{value:.{digits}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def plus_minus(mean: float, spread: float) -> str:
    """A mean with its spread, both to the second digit of the spread, or the third where it begins with 1."""
    if not (math.isfinite(mean) and math.isfinite(spread) and spread > 0):
        return f"{short(mean)} ± {short(spread)}"
    digits = min(max(0, 1 - math.floor(math.log10(spread / 2))), 6)
    rounded = round(mean, digits) + 0.0  # No negative zero
    return f"{rounded:.{digits}f} ± {spread:.{digits}f}".replace("-", "−")


def _drawable(points: Sequence[Point], logarithmic: bool) -> list[Point]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y) and (y > 0 or not logarithmic)]


def _range(values: Sequence[float], margin: float = 0.05) -> tuple[float, float]:
    """From the least to the greatest value with a margin; never empty."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        half = 0.5 * abs(low) or 0.5
        return low - half, high + half
    return low - margin * (high - low), high + margin * (high - low)


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """The powers of ten around the positive values."""
    positive = [value for value in values if math.isfinite(value) and value > 0] or [1.0]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    return 10.0**low, 10.0 ** max(high, low + 1)


def _densities(values: Sequence[float], edges: np.ndarray) -> np.ndarray:
    counts, _ = np.histogram([value for value in values if math.isfinite(value)], edges)
    return counts / max(counts.sum(), 1)


def _path(axes: _Axes, points: Sequence[Point]) -> str:
    return "".join(f"{'L' if index else 'M'}{axes.across(x)} {axes.up(y)}" for index, (x, y) in enumerate(points))


def _steps(axes: _Axes, edges: np.ndarray, heights: np.ndarray) -> str:
    """The outline of bars, closed along the axis; empty bins at both ends are left out."""
    filled = np.flatnonzero(heights)
    if not len(filled):
        return ""
    parts = [f"M{axes.across(float(edges[filled[0]]))} {axes.up(0)}"]
    for index in range(filled[0], filled[-1] + 1):
        parts.append(f"V{axes.up(float(heights[index]))}H{axes.across(float(edges[index + 1]))}")
    return "".join(parts) + f"V{axes.up(0)}Z"
