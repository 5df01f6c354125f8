"""The variables of a kind of node: mutable numbers, mutable categories, and the context that they depend on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from trainer.grammar import Grammar, SceneGraph
from trainer.grammar.path import PLACE
from trainer.grammar.scene_graph import Node

#: Names of the factors that are not choices of the grammar.
CLASS, PARENT = "class", "parent"


@dataclass(frozen=True)
class Number:
    """A mutable number of a kind."""

    name: str
    unit: str
    low: float
    high: float
    is_angle: bool
    #: Mean and standard deviation of the grammar's distribution.
    mean: float
    std: float

    @property
    def width(self) -> float:
        """Return the width of the range."""
        return self.high - self.low


@dataclass(frozen=True)
class Factor:
    """A categorical variable of a kind: learned if `mutable`, else context."""

    name: str
    categories: tuple[str, ...]
    mutable: bool
    #: Probability of each category in the grammar.
    frequencies: tuple[float, ...]


@dataclass(frozen=True)
class Variables:
    """The variables of a kind: d numbers and F factors."""

    kind: str
    numbers: tuple[Number, ...]
    factors: tuple[Factor, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all fields, as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Variables":
        """Return the variables that `to_json` has described."""
        numbers = tuple(Number(**each) for each in content["numbers"])
        factors = tuple(
            Factor(each["name"], tuple(each["categories"]), each["mutable"], tuple(each["frequencies"]))
            for each in content["factors"]
        )
        return cls(content["kind"], numbers, factors)

    @cached_property
    def angles(self) -> np.ndarray:
        """Return which numbers are angles, bool [d]."""
        return np.array([number.is_angle for number in self.numbers], dtype=bool)

    @cached_property
    def low(self) -> np.ndarray:
        return np.array([number.low for number in self.numbers], dtype=np.float64)

    @cached_property
    def high(self) -> np.ndarray:
        return np.array([number.high for number in self.numbers], dtype=np.float64)

    @cached_property
    def context(self) -> np.ndarray:
        """Return which factors are context, bool [F]."""
        return np.array([not factor.mutable for factor in self.factors], dtype=bool)

    def residual(self, values: np.ndarray, centre: np.ndarray) -> np.ndarray:
        """Return values - centre [..., d]; differences of angles lie between -180 and 180 degrees."""
        difference = np.asarray(values - centre, dtype=np.float64)
        if self.angles.any():
            difference[..., self.angles] = (difference[..., self.angles] + 180) % 360 - 180
        return difference

    def inside(self, values: np.ndarray) -> np.ndarray:
        """Return values [..., d] inside their ranges: angles wrapped, then all reflected at the bounds."""
        middle = (self.low + self.high) / 2
        values = np.where(self.angles, middle + (values - middle + 180) % 360 - 180, values)
        width = np.maximum(self.high - self.low, 1e-12)
        folded = np.abs((values - self.low + width) % (2 * width) - width)
        outside = (values < self.low) | (values > self.high)
        return np.clip(np.where(outside, self.low + folded, values), self.low, self.high)

    def values_of(self, node: Node) -> list[float]:
        """Return the numbers [d] of a node."""
        return [node.values[number.name] for number in self.numbers]

    def categories_of(self, scene: SceneGraph, node: Node) -> list[int]:
        """Return the category [F] of each factor of a node; unknown categories count as the first."""
        found = []
        for factor in self.factors:
            if factor.name in (CLASS, PARENT):
                name = node.class_name if factor.name == CLASS else _parent(scene, node)
                found.append(factor.categories.index(name) if name in factor.categories else 0)
            else:
                found.append(node.choices[factor.name])
        return found


def variables_of(
    grammar: Grammar, scenes: Sequence[SceneGraph], learned: Collection[tuple[str, str]]
) -> dict[str, Variables]:
    """Return the variables of each kind with learned attributes.

    Args:
        scenes: scenes of the prior. They show which classes and parents occur.
        learned: kind and name of the numbers and categories that are learned.
    """
    nodes: dict[str, list[tuple[SceneGraph, Node]]] = {}
    for scene in scenes:
        for node in scene.nodes:
            nodes.setdefault(node.kind, []).append((scene, node))
    found = {}
    for kind in grammar.kinds.values():
        if not kind.choices:
            continue
        numbers = tuple(
            Number(s.name, s.unit, s.low, s.high, s.is_angle, s.distribution.mean, s.distribution.std)
            for s in kind.mutable_specs
            if (kind.name, s.name) in learned
        )
        factors = [
            Factor(draw.name, draw.categories, draw.mutable and (kind.name, draw.name) in learned, draw.probabilities)
            for draw in kind.draws
            if len(draw.categories) > 1
        ]
        if not numbers and not any(factor.mutable for factor in factors):
            continue
        own = nodes.get(kind.name, [])
        for name, labels in (
            (CLASS, [node.class_name for _, node in own]),
            (PARENT, [_parent(scene, node) for scene, node in own]),
        ):
            categories = tuple(sorted(set(labels)))
            told = any(_tells(factor.name, [node for _, node in own], labels) for factor in factors)
            if len(categories) > 1 and not told:
                shares = tuple(labels.count(category) / len(labels) for category in categories)
                factors.append(Factor(name, categories, False, shares))
        found[kind.name] = Variables(kind.name, numbers, tuple(factors))
    return found


def _tells(name: str, nodes: Sequence[Node], labels: Sequence[str]) -> bool:
    """Return whether a choice of the nodes determines their labels."""
    pairs = {(node.choices.get(name), label) for node, label in zip(nodes, labels, strict=True)}
    return len(pairs) == len({choice for choice, _ in pairs})


def _parent(scene: SceneGraph, node: Node) -> str:
    """Return the kind of the nearest ancestor that is not a place in a row; empty for root nodes."""
    while node.parent is not None:
        node = scene.nodes[node.parent]
        if node.kind != PLACE:
            return node.kind
    return ""
