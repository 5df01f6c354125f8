"""The mutable attributes of a run, read back from attributes.jsonl: prior, target, and learned by epoch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from trainer.metrics.attributes import AttributeStatistics, deviation
from trainer.runs.folder import Run
from trainer.runs.formatting import plus_minus, unit_suffix


@dataclass
class AttributeHistory:
    """One mutable attribute of a kind over a run."""

    prior: AttributeStatistics | None = None
    target: AttributeStatistics | None = None
    #: By epoch, in ascending order.
    learned: dict[int, AttributeStatistics] = field(default_factory=dict)

    @property
    def any(self) -> AttributeStatistics:
        """Return one of the recorded statistics; all share the kind, the name and the unit."""
        return next(item for item in (self.prior, self.target, self.last) if item is not None)

    @property
    def last(self) -> AttributeStatistics | None:
        """Return the learned statistics of the last epoch."""
        return self.learned[max(self.learned)] if self.learned else None

    @property
    def label(self) -> str:
        return f"{self.any.kind}.{self.any.name}"

    @property
    def unit(self) -> str:
        """Return the suffix of a number in the attribute's unit."""
        return unit_suffix(self.any.unit)

    @cached_property
    def centre(self) -> float:
        """Return the direction opposite the widest gap between all angles, so that a plot splits no distribution."""
        items = [item for item in (self.prior, self.target, *self.learned.values()) if item is not None]
        values = np.sort(np.array([value % 360 for item in items for value in item.values]))
        if not self.any.is_angle or not len(values):
            return 0.0
        gaps = np.diff(values, append=values[0] + 360)
        widest = int(gaps.argmax())
        return deviation(float(values[widest] + gaps[widest] / 2) + 180, 0.0, is_angle=True)

    def unwrapped(self, values: Sequence[float]) -> list[float]:
        """Return values for a plot: angles within half a turn of the centre."""
        return [self.centre + deviation(value, self.centre, self.any.is_angle) for value in values]

    def outline(self, item: AttributeStatistics | None) -> str:
        """Return mean ± standard deviation with the unit; a dash where the statistics are unknown."""
        return "–" if item is None else f"{plus_minus(item.mean, item.std)}{self.unit}"


def attribute_histories(run: Run) -> list[AttributeHistory]:
    """Return all mutable attributes that the run has recorded, in the order of the records.

    Raises:
        InputError: attributes.jsonl is damaged.
    """
    found: dict[tuple[str, str], AttributeHistory] = {}
    for record in run.records("attributes.jsonl"):
        for entry in record["attributes"]:
            item = AttributeStatistics.from_json(entry)
            history = found.setdefault((item.kind, item.name), AttributeHistory())
            if record["of"] == "prior":
                history.prior = item
            elif record["of"] == "target":
                history.target = item
            else:
                history.learned[record["epoch"]] = item
    return list(found.values())
