"""The outcome of a training run as text for the terminal."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.cli.text_tables import aligned
from trainer.runs.folder import Run
from trainer.runs.formatting import plus_minus, short
from trainer.runs.outcome import image_distance, verdict

#: Columns of a comparison, in their order.
MODELS = ("prior", "learned", "target")


def training_outcome(run: Run, report: Path) -> str:
    """Return a finished run's results, notes, file paths and next commands."""
    summary, folder = run.summary, run.folder
    name, dataset = shlex.quote(str(folder)), shlex.quote(str(Path("datasets") / folder.name))
    pictures = sorted((folder / "samples").glob("epoch-*.png"))
    found, distance = verdict(summary), image_distance(summary, run.records("metrics.jsonl"))
    lines = [
        f"{folder} is done in {summary['seconds']['total']:.0f} s, {summary['renders']:,} renders.",
        *([found.text] if found else []),
        *([f"MMD² to the target: {short(distance.learned)} ({distance.references})"] if distance else []),
        "",
        *_table(summary["attributes"], summary.get("counts") or {}, summary["choices"]),
        *_frequencies(summary["choices"]),
        *(f"Note: {note}" for note in summary.get("notes", ())),
        *([""] if summary.get("notes") else []),
        f"  picture     {pictures[-1] if pictures else folder / 'samples'}",
        f"  report      {report}",
        f"  checkpoint  {folder / 'checkpoint'}",
        "",
        "Next:",
        f"  metasim evaluate {name}    score the learned data",
        f"  metasim generate {name} --count 10000 --format imagefolder --out {dataset}",
    ]
    return "\n".join(lines)


def _table(attributes: Mapping[str, Any], counts: Mapping[str, Any], choices: Mapping[str, Any]) -> list[str]:
    """Return mean ± standard deviation of attributes, counts and numeric choices, one row each, and an empty line."""
    rows: dict[str, dict[str, str]] = {}
    for of in MODELS:
        for item in attributes.get(of) or ():
            label = f"  {item['kind']}.{item['name']} ({item['unit']})"
            rows.setdefault(label, {})[of] = plus_minus(item["mean"], item["std"])
        for item in counts.get(of) or ():
            rows.setdefault(f"  {item['kind']}, number in a scene", {})[of] = plus_minus(item["mean"], item["std"])
        for item in choices.get(of) or ():
            if "mean" in item:
                rows.setdefault(f"  {item['kind']}.{item['name']}", {})[of] = plus_minus(item["mean"], item["std"])
    if not rows:
        return []
    known = [of for of in MODELS if any(of in row for row in rows.values())]
    cells = [[label, *(row.get(of, "") for of in known)] for label, row in rows.items()]
    return [aligned([["mean ± spread", *known], *cells]), ""]


def _frequencies(choices: Mapping[str, Any]) -> list[str]:
    """Return the category frequencies of non-numeric choices, one row each, with an empty line after each choice."""
    by_name = {
        of: {
            f"{item['kind']}.{item['name']}": item["frequencies"]
            for item in choices.get(of) or ()
            if "mean" not in item
        }
        for of in MODELS
    }
    lines = []
    for name, learned in by_name["learned"].items():
        known = [of for of in MODELS if name in by_name[of]]
        rows = [
            [f"  {category}", *(f"{by_name[of][name].get(category, 0.0):.1%}" for of in known)]
            for category in learned
            if any(by_name[of][name].get(category, 0.0) > 0 for of in known)
        ]
        lines += [aligned([[name, *known], *rows]), ""]
    return lines
