"""Tables of a run as plain text: attributes, frequencies, preparation, cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.runs.formatting import short, signed_percent
from trainer.runs.histories import AttributeHistory

NOTHING = "–"
#: Columns of a comparison, in their order, with their titles.
MODELS = (("prior", "Prior"), ("learned", "Learned"), ("target", "Target"))


@dataclass(frozen=True)
class Table:
    """Rows of cells in plain text. The first column is text, the others are numbers."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    #: A sentence below the table.
    note: str = ""
    #: First cell of the row that stands out.
    highlight: str = ""


def attribute_table(
    histories: Sequence[AttributeHistory], counts: Mapping[str, Any], choices: Mapping[str, Any]
) -> Table:
    """Return mean ± standard deviation of each number for the prior, the learned model and the target.

    Without statistics of the target, its columns are left out.

    Args:
        counts: `summary["counts"]`.
        choices: `summary["choices"]`; numeric choices have a row.
    """
    rows = []
    for history in histories:
        learned, target = history.last, history.target
        cells = [history.outline(item) for item in (history.prior, learned, target)]
        if learned is not None and target is not None:
            spread = signed_percent(learned.std / target.std - 1) if target.std > 0 else NOTHING
            cells += [f"{short(learned.difference(target))}{history.unit}", spread]
        else:
            cells += [NOTHING, NOTHING]
        rows.append([history.label, *cells])
    named = {of: {f"{item['kind']}, number in a scene": item for item in items or ()} for of, items in counts.items()}
    rows += _number_rows(named)
    rows += _number_rows(
        {
            of: {f"{item['kind']}.{item['name']}": item for item in items or () if "mean" in item}
            for of, items in choices.items()
        }
    )
    head = ["Attribute", "Prior", "Learned", "Target", "Mean off by", "Spread off by"]
    if all(row[3] == NOTHING for row in rows):
        head, rows = head[:3], [row[:3] for row in rows]
    return Table("", head, rows)


def _number_rows(by_label: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    rows = []
    for label in by_label.get("learned", {}):
        items = [by_label.get(of, {}).get(label) for of, _ in MODELS]
        cells = [NOTHING if item is None else f"{item['mean']:.2f} ± {item['std']:.2f}" for item in items]
        learned, target = items[1], items[2]
        if learned is not None and target is not None:
            spread = signed_percent(learned["std"] / target["std"] - 1) if target["std"] > 0 else NOTHING
            cells += [short(learned["mean"] - target["mean"]), spread]
        else:
            cells += [NOTHING, NOTHING]
        rows.append([label, *cells])
    return rows


@dataclass(frozen=True)
class Frequencies:
    """The frequency of each category of an attribute, for each of `MODELS` where it is known."""

    title: str
    models: Sequence[tuple[str, str]]
    rows: Sequence[tuple[str, Sequence[tuple[str, float]]]]


def frequency_tables(choices: Mapping[str, Any]) -> list[Frequencies]:
    """Return the frequencies of each non-numeric choice.

    Args:
        choices: `summary["choices"]`.
    """
    by_name = {
        of: {(item["kind"], item["name"]): item["frequencies"] for item in choices.get(of) or () if "mean" not in item}
        for of, _ in MODELS
    }
    tables = []
    for key, frequencies in by_name["learned"].items():
        known = [(of, title) for of, title in MODELS if key in by_name[of]]
        rows = [
            (category, [(of, by_name[of][key].get(category, 0.0)) for of, _ in known])
            for category in frequencies
            if any(by_name[of][key].get(category, 0.0) > 0 for of, _ in known)
        ]
        tables.append(Frequencies(".".join(key), known, rows))
    return tables


def preparation_table(summary: Mapping[str, Any]) -> Table | None:
    """Return the errors of G_θ by attribute: of the identity, and of the transport from prior to population."""
    identity: Mapping[str, float] = summary.get("reconstruction_error") or {}
    findings = summary.get("inference") or []
    transport: Mapping[str, float] = findings[-1].get("transport_error", {}) if findings else {}
    if not identity and not transport:
        return None
    rows = []
    for label in dict.fromkeys([*identity, *transport]):
        first = f"{short(100 * identity[label])} %" if label in identity else NOTHING
        rows.append([label, first, short(transport[label]) if label in transport else NOTHING])
    heads = ["Attribute", "Error of the identity, fraction of the range", "Error of the transport, standard deviations"]
    return Table("", heads, rows)


def cost_facts(summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> list[Sequence[str]]:
    """Return performance figures: renders, render rate, waiting time, workers and threads."""
    facts: list[Sequence[str]] = []
    seconds = summary.get("seconds") or {}
    total = seconds.get("total", 0.0)
    if summary.get("renders"):
        facts.append(["Images rendered, probes included", f"{summary['renders']:,}"])
        if total > 0:
            facts.append(["Images rendered per second, whole run", short(summary["renders"] / total)])
    spent = sum(record["seconds"] for record in metrics)
    if spent > 0:
        rendered = sum(record["renders_per_s"] * record["seconds"] for record in metrics)
        waited = sum(record["waiting_share"] * record["seconds"] for record in metrics)
        workers = [int(record["workers"]) for record in metrics]
        span = f"{min(workers)} to {max(workers)}" if min(workers) < max(workers) else str(workers[0])
        facts += [
            ["Renders per second, epochs", short(rendered / spent)],
            ["Time spent waiting for renders, epochs", f"{100 * waited / spent:.0f} %"],
            ["Workers", span],
        ]
    if summary.get("threads"):
        facts.append(["Threads of the trainer", str(summary["threads"])])
    return facts
