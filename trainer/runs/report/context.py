"""The content of a run's report, gathered from the run folder as plain values for the template."""

import base64
import io
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainer.runs.folder import Run, RunConfig
from trainer.runs.formatting import score, short
from trainer.runs.histories import attribute_histories
from trainer.runs.notes import notes
from trainer.runs.outcome import headline, image_distance, verdict
from trainer.runs.report import run_tables
from trainer.runs.report.charts import LINE_COLOURS, Line, attribute_chart, line_chart
from trainer.runs.report.evaluation_tables import count_tables, distance_tables, score_tables

#: Maximum number of epoch pictures in a page, and their total size. The last epoch's picture is always included.
MOST_SHEETS, MOST_SHEET_BYTES = 12, 4 << 20
_STAGES = {
    "target": "Obtain the target",
    "pretraining": "Learn the identity",
    "prior": "Render the prior",
    "inference": "Infer the population",
    "epochs": "Match the distributions",
}


def report_context(run: Run) -> dict[str, Any]:
    """Return all values of the template.

    Raises:
        InputError: a file of the run is damaged.
    """
    config, summary, metrics = run.config, run.summary, run.records("metrics.jsonl")
    histories = attribute_histories(run)
    evaluation, choices = summary.get("evaluation") or {}, summary.get("choices") or {}
    return {
        "run": run.folder.resolve().name,
        "name": Path(config.experiment).stem,
        "config": config,
        "finished": bool(summary),
        "headline": headline(summary, metrics, histories),
        "verdict": verdict(summary),
        "figures": _key_figures(summary, metrics),
        "notes": summary["notes"] if "notes" in summary else notes(summary, metrics, histories),
        "pictures": _pictures(run.folder / "samples"),
        "evaluation": evaluation,
        "scores": score_tables(evaluation) if "prior" in evaluation else [],
        "distances": [*count_tables(evaluation), *distance_tables(evaluation)],
        "attributes": run_tables.attribute_table(histories, summary.get("counts") or {}, choices)
        if histories
        else None,
        "charts": [(history.label, history.unit.strip(), attribute_chart(history)) for history in histories],
        "has_target": any(history.target for history in histories),
        "frequencies": run_tables.frequency_tables(choices),
        "ambiguities": summary.get("ambiguities", ()),
        "curves": _learning_curves(metrics),
        "gradient": _gradient(metrics),
        "population": summary.get("population") or (),
        "stages": _stages(summary.get("inference") or ()),
        "preparation": run_tables.preparation_table(summary),
        "features": summary.get("features"),
        "seconds": _seconds(summary),
        "cost": run_tables.cost_facts(summary, metrics),
        "commands": {
            "evaluate": shlex.join(["metasim", "evaluate", _shown(run)]),
            "resume": shlex.join(["metasim", "train", "--resume", "--out", _shown(run)]),
            "repeat": repeat_command(config, run.folder.resolve().name),
        },
        "config_json": json.dumps(asdict(config), indent=2, ensure_ascii=False),
    }


def repeat_command(config: RunConfig, name: str) -> str:
    """Return the command that repeats a run in a new folder next to it."""
    words = ["metasim", "train", config.experiment, "--engine", config.engine, "--seed", str(config.seed)]
    for option, value in (("--mnist", config.mnist), ("--inception-weights", config.inception_weights)):
        words += [option, value] if value else []
    words += ["--out", f"runs/{name}-again"]
    values = ((key, value if isinstance(value, str) else json.dumps(value)) for key, value in config.overrides.items())
    return shlex.join([*words, *(f"{key}={value}" for key, value in values)])


