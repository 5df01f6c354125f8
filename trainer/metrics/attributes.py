"""Distributions of attributes: what a run records of its scenes, and how far two of them are apart."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import numpy as np

from trainer.grammar import SceneGraph
from trainer.grammar.distributions import Distribution, Mixture, Wrapped
from trainer.grammar.nodes import MODE
from trainer.model.encoding import Encoding

Numbers = TypeVar("Numbers", float, np.ndarray)

#: Standard deviations beyond which values are pulled in.
OUTLYING = 3.0


@dataclass(frozen=True)
class AttributeStatistics:
    """An attribute of all nodes of one kind."""

    kind: str
    name: str
    unit: str
    is_angle: bool
    mean: float  # Circular for angles
    std: float  # Of the deviations from that mean
    values: tuple[float, ...]
    #: Smallest and largest value that the grammar allows; None: unknown, or the whole circle.
    range: tuple[float, float] | None = None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "AttributeStatistics":
        """Return what `to_json` was made from; values are rounded."""
        limits = content.get("range")
        fields = {**content, "values": tuple(content["values"]), "range": None if limits is None else tuple(limits)}
        return cls(**fields)

    def to_json(self) -> dict[str, object]:
        """All fields, with the values rounded to keep the file small."""
        return {**asdict(self), "values": [round(value, 3) for value in self.values]}

    def outline(self) -> dict[str, object]:
        """All fields but the values."""
        return {key: value for key, value in asdict(self).items() if key != "values"}

    def difference(self, other: "AttributeStatistics") -> float:
        """This mean minus the other's; for angles within [-180, 180)."""
        return deviation(self.mean, other.mean, self.is_angle)


@dataclass(frozen=True)
class ChoiceStatistics:
    """How often each category of a categorical attribute occurs among all nodes of one kind."""

    kind: str
    name: str
    frequencies: Mapping[str, float]

    def to_json(self) -> dict[str, object]:
        """All fields."""
        return {**asdict(self), "frequencies": {name: round(value, 5) for name, value in self.frequencies.items()}}


def choice_statistics(encoding: Encoding, scenes: Sequence[SceneGraph]) -> list[ChoiceStatistics]:
    """One entry per mutable categorical attribute of the encoding's grammar that the scenes' nodes have too.

    Args:
        scenes: of that grammar, or of the target's.
    """
    found = []
    for kind, choice in encoding.choices:
        nodes = [
            (scene.kinds[kind], node) for scene in scenes for node in scene.nodes if node.kind == kind and node.choices
        ]
        specs = {draw.name: draw for node_kind, _ in nodes[:1] for draw in (*node_kind.draws, *node_kind.choices)}
        if choice.name not in specs:
            continue
        categories = specs[choice.name].categories
        if choice.name == MODE.name and not any(node.choices[MODE.name] for _, node in nodes):
            continue  # A mixture of one component is none.
        counts = np.bincount([node.choices[choice.name] for _, node in nodes], minlength=len(categories))
        found.append(
            ChoiceStatistics(kind, choice.name, dict(zip(categories, (counts / counts.sum()).tolist(), strict=True)))
        )
    return found


def attribute_statistics(encoding: Encoding, scenes: Sequence[SceneGraph]) -> list[AttributeStatistics]:
    """One entry per mutable attribute of a kind that appears in the scenes, in the encoding's order."""
    found: dict[tuple[str, str], list[float]] = {(kind, spec.name): [] for kind, spec in encoding.mutable}
    for scene in scenes:
        for node in scene.nodes:
            for name, value in node.values.items():
                if (node.kind, name) in found:
                    found[node.kind, name].append(value)
    return [
        replace(
            summarise(kind, spec.name, spec.unit, spec.is_angle, found[kind, spec.name]),
            range=None if spec.wraps else (spec.low, spec.high),
        )
        for kind, spec in encoding.mutable
        if found[kind, spec.name]
    ]


def summarise(kind: str, name: str, unit: str, is_angle: bool, values: Sequence[float]) -> AttributeStatistics:
    """Mean and standard deviation of the values of one attribute."""
    numbers = np.asarray(values, dtype=np.float64)
    mean = mean_of(numbers, is_angle)
    std = float(np.sqrt(np.mean(deviation(numbers, mean, is_angle) ** 2)))
    return AttributeStatistics(kind, name, unit, is_angle, mean, std, tuple(numbers.tolist()))


@dataclass(frozen=True)
class Component:
    """A part of a distribution of numbers."""

    weight: float
    mean: float
    std: float


def components(
    values: Sequence[float], distribution: Distribution, is_angle: bool
) -> list[tuple[Component, Component]]:
    """The parts of a distribution, a mixture's components or itself, and what values make of each: (wanted, found).

    Values belong to the part whose mean is nearest; a part without values has the weight 0 and is nan else.
    """
    mixture = distribution.base if isinstance(distribution, Wrapped) else distribution
    parts = (
        list(zip(mixture.weights, mixture.components, strict=True))
        if isinstance(mixture, Mixture)
        else [(1.0, distribution)]
    )
    numbers = np.asarray(values, dtype=np.float64)
    offsets = np.stack([deviation(numbers, part.mean, is_angle) for _, part in parts])
    nearest = np.abs(offsets).argmin(0)
    found = []
    for index, (weight, part) in enumerate(parts):
        own = offsets[index][nearest == index]
        mean = part.mean + float(own.mean()) if len(own) else np.nan
        std = float(own.std()) if len(own) else np.nan
        share = float(np.mean(nearest == index))
        found.append((Component(weight, part.mean, part.std), Component(share, mean, std)))
    return found


def mean_of(values: np.ndarray, is_angle: bool) -> float:
    """The mean; for angles, in degrees, the mean direction."""
    return float(np.rad2deg(np.angle(np.exp(1j * np.deg2rad(values)).mean()))) if is_angle else float(values.mean())


def deviation(values: Numbers, centre: float, is_angle: bool) -> Numbers:
    """values - centre; for angles, in degrees, the shorter way round."""
    return (values - centre + 180) % 360 - 180 if is_angle else values - centre


def without_outliers(values: np.ndarray) -> np.ndarray:
    """The values with those pulled in that lie far outside: images that were misread."""
    middle = np.median(values)
    reach = OUTLYING * np.median(np.abs(values - middle)) / 0.6745  # Of a normal: standard deviations
    return np.clip(values, middle - reach, middle + reach)
