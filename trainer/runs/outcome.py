"""The outcome of a run in words: one sentence, the verdict, and the key figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.runs.formatting import count, score, short
from trainer.runs.histories import AttributeHistory


@dataclass(frozen=True)
class Verdict:
    """What the two-sample test on held-out images of the target decided."""

    text: str
    #: None: the test could not decide.
    matches: bool | None


def verdict(summary: Mapping[str, Any]) -> Verdict | None:
    """Return the verdict of the run, None where it has none."""
    found = summary.get("verdict")
    if not found:
        return None
    return Verdict(found["text"], found.get("matches"))


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


def image_distance(summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> str:
    """Return MMD² of the learned model with the prior's and the floor; empty where it was not measured."""
    learned = [record["mmd"] for record in metrics if "mmd" in record][-1:] or list(summary.get("mmd", ()))[-1:]
    if not learned:
        return ""
    parts = [f"MMD² {short(learned[0])}"]
    prior = [record["mmd_prior"] for record in metrics if "mmd_prior" in record][-1:] or summary.get("mmd_prior", ())
    if prior:
        parts.append(f"prior {short(prior[-1])}")
    floor = summary.get("mmd_floor")
    if floor:
        parts.append(f"floor {short(floor['upper'])}")
    return f"{parts[0]} ({', '.join(parts[1:])})" if parts[1:] else parts[0]
