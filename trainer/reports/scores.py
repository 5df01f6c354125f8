"""The part of a run's report that shows what `metasim evaluate` has found."""

import shlex
from collections.abc import Sequence
from html import escape

from trainer.reports.charts import short
from trainer.reports.markup import score, table
from trainer.run import Json


def scores(summary: Json, run: str) -> str:
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


def _task(evaluation: Json) -> str:
    if "prior" not in evaluation:
        return f"<p>The task ({escape(evaluation['task'])}) is not scored: {escape(evaluation['not_scored'])}.</p>"
    head = [f"Task network ({escape(evaluation['task'])}), trained on data from", escape(evaluation["metric"])]
    rows = [
        ["the prior", score(evaluation["prior"])],
        ["<strong>the learned model</strong>", score(evaluation["learned"])],
    ]
    facts = [
        f"{evaluation[key]:,} {text}"
        for key, text in (("train_images", "training images each"), ("test_images", "test images of the target"))
        if key in evaluation
    ]
    seen = (
        "The target's test images were used neither in training nor in distribution matching."
        if evaluation.get("unseen", True)
        else "Distribution matching has seen the target's images, without their labels."
    )
    return (
        f'{table(head, rows, "score")}<p class="soft">{"; ".join(facts)}. {seen}</p>{_every_score(evaluation)}'
        f"{_by_stage(evaluation)}{_fine_tuned(evaluation)}"
    )


def _every_score(evaluation: Json) -> str:
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


def _by_stage(evaluation: Json) -> str:
    """What the data of each stage is worth; nothing where stages were not asked for."""
    stages = evaluation.get("stages")
    if not stages:
        return ""
    models = [("the prior", evaluation["scores"]["prior"]), *((stage["name"], stage["scores"]) for stage in stages)]
    return "<h3>Scores by stage</h3>" + _of_models("After", models)


def _fine_tuned(evaluation: Json) -> str:
    """The same after the networks have gone on with labelled images of the target; nothing where they have not."""
    tuned = evaluation.get("fine_tuned")
    if not tuned:
        return ""
    stages = [(stage["name"], stage["fine_tuned"]) for stage in evaluation.get("stages", [])]
    models = [("nothing", tuned["scores"]["target"]), ("the prior", tuned["scores"]["prior"])]
    models += stages or [("the learned model", tuned["scores"]["learned"])]
    return (
        f"<h3>Scores after {tuned['images']:,} labelled images of the target</h3>"
        + _of_models("Trained before on data from", models)
        + '<p class="soft">None of these images is among those that are tested on.</p>'
    )


def _of_models(head: str, models: Sequence[tuple[str, Json]]) -> str:
    names = list(models[0][1])
    rows = [[escape(words), *(score(scores[name]) for name in names)] for words, scores in models]
    return table([head, *(escape(name) for name in names)], rows)


def _attributes(evaluation: Json) -> str:
    return _distances(
        evaluation.get("distances"),
        "Distance of attributes from the target's",
        "Attribute",
        "By how much values must be moved on average to turn one distribution into the other (Wasserstein distance; on "
        "the circle for angles). Unseen scenes of both.",
    )


def _layout(evaluation: Json) -> str:
    return _distances(
        evaluation.get("layout"),
        "Distance of the layout from the target's",
        "Before the camera",
        "The same for where objects stand: ahead and to the side of the camera, and how they are turned against it.",
    )


def _distances(found: Json | None, title: str, head: str, words: str) -> str:
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


def _images(evaluation: Json) -> str:
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
