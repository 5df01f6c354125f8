"""Statistics of numeric attributes: exact for the prior, estimated for sampled scenes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import numpy as np

from trainer.grammar import AttributeSpec, SceneGraph
from trainer.grammar.distributions import Distribution, Mixture, Wrapped
from trainer.model.encoding import Encoding

Numbers = TypeVar("Numbers", float, np.ndarray)

#: Integration of a density: number of points, and limits of an unbounded density in standard deviations.
_GRID, _TAIL = 20_001, 8


@dataclass(frozen=True)
class AttributeStatistics:
    """Mean, standard deviation and values of an attribute over all nodes of one kind."""

    kind: str
    name: str
    unit: str
    is_angle: bool
    mean: float  # Circular for angles
    std: float  # RMS deviation from that mean
    values: tuple[float, ...]
    #: Smallest and largest allowed value; None: unknown, or the whole circle.
    range: tuple[float, float] | None = None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "AttributeStatistics":
        """Return the statistics of `to_json`'s result; values are rounded."""
        limits = content.get("range")
        fields = {**content, "values": tuple(content["values"]), "range": None if limits is None else tuple(limits)}
        return cls(**fields)

    def to_json(self) -> dict[str, object]:
        """Return all fields; values are rounded to keep the file small."""
        return {**asdict(self), "values": [round(value, 3) for value in self.values]}

    def outline(self) -> dict[str, object]:
        """Return all fields except the values."""
        return {key: value for key, value in asdict(self).items() if key != "values"}

    def difference(self, other: "AttributeStatistics") -> float:
        """Return this mean minus the other's; for angles within [-180, 180)."""
        return deviation(self.mean, other.mean, self.is_angle)


def attribute_statistics(encoding: Encoding, scenes: Sequence[SceneGraph]) -> list[AttributeStatistics]:
    """Return the statistics of each mutable attribute of the kinds in the scenes, in the encoding's order."""
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


def prior_statistics(encoding: Encoding, scenes: Sequence[SceneGraph]) -> list[AttributeStatistics]:
    """Return the prior's statistics: exact means and standard deviations, and the values of scenes.

    Args:
        scenes: scenes of the prior that supply the values.
    """
    specs = {(kind, spec.name): spec for kind, spec in encoding.mutable}
    found = []
    for item in attribute_statistics(encoding, scenes):
        mean, std = _moments(specs[item.kind, item.name])
        found.append(replace(item, mean=mean, std=std))
    return found


def _moments(spec: AttributeSpec) -> tuple[float, float]:
    """Return mean and standard deviation; for angles the mean direction and the RMS deviation from it."""
    distribution = spec.distribution
    if not spec.is_angle or distribution.discrete:
        return distribution.mean, distribution.std
    low, high = distribution.support
    if not np.isfinite(high - low):
        low, high = (distribution.mean + sign * _TAIL * distribution.std for sign in (-1, 1))
    values = np.linspace(low, high, _GRID)
    density = np.exp(distribution.log_prob(values))
    mean = distribution.mean
    squares = deviation(values, mean, is_angle=True) ** 2
    return mean, float(np.sqrt(np.sum(density * squares) / np.sum(density)))


def summarise(kind: str, name: str, unit: str, is_angle: bool, values: Sequence[float]) -> AttributeStatistics:
    """Return the statistics of the values of one attribute."""
    numbers = np.asarray(values, dtype=np.float64)
    mean = mean_of(numbers, is_angle)
    std = float(np.sqrt(np.mean(deviation(numbers, mean, is_angle) ** 2)))
    return AttributeStatistics(kind, name, unit, is_angle, mean, std, tuple(numbers.tolist()))


@dataclass(frozen=True)
class Component:
    """A component of a mixture."""

    weight: float
    mean: float
    std: float


def components(
    values: Sequence[float], distribution: Distribution, is_angle: bool
) -> list[tuple[Component, Component]]:
    """Return (wanted, found) for each component of a distribution; a distribution other than a mixture has one.

    A value belongs to the component whose mean is nearest. A component without values has the weight 0, and nan as its
    mean and standard deviation.
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
    """Return the mean; for angles, in degrees, the mean direction."""
    return float(np.rad2deg(np.angle(np.exp(1j * np.deg2rad(values)).mean()))) if is_angle else float(values.mean())


def deviation(values: Numbers, centre: float, is_angle: bool) -> Numbers:
    """Return values - centre; for angles, in degrees, the signed shortest difference."""
    return (values - centre + 180) % 360 - 180 if is_angle else values - centre
