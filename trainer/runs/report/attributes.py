"""The part of a run's report that shows its attributes: where they started, where they went, where they should be."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import Any

import numpy as np

from trainer.metrics.attributes import AttributeStatistics, deviation
from trainer.runs.folder import Run
from trainer.runs.report.charts import Histogram, Level, Line, histogram_chart, line_chart, plus_minus, short

#: How units are written.
_UNITS = {"deg": "°", "1": ""}


@dataclass
class AttributeHistory:
    """One mutable attribute of a kind over a run."""

    prior: AttributeStatistics | None = None
    target: AttributeStatistics | None = None
    #: By epoch, in their order.
    learned: dict[int, AttributeStatistics] = field(default_factory=dict)

    @property
    def any(self) -> AttributeStatistics:
        """One of those there are: it has the kind, the name and the unit."""
        return next(item for item in (self.prior, self.target, self.last) if item is not None)

    @property
    def last(self) -> AttributeStatistics | None:
        """As of the last epoch."""
        return self.learned[max(self.learned)] if self.learned else None

    @property
    def label(self) -> str:
        return f"{self.any.kind}.{self.any.name}"

    @property
    def unit(self) -> str:
        return _UNITS.get(self.any.unit, " " + self.any.unit)

    @cached_property
    def centre(self) -> float:
        """For angles: half a turn from the widest gap between all values, so that drawing tears nothing apart."""
        items = [item for item in (self.prior, self.target, *self.learned.values()) if item is not None]
        values = np.sort(np.array([value % 360 for item in items for value in item.values]))
        if not self.any.is_angle or not len(values):
            return 0.0
        gaps = np.diff(values, append=values[0] + 360)
        widest = int(gaps.argmax())
        return deviation(float(values[widest] + gaps[widest] / 2) + 180, 0.0, is_angle=True)

    def placed(self, values: Sequence[float]) -> list[float]:
        """Values as they are drawn: angles within half a turn of the centre."""
        return [self.centre + deviation(value, self.centre, self.any.is_angle) for value in values]

    def outline(self, item: AttributeStatistics | None) -> str:
        """Mean ± standard deviation in plain text, the mean as precise as the spread."""
        if item is None:
            return "–"
        return f"{plus_minus(item.mean, item.std)}{self.unit}"


def attribute_histories(run: Run) -> list[AttributeHistory]:
    """All mutable attributes that the run has recorded, in the order of the records."""
    found: dict[tuple[str, str], AttributeHistory] = {}
    for record in run.records("attributes.jsonl"):
        for entry in record["attributes"]:
            item = AttributeStatistics(**{**entry, "values": tuple(entry["values"])})
            history = found.setdefault((item.kind, item.name), AttributeHistory())
            if record["of"] == "prior":
                history.prior = item
            elif record["of"] == "target":
                history.target = item
            else:
                history.learned[record["epoch"]] = item
    return list(found.values())


def attribute_table(histories: Sequence[AttributeHistory]) -> str:
    """Mean ± standard deviation of prior, learned and target, and how far learned and target are apart."""
    rows = []
    for history in histories:
        learned, target = history.last, history.target
        difference = spread = "–"
        if learned is not None and target is not None:
            difference = f"{short(learned.difference(target))}{escape(history.unit)}"
            spread = f"{100 * (learned.std / target.std - 1):+.0f} %".replace("-", "−") if target.std > 0 else "–"
        cells = [escape(history.outline(item)) for item in (history.prior, learned, target)] + [difference, spread]
        rows.append(f"<tr><th>{escape(history.label)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    heads = ("Attribute", "Prior", "Learned", "Target", "Mean off by", "Spread off by")
    return (
        f'<div class="scroll"><table><thead><tr>{"".join(f"<th>{head}</th>" for head in heads)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def attribute_cards(histories: Sequence[AttributeHistory]) -> str:
    """Two charts per attribute: its distribution, and the course of mean and spread over the epochs."""
    return f'<div class="cards">{"".join(_histogram(item) + _course(item) for item in histories)}</div>'


def _histogram(history: AttributeHistory) -> str:
    learned = [history.placed(history.learned[epoch].values) for epoch in sorted(history.learned)]
    histograms = [
        Histogram(name, frames, name.lower())
        for name, frames in (
            ("Prior", [history.placed(history.prior.values)] if history.prior else []),
            ("Target", [history.placed(history.target.values)] if history.target else []),
            ("Learned", learned),
        )
    ]
    chart = histogram_chart(f"Distribution of {history.label}", _axis(history), histograms)
    return f'<div class="card"><h3>{escape(history.label)}</h3>{chart}</div>'


def _course(history: AttributeHistory) -> str:
    if not history.learned:
        return ""
    epochs = sorted(history.learned)
    items = [history.learned[epoch] for epoch in epochs]
    means = history.placed([item.mean for item in items])
    line = Line(
        "Learned", list(zip(map(float, epochs), means, strict=True)), "learned", spread=[item.std for item in items]
    )
    levels = [
        Level(name, history.placed([item.mean])[0], item.std, name.lower())
        for name, item in (("Prior", history.prior), ("Target", history.target))
        if item is not None
    ]
    chart = line_chart(f"Mean and spread of {history.label} per epoch", "epoch", [line], levels)
    heading = f"{history.label}, mean ± standard deviation{_in_unit(history)}"
    return f'<div class="card"><h3>{escape(heading)}</h3>{chart}</div>'


def _axis(history: AttributeHistory) -> str:
    return f"{history.any.name}{_in_unit(history)}"


def _in_unit(history: AttributeHistory) -> str:
    return f" ({history.unit.strip()})" if history.unit else ""


def choice_cards(summary: dict[str, Any]) -> str:
    """The frequencies of categorical attributes: prior, learned and target, where each is known."""
    found = summary.get("choices", {})
    columns = [(of, title) for of, title in _COLUMNS if found.get(of)]
    by_name = {of: {(item["kind"], item["name"]): item["frequencies"] for item in found[of]} for of, _ in columns}
    cards = []
    for item in found.get("learned", []):
        known = [(of, title) for of, title in columns if (item["kind"], item["name"]) in by_name[of]]
        head = "".join(f"<th>{title}</th>" for _, title in known)
        rows = "".join(
            f"<tr><th>{escape(category)}</th>"
            + "".join(_share(by_name[of][item["kind"], item["name"]].get(category, 0.0), of) for of, _ in known)
            + "</tr>"
            for category in item["frequencies"]
            if any(by_name[of][item["kind"], item["name"]].get(category, 0.0) > 0 for of, _ in known)
        )
        title = escape(f"{item['kind']}.{item['name']}")
        cards.append(
            f'<div class="card"><h3>{title}, how often</h3><table><thead><tr><th></th>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>"
        )
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


_COLUMNS = (("prior", "Prior"), ("learned", "Learned"), ("target", "Target"))


def _share(share: float, of: str) -> str:
    return (
        f'<td class="number">{100 * share:.1f} % <span class="share {of}" style="width:{6 * share:.2f}rem"></span></td>'
    )


def reconstruction_table(summary: dict[str, Any], histories: Sequence[AttributeHistory]) -> str:
    """What the stages before the epochs have found, by attribute: the identity's error, and the start."""
    errors: dict[str, float] = summary.get("reconstruction_error", {})
    shifts: dict[str, list[float]] = summary.get("search", {}).get("shift", {})
    units = {history.label: history.unit for history in histories}
    rows = "".join(
        f"<tr><th>{escape(label)}</th>"
        f"<td>{_percent(errors.get(label))}</td>"
        f"<td>{escape(_shifts(shifts.get(label, []), units.get(label, '')))}</td></tr>"
        for label in dict.fromkeys([*errors, *shifts])
    )
    return (
        '<div class="scroll"><table><thead><tr><th>Attribute</th><th>Identity learned, mean error (of the range)</th>'
        f"<th>Shift to start from</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{short(100 * fraction)} %"


def _shifts(modes: Sequence[float], unit: str) -> str:
    """The shift of each mode."""
    return " or ".join(f"{'+' if shift > 0 else ''}{short(shift)}{unit}" for shift in modes) or "–"
