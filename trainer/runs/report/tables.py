"""Tables of the report as plain text: scores, distances from the target, attributes, cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.runs.formatting import score, score_spread, short, signed_percent, with_unit
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


def score_tables(evaluation: Mapping[str, Any]) -> list[Table]:
    """Return the tables of a scored evaluation: the task's scores, by class, by stage, and after fine-tuning."""
    metric, deviations, errors = evaluation["metric"], evaluation.get("deviations", {}), evaluation.get("errors", False)
    intervals, closed = evaluation.get("intervals", {}), evaluation.get("gap_closed", {})
    rows = []
    for words, of in (
        ("the prior", "prior"),
        ("the learned model", "learned"),
        ("labelled images of the target", "real"),
    ):
        if of not in evaluation:
            continue
        row = [words, score_spread(evaluation[of], deviations.get(of, {}).get(metric), errors=errors)]
        if intervals:
            ends = intervals.get(of, {}).get(metric)
            row.append(" to ".join(score(end, errors=errors) for end in ends) if ends else NOTHING)
        if closed:
            row.append(_gap(closed.get(of)))
        rows.append(row)
    facts = [
        f"{evaluation[key]:,} {text}"
        for key, text in (("train_images", "training images each"), ("test_images", "test images of the target"))
        if key in evaluation
    ]
    if deviations:
        facts.append(f"mean ± standard deviation of {evaluation['networks']} networks")
    seen = (
        "The test images were used neither in training nor in distribution matching."
        if evaluation.get("unseen", True)
        else "Distribution matching used the target's images, without their labels."
    )
    head = [f"Task network ({evaluation['task']}), trained on data from", metric]
    head += ["95 % interval"] * bool(intervals) + ["Gap closed"] * bool(closed)
    if intervals:
        facts.append("intervals are bootstrapped over the test images")
    if closed:
        facts.append("the gap is that between prior and labelled images of the target")
    tables = [Table("", head, rows, f"{'; '.join(facts)}. {seen}", highlight="the learned model")]
    if len(evaluation.get("scores", {}).get("prior", {})) > 1:
        tables.append(_by_class(evaluation["scores"], errors=errors))
    stages = evaluation.get("stages", [])
    if stages:
        models = [("the prior", "prior"), *((stage["name"], stage) for stage in stages)]
        tables.append(_by_model("Scores by stage", "After", models, evaluation, "scores"))
    tuned = evaluation.get("fine_tuned")
    if tuned:
        learned = [(stage["name"], stage) for stage in stages] or [("the learned model", "learned")]
        models = [("nothing", "target"), ("the prior", "prior"), *learned]
        title = f"Scores after fine-tuning on {tuned['images']:,} labelled images of the target"
        note = "None of these images is a test image."
        tables.append(_by_model(title, "Trained before on data from", models, tuned, "fine_tuned", note))
    return tables


def _gap(closed: Mapping[str, Any] | None) -> str:
    """Return the share of the gap that learned data closes, with its interval."""
    if not closed or closed["share"] is None:
        return NOTHING
    ends = closed["interval"]
    return f"{closed['share']:.0%}" + (f" ({ends[0]:.0%} to {ends[1]:.0%})" if ends else "")


def distance_tables(evaluation: Mapping[str, Any]) -> list[Table]:
    """Return the tables of distances from the target: of attributes, layout and images, as far as they are known."""
    tables = [
        Table(title, [head, "Prior", "Learned", "Smaller by"], [_distance(*each) for each in found.items()], note)
        for key, title, head, note in (
            (
                "distances",
                "Distance of attributes from the target's",
                "Attribute",
                "Wasserstein-1 distance, on the circle for angles: the average amount by which values must move to "
                "turn one distribution into the other. Measured on unseen scenes.",
            ),
            (
                "layout",
                "Distance of the layout from the target's",
                "Relative to the camera",
                "Wasserstein-1 distance of the objects' positions ahead of and beside the camera, and of their "
                "headings.",
            ),
        )
        if (found := evaluation.get(key))
    ]
    images = evaluation.get("image_distances")
    if images:
        pair = images["prior"], images["learned"]
        rows = [
            ["MMD²", *(short(of["mmd"]) for of in pair)],
            ["KID", *(f"{short(of['kid'])} ± {short(of['kid_standard_error'])}" for of in pair)],
        ]
        note = (
            f"In the feature space {images['features']}, {pair[0]['images']:,} images each against "
            f"{images['target_images']:,} of the target; KID ± standard error. Both estimators are unbiased, so "
            "values near zero can be negative."
        )
        tables.append(Table("Distance of images from the target's", ["Distance", "Prior", "Learned"], rows, note))
    return tables


