"""The part of a run's report that shows what `metasim evaluate` has found."""

import shlex
from collections.abc import Sequence
from html import escape
from typing import Any

from trainer.runs.report.charts import short
from trainer.runs.report.markup import score, table


def scores(summary: dict[str, Any], run: str) -> str:
    """Scores of the task, and how far prior and learned data are from the target.

    Args:
        run: the run folder as a user would name it.
    """
    evaluation = summary.get("evaluation")
    if not evaluation:
        first = "Not evaluated yet." if summary else "The run is not finished. Once it is, it can be evaluated."
        words = shlex.join(["metasim", "evaluate", run])
        return (
            f"<h2>Scores</h2><p>{first} This trains the task network on data from the prior and on data from the "
            f"learned model, and scores both on images of the target:</p><pre>{escape(words)}</pre>"
        )
    return f"<h2>Scores</h2>{_task(evaluation)}{_attributes(evaluation)}{_layout(evaluation)}{_images(evaluation)}"


def _task(evaluation: dict[str, Any]) -> str:
    if "prior" not in evaluation:
        return f"<p>The task ({escape(evaluation['task'])}) is not scored: {escape(evaluation['not_scored'])}.</p>"
    metric, deviations = evaluation["metric"], evaluation.get("deviations", {})
    head = [f"Task network ({escape(evaluation['task'])}), trained on data from", escape(metric)]
    rows = [
        [words, _shown(evaluation[of], deviations.get(of, {}).get(metric))]
        for words, of in (("the prior", "prior"), ("<strong>the learned model</strong>", "learned"))
    ]
    facts = [
        f"{evaluation[key]:,} {text}"
        for key, text in (("train_images", "training images each"), ("test_images", "test images of the target"))
        if key in evaluation
    ]
    if deviations:
        facts.append(f"mean ± standard deviation of {evaluation['networks']} networks")
    seen = (
        "The target's test images were used neither in training nor in distribution matching."
        if evaluation.get("unseen", True)
        else "Distribution matching has seen the target's images, without their labels."
    )
    return (
        f'{table(head, rows, "score")}<p class="soft">{"; ".join(facts)}. {seen}</p>{_every_score(evaluation)}'
        f"{_by_stage(evaluation)}{_fine_tuned(evaluation)}"
    )


def _every_score(evaluation: dict[str, Any]) -> str:
    """Scores by class, or however the task divides them; nothing where there is one alone."""
    found = evaluation.get("scores", {})
    if len(found.get("prior", {})) < 2:
        return ""
    rows = [
        [escape(name), score(before), score(found["learned"][name]), f"{100 * (found['learned'][name] - before):+.1f}"]
        for name, before in found["prior"].items()
    ]
    gain = [[*cells[:3], cells[3].replace("-", "−")] for cells in rows]
    return table(["Score", "Prior", "Learned", "Gain (points)"], gain)


def _by_stage(evaluation: dict[str, Any]) -> str:
    """What the data of each stage is worth; nothing where stages were not asked for."""
    stages = evaluation.get("stages")
    if not stages:
        return ""
    models = [("the prior", "prior"), *((escape(stage["name"]), stage) for stage in stages)]
    return "<h3>Scores by stage</h3>" + _of_models("After", models, evaluation, "scores")


def _fine_tuned(evaluation: dict[str, Any]) -> str:
    """The same after the networks have gone on with labelled images of the target; nothing where they have not."""
    tuned = evaluation.get("fine_tuned")
    if not tuned:
        return ""
    models: list[tuple[str, str | dict[str, Any]]] = [("nothing", "target"), ("the prior", "prior")]
    models += [(escape(stage["name"]), stage) for stage in evaluation.get("stages", [])] or [
        ("the learned model", "learned")
    ]
    return (
        f"<h3>Scores after {tuned['images']:,} labelled images of the target</h3>"
        + _of_models("Trained before on data from", models, tuned, "fine_tuned")
        + '<p class="soft">None of these images is among those that are tested on.</p>'
    )


def _of_models(head: str, models: Sequence[tuple[str, str | dict[str, Any]]], ends: dict[str, Any], key: str) -> str:
    """A row of all scores for each model.

    Args:
        models: words, and what of `ends` they stand for, or a stage.
        ends: `scores`, and perhaps `deviations`, of what is no stage.
        key: where a stage has the same.
    """
    names = list(ends["scores"]["prior"])
    rows = []
    for words, of in models:
        if isinstance(of, str):
            means, deviations = ends["scores"][of], ends.get("deviations", {}).get(of, {})
        else:
            means, deviations = of[key], of.get(f"{key}_deviations", {})
        rows.append([words, *(_shown(means[name], deviations.get(name)) for name in names)])
    return table([head, *(escape(name) for name in names)], rows)


def _shown(mean: float, deviation: float | None) -> str:
    return score(mean) if deviation is None else f"{score(mean)} ± {score(deviation)}"


def _attributes(evaluation: dict[str, Any]) -> str:
    return _distances(
        evaluation.get("distances"),
        "Distance of attributes from the target's",
        "Attribute",
        "By how much values must be moved on average to turn one distribution into the other (Wasserstein distance; on "
        "the circle for angles). Unseen scenes of both.",
    )


def _layout(evaluation: dict[str, Any]) -> str:
    return _distances(
        evaluation.get("layout"),
        "Distance of the layout from the target's",
        "Before the camera",
        "The same for where objects stand: ahead and to the side of the camera, and how they are turned against it.",
    )


def _distances(found: dict[str, Any] | None, title: str, head: str, words: str) -> str:
    if not found:
        return ""
    rows = []
    for name, item in found.items():
        unit = "" if item["unit"] == "1" else f" {item['unit']}".replace(" deg", "°")
        smaller = f"{100 * (1 - item['learned'] / item['prior']):.0f} %" if item["prior"] else "–"
        before, after = (f"{short(item[of])}{escape(unit)}" for of in ("prior", "learned"))
        rows.append([escape(name), before, after, smaller.replace("-", "−")])
    shown = table([head, "Prior", "Learned", "Smaller by"], rows)
    return f'<h3>{title}</h3>{shown}<p class="soft">{words}</p>'


def _images(evaluation: dict[str, Any]) -> str:
    found = evaluation.get("image_distances")
    if not found:
        return ""
    before, after = found["prior"], found["learned"]
    rows = [
        ["MMD²", *(short(of["mmd"]) for of in (before, after))],
        ["KID", *(f"{short(of['kid'])} ± {short(of['kid_standard_error'])}" for of in (before, after))],
    ]
    return (
        "<h3>Distance of images from the target's</h3>"
        + table(["Distance", "Prior", "Learned"], rows)
        + f'<p class="soft">In the feature space {escape(found["features"])}, of {before["images"]:,} images each '
        f"against {found['target_images']:,} of the target; KID ± standard error. Both estimates have no bias, so near "
        "zero they may be negative.</p>"
    )
