"""The part of a run's report that says what it took, and how to do it again."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from trainer.runs.folder import RunConfig
from trainer.runs.report.charts import short
from trainer.runs.report.markup import table

PAPER = "https://arxiv.org/abs/1904.11621"
_STAGES = {
    "target": "Render the target",
    "pretraining": "Learn the identity",
    "prior": "Render the prior",
    "search": "Search the start",
    "search and features": "Search the start, learn the features",
    "features": "Learn the features",
    "epochs": "Match the distributions",
}


def cost(summary: dict[str, Any], metrics: Sequence[dict[str, Any]]) -> str:
    """Times by stage, renders, and how busy the workers kept the trainer."""
    seconds: dict[str, float] = dict(summary.get("seconds", {}))
    total = seconds.pop("total", sum(seconds.values()))
    rows = [
        [
            escape(_STAGES.get(stage, stage)),
            f"{spent:.1f} s",
            f'<span class="share" style="width:{5 * spent / total:.2f}rem"></span>',
        ]
        for stage, spent in seconds.items()
        if total > 0
    ]
    if total > 0:
        rows.append(["<strong>Total</strong>", f"<strong>{total:.1f} s</strong>", ""])
    facts: list[list[str]] = []
    if summary.get("renders"):
        facts.append(["Images rendered, probes included", f"{summary['renders']:,}"])
        if total > 0:
            facts.append(["Images rendered per second, over all", short(summary["renders"] / total)])
    if metrics:
        spent = sum(record["seconds"] for record in metrics)
        rendered = sum(record["renders_per_s"] * record["seconds"] for record in metrics)
        waited = sum(record["waiting_share"] * record["seconds"] for record in metrics)
        facts += [
            ["Renders per second while matching", short(rendered / spent) if spent > 0 else "–"],
            ["Share of that time spent waiting for renders", f"{100 * waited / spent:.0f} %" if spent > 0 else "–"],
            ["Workers", _span([int(record["workers"]) for record in metrics])],
        ]
    if summary.get("threads"):
        facts.append(["Threads of the trainer", str(summary["threads"])])
    if not rows and not facts:
        return ""
    tables = "".join(table([], part, "shares" if part is rows else "") for part in (rows, facts) if part)
    return f'<h2>Speed and cost</h2><div class="cards">{tables}</div>'


def reproduction(config: RunConfig, name: str, run: str, *, finished: bool) -> str:
    """The command and the configuration that repeat the run.

    Args:
        name: of the run folder.
        run: the run folder as a user would name it.
    """
    go_on = shlex.join(["metasim", "train", "--resume", "--out", run])
    return (
        ("" if finished else f"<h2>Go on</h2><p>If the run was stopped:</p><pre>{escape(go_on)}</pre>")
        + f"<h2>Do it again</h2><pre>{escape(command(config, name))}</pre>"
        "<p>The same configuration, seed and versions give the same numbers, on however many workers. "
        "<code>config.json</code> of this run:</p>"
        f"<pre>{escape(json.dumps(asdict(config), indent=2, ensure_ascii=False))}</pre>"
        f'<p class="soft">Method: <a href="{PAPER}">Meta-Sim: Learning to Generate Synthetic Datasets</a>, '
        "Kar et al., ICCV 2019.</p>"
    )


def command(config: RunConfig, name: str) -> str:
    """The command that repeats a run in a new folder beside it."""
    words = ["metasim", "train", config.experiment, "--engine", config.engine, "--seed", str(config.seed)]
    for option, value in (("--mnist", config.mnist), ("--inception-weights", config.inception_weights)):
        words += [option, value] if value else []
    words += ["--out", f"runs/{name}-again"]
    return shlex.join(words + [f"{key}={_value(value)}" for key, value in config.overrides.items()])


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"
