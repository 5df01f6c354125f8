"""The report of a run: one HTML page that needs nothing else, neither files beside it nor a network."""

import base64
import io
import json
import shlex
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

from trainer.reports.attributes import (
    AttributeHistory,
    attribute_cards,
    attribute_histories,
    attribute_table,
    choice_cards,
    reconstruction_table,
)
from trainer.reports.charts import Line, line_chart, short
from trainer.run import Json, Run, RunConfig, write_atomically

#: Pictures of epochs that a page holds at most, and their size together. The last epoch's is always there.
MOST_SHEETS, MOST_SHEET_BYTES = 12, 4 << 20
#: Colours for lines that are told apart by a legend (`.line-0` and on in the template).
LINE_STYLES = 6
PAPER = "https://arxiv.org/abs/1904.11621"
_STAGES = {
    "target": "Render the target",
    "pretraining": "Learn the identity",
    "prior": "Render the prior",
    "search": "Search the start",
    "features": "Learn the features",
    "epochs": "Match the distributions",
}


def write_report(run: Run) -> Path:
    """Writes report.html into the run folder, from whatever the run has recorded so far.

    Raises:
        InputError: a file of the run is damaged.
    """
    summary, metrics, histories = run.summary, run.records("metrics.jsonl"), attribute_histories(run)
    config = run.config
    name = Path(config.experiment).stem
    body = "\n".join(
        part
        for part in (
            _heading(run, config, name, summary, metrics, histories),
            _epoch_slider(histories),
            _pictures(run.folder / "samples"),
            _scores(run, summary),
            _attributes(histories, summary),
            _curves(metrics),
            _preparation(summary, histories),
            _cost(summary, metrics),
            _reproduction(run, config),
        )
        if part
    )
    template = files("trainer.reports").joinpath("template.html").read_text(encoding="utf-8")
    path = run.folder / "report.html"
    write_atomically(path, Template(template).substitute(title=escape(f"{name}: Meta-Sim run"), body=body))
    return path


