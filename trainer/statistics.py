"""Distributions of attributes: what a run records of its scenes, and how far two of them are apart."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from trainer.grammar import SceneGraph
from trainer.model.encoding import Encoding


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

    def to_json(self) -> dict[str, object]:
        """All fields, with the values rounded to keep the file small."""
        return {**asdict(self), "values": [round(value, 3) for value in self.values]}

    def outline(self) -> dict[str, object]:
        """All fields but the values."""
        return {key: value for key, value in asdict(self).items() if key != "values"}

    def difference(self, other: "AttributeStatistics") -> float:
        """This mean minus the other's; for angles within [-180, 180)."""
        return deviation(self.mean, other.mean, self.is_angle)


def attribute_statistics(encoding: Encoding, scenes: Sequence[SceneGraph]) -> list[AttributeStatistics]:
    """One entry per mutable attribute of a kind that appears in the scenes, in the encoding's order."""
    found: dict[tuple[str, str], list[float]] = {(kind, spec.name): [] for kind, spec in encoding.mutable}
    for scene in scenes:
        for node in scene.nodes:
            for name, value in node.values.items():
                if (node.kind, name) in found:
                    found[node.kind, name].append(value)
    return [
        summarise(kind, spec.name, spec.unit, spec.is_angle, found[kind, spec.name])
        for kind, spec in encoding.mutable
        if found[kind, spec.name]
    ]


def summarise(kind: str, name: str, unit: str, is_angle: bool, values: Sequence[float]) -> AttributeStatistics:
    """Mean and standard deviation of the values of one attribute."""
    numbers = np.asarray(values, dtype=np.float64)
    mean = float(np.rad2deg(np.angle(np.exp(1j * np.deg2rad(numbers)).mean()))) if is_angle else float(numbers.mean())
    std = float(np.sqrt(np.mean([deviation(value, mean, is_angle) ** 2 for value in numbers])))
    return AttributeStatistics(kind, name, unit, is_angle, mean, std, tuple(numbers.tolist()))


def deviation(value: float, centre: float, is_angle: bool) -> float:
    """value - centre; for angles, in degrees, the shorter way round."""
    return (value - centre + 180) % 360 - 180 if is_angle else value - centre
