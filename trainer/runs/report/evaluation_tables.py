"""Tables of an evaluation: scores of the task network, and distances from the target."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.runs.formatting import score, score_spread, short, signed_percent, with_unit
from trainer.runs.report.run_tables import NOTHING, Table


def score_tables(evaluation: Mapping[str, Any]) -> list[Table]:
    """Return the tables of a scored evaluation: the task's scores, by class, by stage, and after fine-tuning."""
    metric, deviations, errors = evaluation["metric"], evaluation.get("deviations", {}), evaluation.get("errors", False)
    intervals, closed = evaluation.get("intervals", {}), evaluation.get("gap_closed", {})
    rows = []
    for words, of in (
        ("the prior", "prior"),
        ("the learned model", "learned"),
        ("the learned model, translated", "translated"),
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
        if "translated" in tuned["scores"]:
            models.append(("the learned model, translated", "translated"))
        title = f"Scores after fine-tuning on {tuned['images']:,} labelled images of the target"
        note = "None of these images is a test image."
        tables.append(_by_model(title, "Trained before on data from", models, tuned, "fine_tuned", note))
    return tables


def count_tables(evaluation: Mapping[str, Any]) -> list[Table]:
    """Return the table of the mean number of objects in an image, if the task network counts objects."""
    counts = evaluation.get("counts")
    if not counts:
        return []
    rows = [[name, *count_cells(of)] for name, of in counts.items()]
    head, note = ["Objects in an image", "Prior", "Learned"], ""
    photographs = next(iter(counts.values())).get("photographs")
    if photographs:
        head.append("Photographs (95 % interval)")
        note = (
            f"The photographs' means follow from {photographs['labelled']:,} labelled test images and predictions for "
            f"{photographs['unlabelled']:,} others (prediction-powered inference)."
        )
    return [Table("Number of objects", head, rows, note)]


def count_cells(of: Mapping[str, Any]) -> list[str]:
    """Return the mean counts of a class of the prior, the learned model and, with the interval, the photographs."""
    cells = [f"{of[name]:.2f}" for name in ("prior", "learned")]
    if "photographs" in of:
        found = of["photographs"]
        cells.append(f"{found['mean']:.2f} ({found['low']:.2f} to {found['high']:.2f})")
    return cells


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
                "Wasserstein-1 distance, on the circle for angles: the mean amount by which values must move to "
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
        present = [name for name in ("prior", "learned", "translated") if name in images]
        pair = [images[name] for name in present]
        rows = [
            ["MMD²", *(short(of["mmd"]) for of in pair)],
            ["KID", *(f"{short(of['kid'])} ± {short(of['kid_standard_error'])}" for of in pair)],
        ]
        note = (
            f"In the feature space {images['features']}, {pair[0]['images']:,} images each against "
            f"{images['target_images']:,} of the target; KID ± standard error. Both estimators are unbiased, so "
            "values near zero can be negative."
        )
        tables.append(
            Table("Distance of images from the target's", ["Distance", *map(str.capitalize, present)], rows, note)
        )
    return tables


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