def outcome(summary: Json, metrics: Sequence[Json], histories: Sequence[AttributeHistory]) -> str:
    """What came out, in one sentence of plain text."""
    evaluation = summary.get("evaluation")
    if evaluation:
        prior, learned = (_score(evaluation[key]) for key in ("prior", "learned"))
        return (
            f"Trained on data from the learned model, the {evaluation.get('task', 'task network')} reaches {learned} "
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
    return f"{state} {_count(last['epoch'], 'epoch')}, {', '.join(reached)}; {', '.join(matched)}."


def _heading(
    run: Run,
    config: RunConfig,
    name: str,
    summary: Json,
    metrics: Sequence[Json],
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
        f'<div class="epochs" data-epochs="{" ".join(map(str, epochs))}" hidden><label for="epoch">Epoch</label>'
        f'<input id="epoch" type="range" min="0" max="{last}" value="{last}"><output>Epoch {epochs[-1]}</output></div>'
    )


def _pictures(folder: Path) -> str:
    sheets = {int(path.stem.removeprefix("epoch-")): path for path in sorted(folder.glob("epoch-*.png"))}
    if not sheets:
        return '<p class="soft">There are no pictures yet.</p>'
    chosen = _chosen([epoch for epoch in sheets if epoch > 0] or list(sheets), sheets)
    images = "".join(_image(sheets[epoch], epoch, hidden=epoch != chosen[-1]) for epoch in chosen)
    return (
        f'<figure><div class="sheet">{images}</div><figcaption>Scenes of the prior, the same scenes as the learned '
        "model changes them, and images of the target.</figcaption></figure>"
    )


def _chosen(epochs: Sequence[int], sheets: dict[int, Path]) -> list[int]:
    """As many of the epochs, evenly spaced, as the page has room for; the last one among them."""
    for count in range(min(MOST_SHEETS, len(epochs)), 1, -1):
        chosen = [epochs[round(place)] for place in np.linspace(0, len(epochs) - 1, count)]
        if sum(sheets[epoch].stat().st_size for epoch in chosen) <= MOST_SHEET_BYTES:
            return chosen
    return [epochs[-1]]


def _image(path: Path, epoch: int, *, hidden: bool) -> str:
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
    return (
        f'<img data-epoch="{epoch}" width="{width}" height="{height}"{" hidden" if hidden else ""} '
        f'alt="Prior, learned and target images after epoch {epoch}" '
        f'src="data:image/png;base64,{base64.b64encode(content).decode()}">'
    )


def _scores(run: Run, summary: Json) -> str:
    evaluation = summary.get("evaluation")
    if not evaluation:
        first = "Not evaluated yet." if summary else "The run is not finished. Once it is, it can be evaluated."
        words = shlex.join(["metasim", "evaluate", _shown(run)])
        return (
            f"<h2>Scores</h2><p>{first} This trains the task network on data from the prior and on data from the "
            f"learned model, and scores both on fresh images of the target:</p><pre>{escape(words)}</pre>"
        )
    rows = "".join(
        f'<tr><td>{label}</td><td class="number">{_score(evaluation[key])}</td></tr>'
        for key, label in (("prior", "the prior"), ("learned", "<strong>the learned model</strong>"))
    )
    facts = [
        f"{evaluation[key]:,} {text}"
        for key, text in (("train_images", "training images each"), ("test_images", "test images of the target"))
        if key in evaluation
    ]
    return (
        f'<h2>Scores</h2><table class="score"><thead><tr><th>{escape(str(evaluation.get("task", "task network")))} '
        f'trained on data from</th><th class="number">{escape(str(evaluation["metric"]))}</th></tr></thead>'
        f'<tbody>{rows}</tbody></table><p class="soft">{"; ".join(facts)}. The target\'s test images were used neither '
        "in training nor in distribution matching.</p>"
    )


def _attributes(histories: Sequence[AttributeHistory], summary: Json) -> str:
    if not histories:
        return choice_cards(summary)
    return (
        "<h2>Attributes</h2><p>What the model may change. Values are means ± standard deviations over scenes; means of "
        f"angles are circular.</p>{attribute_table(histories)}"
        + _legend([("prior", "Prior"), ("learned", "Learned"), ("target", "Target")])
        + attribute_cards(histories)
        + choice_cards(summary)
        + "".join(f"<p>{escape(text)}.</p>" for text in summary.get("ambiguities", []))
    )


def _curves(metrics: Sequence[Json]) -> str:
    if not metrics:
        return ""
    charts = [
        ("MMD² between rendered and target images", [_course(metrics, "mmd", "MMD²", "learned")]),
        (
            "Kernel inception distance of the learned model, with its standard error",
            [_course(metrics, "kid", "KID", "learned", "kid_standard_error")],
        ),
        (
            "Score of the task network on V, and its moving average",
            [_course(metrics, "score", "Score", "learned"), _course(metrics, "baseline", "Baseline", "prior")],
        ),
    ]
    cards = [
        f'<div class="card"><h3>{title}</h3>{line_chart(title, "epoch", lines)}</div>'
        for title, lines in charts
        if lines[0].points
    ]
    names = list(dict.fromkeys(name for record in metrics for name in record.get("gradient_norms", {})))
    norms = [
        Line(
            name,
            [
                (float(record["epoch"]), float(record["gradient_norms"][name]))
                for record in metrics
                if name in record.get("gradient_norms", {})
            ],
            f"line-{index % LINE_STYLES}",
        )
        for index, name in enumerate(names)
    ]
    norm_chart = line_chart("Norm of the loss's gradient per attribute", "epoch", norms, logarithmic=True)
    return (
        f'<h2>Learning curves</h2><div class="cards">{"".join(cards)}'
        f'<div class="card"><h3>Norm of the loss\'s gradient, by attribute</h3>{norm_chart}'
        f"{_legend([(line.style, line.label) for line in norms])}</div></div>"
    )


def _course(metrics: Sequence[Json], key: str, label: str, style: str, spread: str = "") -> Line:
    """A number of the metrics over the epochs that have it."""
    having = [record for record in metrics if key in record]
    return Line(
        label,
        [(float(record["epoch"]), float(record[key])) for record in having],
        style,
        [float(record[spread]) for record in having] if spread else (),
    )


def _preparation(summary: Json, histories: Sequence[AttributeHistory]) -> str:
    if not summary.get("reconstruction_error") and not summary.get("search"):
        return ""
    space = summary.get("features")
    return (
        "<h2>Before the epochs</h2><p>The model first learns to leave scenes as they are; a search over the whole "
        f"ranges then chooses the shift that the descent starts from.</p>{reconstruction_table(summary, histories)}"
        + (f"<p>Images are compared in the feature space <b>{escape(str(space))}</b>.</p>" if space else "")
    )


def _cost(summary: Json, metrics: Sequence[Json]) -> str:
    seconds = dict(summary.get("seconds", {}))
    total = seconds.pop("total", sum(seconds.values()))
    rows = "".join(
        f'<tr><td>{escape(_STAGES.get(stage, stage))}</td><td class="number">{spent:.1f} s</td>'
        f'<td><span class="share" style="width:{10 * spent / total:.2f}rem"></span></td></tr>'
        for stage, spent in seconds.items()
        if total > 0
    )
    if total > 0:
        rows += f'<tr><th>Total</th><th class="number">{total:.1f} s</th><th></th></tr>'
    facts: list[tuple[str, str]] = []
    if summary.get("renders"):
        facts.append(("Images rendered, probes included", f"{summary['renders']:,}"))
    if metrics:
        spent = sum(record["seconds"] for record in metrics)
        rendered = sum(record["renders_per_s"] * record["seconds"] for record in metrics)
        waited = sum(record["waiting_share"] * record["seconds"] for record in metrics)
        facts += [
            ("Renders per second while matching", short(rendered / spent) if spent > 0 else "–"),
            ("Share of that time spent waiting for renders", f"{100 * waited / spent:.0f} %" if spent > 0 else "–"),
            ("Workers", _span([int(record["workers"]) for record in metrics])),
        ]
    if summary.get("threads"):
        facts.append(("Threads of the trainer", str(summary["threads"])))
    if not rows and not facts:
        return ""
    listed = "".join(f'<tr><td>{label}</td><td class="number">{value}</td></tr>' for label, value in facts)
    tables = [f'<div class="scroll"><table><tbody>{part}</tbody></table></div>' for part in (rows, listed) if part]
    return f'<h2>Time and cost</h2><div class="cards">{"".join(tables)}</div>'


def _reproduction(run: Run, config: RunConfig) -> str:
    settings = {
        "experiment": config.experiment,
        "engine": config.engine,
        "seed": config.seed,
        "overrides": dict(config.overrides),
        "versions": dict(config.versions),
    }
    go_on = shlex.join(["metasim", "train", "--resume", "--out", _shown(run)])
    return (
        ("" if run.summary else f"<h2>Go on</h2><p>If the run was stopped:</p><pre>{escape(go_on)}</pre>")
        + f"<h2>Do it again</h2><pre>{escape(command(config, run.folder.resolve().name))}</pre>"
        "<p>The same configuration, seed and versions give the same numbers, on however many workers.</p>"
        f"<pre>{escape(json.dumps(settings, indent=2, ensure_ascii=False))}</pre>"
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


def _shown(run: Run) -> str:
    """The run folder as a user would name it."""
    folder = run.folder.resolve()
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)


def _score(value: float) -> str:
    """Scores between 0 and 1 in percent."""
    return f"{100 * value:.1f} %" if 0 <= value <= 1 else short(value)


def _legend(entries: Sequence[tuple[str, str]]) -> str:
    items = "".join(f'<li class="{style}">{escape(label)}</li>' for style, label in entries)
    return f'<ul class="legend">{items}</ul>'


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