def attribute_table(histories: Sequence[AttributeHistory], counts: Mapping[str, Any]) -> Table:
    """Return mean ± standard deviation of each attribute and count for the prior, the learned model and the target.

    Without statistics of the target, its columns are left out.

    Args:
        counts: `summary["counts"]`.
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
    rows += _count_rows(counts)
    head = ["Attribute", "Prior", "Learned", "Target", "Mean off by", "Spread off by"]
    if all(row[3] == NOTHING for row in rows):
        head, rows = head[:3], [row[:3] for row in rows]
    return Table("", head, rows)


def _count_rows(counts: Mapping[str, Any]) -> list[list[str]]:
    by_kind = {of: {item["kind"]: item for item in items or ()} for of, items in counts.items()}
    rows = []
    for kind in by_kind.get("learned", {}):
        items = [by_kind.get(of, {}).get(kind) for of, _ in MODELS]
        cells = [NOTHING if item is None else f"{item['mean']:.2f} ± {item['std']:.2f}" for item in items]
        learned, target = items[1], items[2]
        if learned is not None and target is not None:
            spread = signed_percent(learned["std"] / target["std"] - 1) if target["std"] > 0 else NOTHING
            cells += [short(learned["mean"] - target["mean"]), spread]
        else:
            cells += [NOTHING, NOTHING]
        rows.append([f"{kind}, number in a scene", *cells])
    return rows


@dataclass(frozen=True)
class Frequencies:
    """How often each category of an attribute occurs: fractions by category, for the known ones of `MODELS`."""

    title: str
    models: Sequence[tuple[str, str]]
    rows: Sequence[tuple[str, Sequence[tuple[str, float]]]]


def frequency_tables(choices: Mapping[str, Any]) -> list[Frequencies]:
    """Return the frequencies of each categorical attribute.

    Args:
        choices: `summary["choices"]`.
    """
    by_name = {
        of: {(item["kind"], item["name"]): item["frequencies"] for item in choices.get(of) or ()} for of, _ in MODELS
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


def preparation_table(summary: Mapping[str, Any], histories: Sequence[AttributeHistory]) -> Table | None:
    """Return what preceded the epochs, by attribute: the error of the identity, and the initial shift."""
    errors: Mapping[str, float] = summary.get("reconstruction_error") or {}
    shifts: Mapping[str, Sequence[float]] = (summary.get("search") or {}).get("shift", {})
    if not errors and not shifts:
        return None
    units = {history.label: history.any.unit for history in histories}
    rows = []
    for label in dict.fromkeys([*errors, *shifts]):
        modes = [
            f"{'+' if shift > 0 else ''}{with_unit(shift, units.get(label, '1'))}" for shift in shifts.get(label, ())
        ]
        error = f"{short(100 * errors[label])} %" if label in errors else NOTHING
        rows.append([label, error, " or ".join(modes) or NOTHING])
    return Table("", ["Attribute", "Error of the identity, fraction of the range", "Initial shift"], rows)


def cost_facts(summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> list[Sequence[str]]:
    """Return figures of speed: renders, their rate, waiting time, workers and threads."""
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


def _by_class(scores: Mapping[str, Mapping[str, float]], *, errors: bool) -> Table:
    rows = []
    for name, before in scores["prior"].items():
        after = scores["learned"][name]
        gain = short(before - after) if errors else _points(after - before)
        rows.append([name, score(before, errors=errors), score(after, errors=errors), gain])
    return Table("", ["Score", "Prior", "Learned", "Smaller by" if errors else "Gain (points)"], rows)


def _points(gain: float) -> str:
    return f"{100 * gain:+.1f}".replace("-", "−")


def _by_model(
    title: str,
    head: str,
    models: Sequence[tuple[str, str | Mapping[str, Any]]],
    ends: Mapping[str, Any],
    key: str,
    note: str = "",
) -> Table:
    """Return a row of all scores for each model.

    Args:
        models: the first cell, and a key of `ends["scores"]` or the record of a stage.
        key: where the record of a stage has its scores.
    """
    names = list(ends["scores"]["prior"])
    rows = []
    for words, of in models:
        if isinstance(of, str):
            means, deviations = ends["scores"][of], ends.get("deviations", {}).get(of, {})
        else:
            means, deviations = of[key], of.get(f"{key}_deviations", {})
        cells = (
            score_spread(means[name], deviations.get(name), errors=ends.get("errors", False))
            if name in means
            else NOTHING
            for name in names
        )
        rows.append([words, *cells])
    return Table(title, [head, *names], rows, note)


def _distance(name: str, item: Mapping[str, Any]) -> list[str]:
    smaller = signed_percent(1 - item["learned"] / item["prior"]).lstrip("+") if item["prior"] else NOTHING
    return [name, with_unit(item["prior"], item["unit"]), with_unit(item["learned"], item["unit"]), smaller]
