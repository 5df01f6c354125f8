"""The report of a run: one HTML page that needs nothing else, neither files beside it nor a network."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from trainer.runs.folder import Run, RunConfig, write_atomically
from trainer.runs.report.attributes import (
    AttributeHistory,
    attribute_cards,
    attribute_histories,
    attribute_table,
    choice_cards,
    reconstruction_table,
)
from trainer.runs.report.charts import short
from trainer.runs.report.cost import cost, reproduction
from trainer.runs.report.curves import gradient_health, learning_curves
from trainer.runs.report.epoch_pictures import epoch_pictures
from trainer.runs.report.markup import count, legend, score
from trainer.runs.report.scores import scores


def write_report(run: Run) -> Path:
    """Writes report.html into the run folder, from whatever the run has recorded so far.

    Raises:
        InputError: a file of the run is damaged.
    """
    summary, metrics, histories = run.summary, run.records("metrics.jsonl"), attribute_histories(run)
    config, shown = run.config, _shown(run)
    name = Path(config.experiment).stem
    body = "\n".join(
        part
        for part in (
            _heading(run, config, name, summary, metrics, histories),
            _epoch_slider(histories),
            epoch_pictures(run.folder / "samples"),
            scores(summary, shown),
            _attributes(histories, summary),
            learning_curves(metrics),
            gradient_health(metrics),
            _preparation(summary, histories),
            cost(summary, metrics),
            reproduction(config, run.folder.resolve().name, shown, finished=bool(run.summary)),
        )
        if part
    )
    template = files("trainer.runs.report").joinpath("template.html").read_text(encoding="utf-8")
    path = run.folder / "report.html"
    write_atomically(path, Template(template).substitute(title=escape(f"{name}: Meta-Sim run"), body=body))
    return path


def outcome(summary: dict[str, Any], metrics: Sequence[dict[str, Any]], histories: Sequence[AttributeHistory]) -> str:
    """What came out, in one sentence of plain text."""
    evaluation = summary.get("evaluation", {})
    if "prior" in evaluation:
        prior, learned = (score(evaluation[key]) for key in ("prior", "learned"))
        return (
            f"Trained on data from the learned model, the task network ({evaluation['task']}) reaches {learned} "
            f"{evaluation['metric']} on the target; trained on data from the prior, {prior}."
        )
    if not metrics:
        return "No epoch has been finished yet."
    last = metrics[-1]
    state = "Trained for" if summary else "Not finished: so far"
    matched = [
        f"{history.label} is {history.outline(history.last)}"
        + (f" (target {history.outline(history.target)})" if history.target else "")
        for history in histories[:3]
        if history.last is not None
    ]
    reached = [f"{label} {short(last[key])}" for key, label in (("mmd", "MMD²"), ("score", "score")) if key in last]
    return f"{state} {', '.join([count(last['epoch'], 'epoch'), *reached])}; {', '.join(matched)}."


def _heading(
    run: Run,
    config: RunConfig,
    name: str,
    summary: dict[str, Any],
    metrics: Sequence[dict[str, Any]],
    histories: Sequence[AttributeHistory],
) -> str:
    return (
        f'<p class="kicker">Meta-Sim run {escape(run.folder.resolve().name)} · engine {escape(config.engine)} · '
        f"seed {config.seed}</p><h1>{escape(name)}</h1>"
        f'<p class="outcome">{escape(outcome(summary, metrics, histories))}</p>'
    )


def _epoch_slider(histories: Sequence[AttributeHistory]) -> str:
    epochs = sorted({epoch for history in histories for epoch in history.learned})
    if len(epochs) < 2:
        return ""
    last = len(epochs) - 1
    return (
        f'<div class="epochs" data-epochs="{" ".join(map(str, epochs))}" hidden><button type="button">Play</button>'
        f'<label for="epoch">Epoch</label><input id="epoch" type="range" min="0" max="{last}" value="{last}">'
        f"<output>Epoch {epochs[-1]}</output></div>"
    )


def _attributes(histories: Sequence[AttributeHistory], summary: dict[str, Any]) -> str:
    if not histories:
        return choice_cards(summary)
    return (
        "<h2>Attributes</h2><p>What the model may change. Values are means ± standard deviations over scenes; means of "
        f"angles are circular.</p>{attribute_table(histories)}"
        + legend([("prior", "Prior"), ("learned", "Learned"), ("target", "Target")])
        + attribute_cards(histories)
        + choice_cards(summary)
        + "".join(f"<p>{escape(text)}.</p>" for text in summary.get("ambiguities", []))
    )


def _preparation(summary: dict[str, Any], histories: Sequence[AttributeHistory]) -> str:
    if not summary.get("reconstruction_error") and not summary.get("search"):
        return ""
    space = summary.get("features")
    return (
        "<h2>Before the epochs</h2><p>The model first learns to leave scenes as they are; the shift that the descent "
        f"starts from is then found over the whole ranges.</p>{reconstruction_table(summary, histories)}"
        + (f"<p>Images are compared in the feature space <b>{escape(str(space))}</b>.</p>" if space else "")
    )


def _shown(run: Run) -> str:
    """The run folder as a user would name it."""
    folder = run.folder.resolve()
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)
