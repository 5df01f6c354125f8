"""Notes: observations, derived from a run's records, that its user should act on."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.metrics.attributes import AttributeStatistics
from trainer.metrics.kid import BLOCK
from trainer.runs.formatting import count, score, short, with_unit
from trainer.runs.histories import AttributeHistory

#: An attribute accumulates at an end if this fraction of its values lies within `END` of its range from that end, and
#: the prior has less than half as many there.
PILED, END = 0.1, 0.01
#: Fraction of invisible objects of a kind above which a note is written.
HIDDEN = 0.1
#: Changes above which a distance or score counts as worse: standard errors of KID, fraction of the prior's MMD² (and
#: more than the floor), score.
WORSE_KID, WORSE_MMD, WORSE_SCORE = 2.0, 0.05, 0.02


def notes(
    summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], histories: Sequence[AttributeHistory]
) -> list[str]:
    """Return the notes of a run in plain text, one or two sentences each.

    Args:
        summary: of the run; empty while it is not finished.
    """
    return [
        *(text for history in histories for text in _piled_up(history)),
        *_hidden(metrics),
        *_worse(summary, metrics),
        *_kid_is_missing(summary, metrics),
    ]


def end_fractions(item: AttributeStatistics) -> tuple[float, float]:
    """Return the fractions of values near the lower and upper end of the range, 0 without a range; see `END`."""
    if item.range is None:
        return 0.0, 0.0
    low, high = item.range
    values, margin = np.asarray(item.values), END * (high - low)
    return float(np.mean(values <= low + margin)), float(np.mean(values >= high - margin))


def _piled_up(history: AttributeHistory) -> list[str]:
    learned = history.last
    if learned is None or learned.range is None:
        return []
    before = end_fractions(history.prior) if history.prior else (0.0, 0.0)
    return [
        f"{history.label}: {fraction:.0%} of the learned values lie at the end of its range, "
        f"{with_unit(end, learned.unit)}. Widen the range if the target can lie beyond it."
        for end, fraction, usual in zip(learned.range, end_fractions(learned), before, strict=True)
        if fraction >= PILED and usual < fraction / 2
    ]


def _hidden(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    if not metrics:
        return []
    prior: Mapping[str, float] = next(
        (record["out_of_sight_prior"] for record in metrics if "out_of_sight_prior" in record), {}
    )
    found = []
    for kind, fraction in metrics[-1].get("out_of_sight", {}).items():
        if fraction >= HIDDEN and prior.get(kind, 0.0) < fraction:
            compared = f" (prior: {prior[kind]:.0%})" if kind in prior else ""
            found.append(
                f"{fraction:.0%} of {kind} are not visible{compared}: outside the frame, or behind other objects. "
                "Their labels are missing from the dataset. Narrower ranges of position keep them in view."
            )
    return found


def _worse(summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    if len(metrics) < 2:
        return []
    before, last = metrics[-2:]
    if before.get("stage") != last.get("stage"):  # Every stage learns its own features.
        return []
    found = []
    prior = next((record["mmd_prior"] for record in reversed(metrics) if "mmd_prior" in record), 0.0)
    floor = (summary.get("mmd_floor") or {}).get("upper", 0.0)
    for key, name, least in (
        ("mmd", "MMD²", max(WORSE_MMD * prior, floor)),
        ("kid", "KID", WORSE_KID * last.get("kid_standard_error", 0.0)),
        ("score", "the score", WORSE_SCORE),
    ):
        if key not in before or key not in last:
            continue
        change = (last[key] - before[key]) * (-1 if key == "score" else 1)
        if change > least:
            shown = score if key == "score" else short
            found.append(
                f"In the last epoch {name} got worse: {shown(last[key])} after {shown(before[key])}. A lower "
                "training.learning_rate or more steps may help."
            )
    return found


def _kid_is_missing(summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    if not metrics or "kid" in metrics[-1]:
        return []
    images, target = summary.get("monitor_images"), summary.get("target_images")
    if images is not None and images < 2 * BLOCK:
        return [
            f"KID was not measured: training.monitor_images is {images}, and KID needs {2 * BLOCK} images at least."
        ]
    if target is not None and target < 2 * BLOCK:
        return [f"KID was not measured: the target has {count(target, 'image')}, and KID needs {2 * BLOCK} at least."]
    return []