def _key_figures(summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the key figures below the headline: title, value, and reference."""
    figures = []
    evaluation = summary.get("evaluation") or {}
    if "prior" in evaluation:
        before, after = (score(evaluation[of], errors=evaluation.get("errors", False)) for of in ("prior", "learned"))
        figures.append({"title": evaluation["metric"], "value": after, "compared": f"prior {before}"})
    distance = image_distance(summary, metrics)
    if distance is not None:
        value = short(distance.learned)
        figures.append({"title": "MMD² to the target", "value": value, "compared": distance.references})
    for key, title in (("kid", "KID to the target"), ("score", "Score on V")):
        values = [record[key] for record in metrics if key in record]
        prior = [record[f"{key}_prior"] for record in metrics if f"{key}_prior" in record]
        if values:
            compared = f"prior {short(prior[-1])}" if prior else ""
            figures.append({"title": title, "value": short(values[-1]), "compared": compared})
    total = (summary.get("seconds") or {}).get("total")
    if total:
        renders = f"{summary['renders']:,} renders" if summary.get("renders") else ""
        figures.append({"title": "Time", "value": _duration(total), "compared": renders})
    return figures


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _pictures(folder: Path) -> list[dict[str, Any]]:
    """Return pictures of epochs, evenly spaced within the page's limit, including the last epoch's."""
    sheets = {int(path.stem.removeprefix("epoch-")): path for path in sorted(folder.glob("epoch-*.png"))}
    epochs = [epoch for epoch in sheets if epoch > 0] or list(sheets)
    chosen = epochs[-1:]
    for count in range(min(MOST_SHEETS, len(epochs)), 1, -1):
        spaced = [epochs[round(index)] for index in np.linspace(0, len(epochs) - 1, count)]
        if sum(sheets[epoch].stat().st_size for epoch in spaced) <= MOST_SHEET_BYTES:
            chosen = spaced
            break
    return [_picture(epoch, sheets[epoch].read_bytes()) for epoch in chosen]


def _picture(epoch: int, content: bytes) -> dict[str, Any]:
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
    data = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return {"epoch": epoch, "width": width, "height": height, "data": data}


def _learning_curves(metrics: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return charts of the run's objectives: title, SVG and legend."""
    charts = []
    for title, key, label, reference, spread in (
        ("MMD² between rendered and target images", "mmd", "learned", "mmd_prior", ""),
        ("Kernel inception distance ± standard error", "kid", "learned", "kid_prior", "kid_standard_error"),
        ("Score of the task network on V", "score", "score", "baseline", ""),
    ):
        line = _line(metrics, key, label, "learned", spread)
        if line.points:
            name = "moving average" if reference == "baseline" else "prior"
            compared = _reference(metrics, reference, name)
            charts.append(_chart(title, [line, *([compared] if compared.points else [])]))
    hidden = _lines_by_name(metrics, "out_of_sight")
    if any(y > 0 for line in hidden for _, y in line.points):
        charts.append(_chart("Fraction of objects that are not visible, by kind", hidden))
    return charts


def _gradient(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return charts of each attribute's gradient norm and of the probe audits."""
    norms = _lines_by_name(metrics, "gradient_norms")
    if not norms:
        return None
    charts = [_chart("Norm of the loss gradient, by attribute", norms, logarithmic=True)]
    audited = [record for record in metrics if "audit" in record]
    if audited:
        lines = [
            Line(label, [(float(record["epoch"]), float(record["audit"][key])) for record in audited], colour)
            for key, label, colour in (("cosine", "cosine", "learned"), ("norm_ratio", "ratio of norms", "target"))
        ]
        charts.append(_chart("Region renders against full-frame renders; 1 is perfect", lines))
    last = audited[-1] if audited else None
    return {
        "charts": charts,
        "dead": [line.label for line in norms if not line.points[-1][1] > 0],
        "audit": last
        and {
            "columns": f"{last['audit']['columns']:,}",
            "epoch": last["epoch"],
            "cosine": short(last["audit"]["cosine"]),
            "norm_ratio": short(last["audit"]["norm_ratio"]),
            "worst": last["audit_worst"],
        },
    }


def _stages(findings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the title, verdict and refinement result of each stage."""
    stages = []
    for found in findings:
        descent = found.get("descent") or {}
        verdict_text = (descent.get("verdict") or found.get("verdict") or {}).get("text")
        stages.append({"title": found["stage"], "verdict": verdict_text, "kept": descent.get("kept")})
    return stages


def _chart(title: str, lines: Sequence[Line], *, logarithmic: bool = False) -> dict[str, Any]:
    legend = [(line.colour, line.label) for line in lines] if len(lines) > 1 else []
    return {"title": title, "svg": line_chart(title, lines, logarithmic=logarithmic), "legend": legend}


def _line(metrics: Sequence[Mapping[str, Any]], key: str, label: str, colour: str, spread: str = "") -> Line:
    """Return a metric over the epochs that have it."""
    having = [record for record in metrics if key in record]
    points = [(float(record["epoch"]), float(record[key])) for record in having]
    return Line(label, points, colour, [float(record[spread]) for record in having] if spread else ())


def _reference(metrics: Sequence[Mapping[str, Any]], key: str, label: str) -> Line:
    """Return a reference series; a value measured once applies from its epoch on."""
    points = _line(metrics, key, label, "prior").points
    if len(points) == 1:
        points = [points[0], (float(metrics[-1]["epoch"]), points[0][1])]
    return Line(label, points, "prior", reference=True)


def _lines_by_name(metrics: Sequence[Mapping[str, Any]], key: str) -> list[Line]:
    """Return a line for each name under a key of the metrics."""
    names = list(dict.fromkeys(name for record in metrics for name in record.get(key, {})))
    return [
        Line(
            name,
            [(float(record["epoch"]), float(record[key][name])) for record in metrics if name in record.get(key, {})],
            LINE_COLOURS[index % len(LINE_COLOURS)],
        )
        for index, name in enumerate(names)
    ]


def _seconds(summary: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """Return name, time and fraction of each stage, and the total."""
    seconds: dict[str, float] = dict(summary.get("seconds") or {})
    total = seconds.pop("total", sum(seconds.values()))
    if not total > 0:
        return []
    rows = [
        (_STAGES.get(stage, str(stage)), f"{spent:.1f} s", float(spent / total)) for stage, spent in seconds.items()
    ]
    return [*rows, ("Total", f"{total:.1f} s", 0.0)]


def _shown(run: Run) -> str:
    """Return the run folder as typed on the command line."""
    folder = run.folder.resolve()
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)
