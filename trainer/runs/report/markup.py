"""Pieces of markup that sections of the report share."""

from collections.abc import Sequence
from html import escape

from trainer.runs.report.charts import short


def table(head: Sequence[str], rows: Sequence[Sequence[str]], style: str = "") -> str:
    """A table that scrolls by itself where it is too wide. The first column is text, the others are numbers.

    Args:
        head, rows: cells as markup; names from outside must be escaped. An empty head: none.
        style: class in the CSS.
    """
    top = f"<thead>{_row('th', head)}</thead>" if head else ""
    body = "".join(_row("td", row) for row in rows)
    opened = f'<table class="{style}">' if style else "<table>"
    return f'<div class="scroll">{opened}{top}<tbody>{body}</tbody></table></div>'


def card(title: str, content: str) -> str:
    """A box with a title in plain text, in a grid of `cards`."""
    return f'<div class="card"><h3>{escape(title)}</h3>{content}</div>'


def cards(parts: Sequence[str]) -> str:
    """Boxes side by side where there is room; nothing where there are none."""
    return f'<div class="cards">{"".join(parts)}</div>' if parts else ""


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """What styles of lines stand for: (class in the CSS, label)."""
    items = "".join(f'<li class="{style}">{escape(label)}</li>' for style, label in entries)
    return f'<ul class="legend">{items}</ul>'


def score(value: float) -> str:
    """Scores between 0 and 1 in percent."""
    return f"{100 * value:.1f} %" if 0 <= value <= 1 else short(value)


def count(number: int, noun: str) -> str:
    """`1 epoch`, `2 epochs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _row(tag: str, cells: Sequence[str]) -> str:
    first, *others = cells
    numbers = "".join(f'<{tag} class="number">{cell}</{tag}>' for cell in others)
    return f"<tr><{tag}>{first}</{tag}>{numbers}</tr>"
