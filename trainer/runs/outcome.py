"""The outcome of a run in words: one sentence, the verdict, and the key figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.runs.formatting import count, score, short
from trainer.runs.histories import AttributeHistory


@dataclass(frozen=True)
class Verdict:
    """The result of the two-sample test on held-out images of the target."""

    text: str
    #: matches, closer or apart: see `trainer.metrics.two_sample`.
    outcome: str


def verdict(summary: Mapping[str, Any]) -> Verdict | None:
    """Return the verdict of the run; None if it has none."""
    found = summary.get("verdict")
    if not found:
        return None
    text = f"{found['text']}."
    return Verdict(text[0].upper() + text[1:], found["outcome"])


def headline(
    summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], histories: Sequence[AttributeHistory]
) -> str:
    """Return the outcome in one sentence of plain text."""
    evaluation = summary.get("evaluation", {})
    if "prior" in evaluation:
        prior, learned = (score(evaluation[key]) for key in ("prior", "learned"))
        return (
            f"Trained on data from the learned model, the task network ({evaluation['task']}) reaches {learned} "
            f"{evaluation['metric']} on the target; trained on data from the prior, {prior}."
        )
    if not metrics:
        return "No epoch is finished yet."
    epochs = count(metrics[-1]["epoch"], "epoch")
    state = f"Trained for {epochs}." if summary else f"Not finished: {epochs} so far."
    learned_values = [
        f"{history.label} is {history.outline(history.last)}"
        + (f" (target {history.outline(history.target)})" if history.target else "")
        for history in histories[:3]
        if history.last is not None
    ]
    return " ".join([state, *([f"{'; '.join(learned_values)}."] if learned_values else [])])


@dataclass(frozen=True)
class ImageDistance:
    """MMD² between rendered images and the target's, with reference values; None: not measured."""

    learned: float
    prior: float | None
    #: The floor: MMD² explained by chance alone.
    floor: float | None

    @property
    def references(self) -> str:
        """Return the prior's distance and the floor as text."""
        known = (("prior", self.prior), ("floor", self.floor))
        return " · ".join(f"{name} {short(value)}" for name, value in known if value is not None)


def image_distance(summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> ImageDistance | None:
    """Return the distance of the verdict, or of the last epoch; None if it was not measured."""
    found = summary.get("verdict")
    if found:
        return ImageDistance(found["mmd"], found["prior_mmd"], found["floor"])
    learned, prior = ([record[key] for record in metrics if key in record][-1:] for key in ("mmd", "mmd_prior"))
    if not learned:
        return None
    floor = summary.get("mmd_floor")
    return ImageDistance(learned[0], prior[0] if prior else None, floor["upper"] if floor else None)
