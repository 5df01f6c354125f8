"""Builds rows of places along lines."""

import math

from trainer.grammar.build_distribution import between, build_number
from trainer.grammar.distributions import Constant, Distribution
from trainer.grammar.document import Document, KeyPath
from trainer.grammar.node_schema import AlongSection, RowSection
from trainer.grammar.nodes import Along
from trainer.grammar.productions import bins
from trainer.grammar.schema_sections import NumberSection

#: Places nearer to each other than this are a mistake.
_LEAST_SPACING = 1e-3


def build_along(section: AlongSection, document: Document, keys: KeyPath) -> Along:
    """Return the row that a section describes.

    Raises:
        GrammarError: the row has no place, places without a distance, or a share that is no probability.
    """

    def number(name: str, low: float, high: float, default: float) -> Distribution:
        given: NumberSection | None = getattr(section, name)
        return Constant(default) if given is None else build_number(given, document, (*keys, name), low, high)

    start = number("start", -math.inf, math.inf, 0.0)
    low, high = _range(section.spacing, document, (*keys, "spacing"), (0.0, math.inf))
    spacing = build_number(section.spacing, document, (*keys, "spacing"), low, high)
    keep = number("keep", *_range(section.keep, document, (*keys, "keep"), (0.0, 1.0)), 1.0)
    if not math.isfinite(start.support[0]):
        raise document.error((*keys, "start"), "it must have a smallest value; use uniform or truncated_normal")
    if spacing.support[0] < _LEAST_SPACING or (section.spacing.range is not None and low < _LEAST_SPACING):
        raise document.error((*keys, "spacing"), f"the smallest distance must be at least {_LEAST_SPACING:g}")
    if section.end < start.support[0]:
        raise document.error((*keys, "end"), f"the row starts at {start.support[0]:g} and must not end before")
    spacing_edges: tuple[float, ...] = ()
    if section.spacing.mutable:
        ends = spacing.support if section.spacing.range is None else (low, high)
        if not 0 < ends[1] - ends[0] < math.inf:
            raise document.error(
                (*keys, "spacing"), "a mutable spacing needs a finite range; add e.g. range: [5, 20]", show_value=False
            )
        spacing_edges = bins(*ends)
    keep_edges: tuple[float, ...] = ()
    if section.keep is not None and section.keep.mutable:
        keep_edges = bins(*_range(section.keep, document, (*keys, "keep"), (0.0, 1.0)))
    return Along(start, section.end, spacing, keep, section.y, section.z, section.yaw, spacing_edges, keep_edges)


def _range(
    section: RowSection | None, document: Document, keys: KeyPath, default: tuple[float, float]
) -> tuple[float, float]:
    """Return the range of a number of a row.

    Raises:
        GrammarError: it is empty, reaches beyond the default, or belongs to a number that is not mutable.
    """
    if section is None or section.range is None:
        return default
    low, high = section.range
    if not section.mutable:
        raise document.error((*keys, "range"), "only a mutable number of a row has a range; add mutable: true")
    if low >= high:
        raise document.error((*keys, "range"), "low must be below high")
    if low < default[0] or high > default[1]:
        raise document.error((*keys, "range"), f"it must lie {between(*default)}")
    return low, high
