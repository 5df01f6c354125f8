"""Charts of the report: matplotlib figures as inline SVG, coloured by the page's CSS variables.

matplotlib writes each colour of `_VARIABLES` as a fixed code. `_svg` replaces the codes by CSS variables, so that one
drawing suits light, dark and printed pages.
"""

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from trainer.runs.formatting import short
from trainer.runs.histories import AttributeHistory

#: Size of a chart in SVG units, which are CSS pixels where the chart is not scaled.
WIDTH, HEIGHT = 384, 208
#: Bins of a histogram.
BINS = 40
_UNITS_PER_INCH = 72
#: The codes of the CSS variables with the same name.
_VARIABLES = {
    "ink": "#000001",
    "soft": "#000002",
    "rule": "#000003",
    "prior": "#000011",
    "learned": "#000012",
    "target": "#000013",
    **{f"line-{index}": f"#00002{index}" for index in range(8)},
}
#: Colours of lines that a legend tells apart.
LINE_COLOURS = tuple(name for name in _VARIABLES if name.startswith("line-"))
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "metasim",
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _VARIABLES["soft"],
    "axes.labelcolor": _VARIABLES["soft"],
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _VARIABLES["rule"],
    "grid.linewidth": 0.8,
    "xtick.color": _VARIABLES["soft"],
    "ytick.color": _VARIABLES["soft"],
    "axes.unicode_minus": True,
    "lines.linewidth": 1.8,
    "lines.markersize": 3.5,
    # Fixed margins: a layout that measures its labels costs as much time as the drawing.
    "figure.subplot.left": 0.13,
    "figure.subplot.right": 0.985,
    "figure.subplot.bottom": 0.2,
    "figure.subplot.top": 0.97,
    "figure.subplot.wspace": 0.04,
}


@dataclass(frozen=True)
class Line:
    """A series of values over the epochs; points that are not finite are left out."""

    label: str
    points: Sequence[tuple[float, float]]
    colour: str
    #: Half the height of the band around each point; empty: no band.
    spread: Sequence[float] = ()
    #: Drawn dashed and without a band: a reference.
    reference: bool = False


def line_chart(title: str, lines: Sequence[Line], *, logarithmic: bool = False) -> Markup:
    """Return the SVG of lines over the epochs.

    Args:
        title: read out by screen readers.
        logarithmic: use a logarithmic vertical axis; non-positive points are left out.
    """
    with mpl.rc_context(_STYLE):
        figure = _figure()
        axes = figure.subplots()
        if logarithmic:
            axes.set_yscale("log")
        for line in lines:
            _draw_line(axes, line, logarithmic=logarithmic)
        _epochs(axes)
        return _svg(figure, title)


def attribute_chart(history: AttributeHistory) -> Markup:
    """Return the SVG of an attribute: mean ± standard deviation by epoch, and beside it the distributions.

    Both panels share the vertical axis, which has the attribute's unit.
    """
    title = f"Mean and spread of {history.label} by epoch, and its distribution"
    with mpl.rc_context(_STYLE):
        figure = _figure()
        if len(history.learned) > 1:
            course, histogram = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
            _draw_course(course, history)
            histogram.tick_params(left=False)
        else:
            histogram = figure.subplots()
        _draw_histogram(histogram, history)
        return _svg(figure, title)


def _draw_course(axes: Axes, history: AttributeHistory) -> None:
    for name, item in (("prior", history.prior), ("target", history.target)):
        if item is not None:
            (mean,) = history.unwrapped([item.mean])
            axes.axhspan(mean - item.std, mean + item.std, color=_VARIABLES[name], alpha=0.13, linewidth=0)
            axes.axhline(mean, color=_VARIABLES[name], linestyle=(0, (5, 4)), linewidth=1.3)
    items = [history.learned[epoch] for epoch in sorted(history.learned)]
    means = history.unwrapped([item.mean for item in items])
    points = list(zip(map(float, sorted(history.learned)), means, strict=True))
    _draw_line(axes, Line("learned", points, "learned", [item.std for item in items]))
    _epochs(axes)


def _draw_histogram(axes: Axes, history: AttributeHistory) -> None:
    """Densities of prior, target and learned values, growing to the right from the shared vertical axis."""
    items = [
        (name, [value for value in history.unwrapped(item.values) if math.isfinite(value)])
        for name, item in (("prior", history.prior), ("target", history.target), ("learned", history.last))
        if item is not None
    ]
    every = [value for _, values in items for value in values]
    if every:
        low, high = min(every), max(every)
        margin = 0.02 * (high - low) or 0.5
        edges = np.linspace(low - margin, high + margin, BINS + 1)
        for name, values in items:
            shares = np.histogram(values, edges)[0] / max(len(values), 1)
            colour = _VARIABLES[name]
            if name == "learned":  # Outlined, so that it stays visible where it covers the target.
                axes.stairs(shares, edges, orientation="horizontal", color=colour, linewidth=1.8)
            else:
                axes.stairs(shares, edges, orientation="horizontal", fill=True, color=colour, alpha=0.4, linewidth=0)
    axes.set_xlim(left=0)
    axes.set_xticks([])
    axes.set_xlabel("frequency", labelpad=21)  # In line with "epoch", which has tick labels above it.


def _draw_line(axes: Axes, line: Line, *, logarithmic: bool = False) -> None:
    spread = line.spread or [0.0] * len(line.points)
    kept = [
        (x, y, s)
        for (x, y), s in zip(line.points, spread, strict=True)
        if math.isfinite(y) and math.isfinite(s) and (y > 0 or not logarithmic)
    ]
    if not kept:
        return
    x, y, half = (np.array(column) for column in zip(*kept, strict=True))
    colour = _VARIABLES[line.colour]
    if line.reference:
        axes.plot(x, y, color=colour, linestyle=(0, (5, 4)), linewidth=1.3)
        return
    if line.spread:
        axes.fill_between(x, y - half, y + half, color=colour, alpha=0.16, linewidth=0)
    axes.plot(x, y, color=colour, marker="o" if len(x) <= BINS else "")


def _epochs(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("epoch")


def _figure() -> Figure:
    return Figure(figsize=(WIDTH / _UNITS_PER_INCH, HEIGHT / _UNITS_PER_INCH))


def _svg(figure: Figure, title: str) -> Markup:
    for axes in figure.axes:
        logarithmic = axes.get_yscale() == "log"
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6) if logarithmic else MaxNLocator(5))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(lambda value, _: short(value))
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' transform="rotate\(-0 [^"]*"|font-family: [^;"]*; ', "", text)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"| version="[^"]*"| (?:width|height)="[\d.]+pt"', "", text, count=5)
    text = re.sub(r' id="[A-Za-z][\w.]*_\d+"', "", text)
    text = re.sub(r"\n\s*", "\n", text)
    for name, code in _VARIABLES.items():
        text = text.replace(code, f"var(--{name})")
    return Markup(text.replace("<svg", f'<svg class="chart" role="img" aria-label="{escape(title)}"', 1))
