"""Builds rows of places along lines."""

import math

from trainer.grammar.build_distribution import build_number
from trainer.grammar.distributions import Constant, Distribution
from trainer.grammar.document import Document, KeyPath
from trainer.grammar.nodes import Along
from trainer.grammar.schema import AlongSection, NumberSection

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
    spacing = build_number(section.spacing, document, (*keys, "spacing"), 0.0, math.inf)
    if not math.isfinite(start.support[0]):
        raise document.error((*keys, "start"), "it must have a smallest value; take uniform or truncated_normal")
    if spacing.support[0] < _LEAST_SPACING:
        raise document.error((*keys, "spacing"), f"the smallest distance must be at least {_LEAST_SPACING:g}")
    if section.end < start.support[0]:
        raise document.error((*keys, "end"), f"the row starts at {start.support[0]:g} and must not end before")
    return Along(start, section.end, spacing, number("keep", 0.0, 1.0, 1.0), section.y, section.z, section.yaw)
