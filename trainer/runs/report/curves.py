"""The part of a run's report that shows how the epochs went: losses, scores, gradients."""

from collections.abc import Sequence
from html import escape
from typing import Any

from trainer.runs.report.charts import Line, line_chart, short
from trainer.runs.report.markup import card, cards, legend

#: Colours for lines that are told apart by a legend (`.line-0` and on in the template).
LINE_STYLES = 6


def learning_curves(metrics: Sequence[dict[str, Any]]) -> str:
    """What the run was to make small or large, by epoch."""
    if not metrics:
        return ""
    hidden = _by_name(metrics, "out_of_sight")
    charts = [
        (
            "MMD² between rendered and target images",
            [_course(metrics, "mmd", "MMD²", "learned"), _course(metrics, "mmd_prior", "Prior", "prior")],
        ),
        (
            "Kernel inception distance of the learned model, with its standard error",
            [
                _course(metrics, "kid", "KID", "learned", "kid_standard_error"),
                _course(metrics, "kid_prior", "Prior", "prior"),
            ],
        ),
        (
            "Score of the task network on V, and its moving average",
            [_course(metrics, "score", "Score", "learned"), _course(metrics, "baseline", "Baseline", "prior")],
        ),
    ]
    parts = []
    for title, lines in charts:
        drawn = [line for line in lines if line.points]
        if lines[0].points:
            parts.append(card(title, line_chart(title, "epoch", drawn) + (_named(drawn) if len(drawn) > 1 else "")))
    if any(y > 0 for line in hidden for _, y in line.points):
        title = "Share of objects that cannot be seen, by kind"
        parts.append(card(title, line_chart(title, "epoch", hidden) + _named(hidden)))
    return f"<h2>Learning curves</h2>{cards(parts)}" if parts else ""


def gradient_health(metrics: Sequence[dict[str, Any]]) -> str:
    """Whether a gradient reaches each attribute, and how far what the workers neglect of it matters."""
    norms = _by_name(metrics, "gradient_norms")
    if not norms:
        return ""
    title = "Norm of the loss's gradient, by attribute"
    parts = [card(title, line_chart(title, "epoch", norms, logarithmic=True) + _named(norms))]
    dead = [line.label for line in norms if not line.points[-1][1] > 0]
    words = (
        f"In the last epoch no gradient reached {escape(', '.join(dead))}: the image did not change with it."
        if dead
        else "A gradient reaches every attribute in the last epoch."
    )
    audited = [record for record in metrics if "audit" in record]
    if audited:
        lines = [
            Line(label, [(float(record["epoch"]), float(record["audit"][key])) for record in audited], style)
            for key, label, style in (("cosine", "Cosine", "learned"), ("norm_ratio", "Ratio of norms", "target"))
        ]
        title = "Columns of regions against those of whole frames; 1 is perfect"
        parts.append(card(title, line_chart(title, "epoch", lines) + legend([(x.style, x.label) for x in lines])))
        last = audited[-1]
        words += (
            f" {last['audit']['columns']:,} columns of epoch {last['epoch']} were rendered in full as well: cosine "
            f"{short(last['audit']['cosine'])}, ratio of norms {short(last['audit']['norm_ratio'])}; what is missed "
            f"most is {escape(last['audit_worst'])}."
        )
    else:
        words += (
            " Whether rendering only the region that changes misses something was not measured in this run; "
            "<code>training.probing.audit=0.01</code> does, and <code>metasim check gradient</code> compares with a "
            "slow, trusted estimate."
        )
    return f"<h2>Gradient health</h2><p>{words}</p>{cards(parts)}"


def _course(metrics: Sequence[dict[str, Any]], key: str, label: str, style: str, spread: str = "") -> Line:
    """A number of the metrics over the epochs that have it."""
    having = [record for record in metrics if key in record]
    return Line(
        label,
        [(float(record["epoch"]), float(record[key])) for record in having],
        style,
        [float(record[spread]) for record in having] if spread else (),
    )


def _by_name(metrics: Sequence[dict[str, Any]], key: str) -> list[Line]:
    """A line for every name under a key of the metrics."""
    names = list(dict.fromkeys(name for record in metrics for name in record.get(key, {})))
    return [
        Line(
            name,
            [(float(record["epoch"]), float(record[key][name])) for record in metrics if name in record.get(key, {})],
            f"line-{index % LINE_STYLES}",
        )
        for index, name in enumerate(names)
    ]


def _named(lines: Sequence[Line]) -> str:
    return legend([(line.style, line.label) for line in lines])
