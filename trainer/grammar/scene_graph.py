"""Scene graphs: the nodes of one sampled scene, and the addresses of what may change in it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from metasim.v1 import scene_pb2 as pb

from trainer.assets.asset_sets import AssetRef
from trainer.errors import InputError
from trainer.grammar.attribute_table import FULL_TURN
from trainer.grammar.distributions import wrap
from trainer.grammar.nodes import AttributeSpec, ChoiceSpec, Node, NodeKind
from trainer.grammar.placement import resolved
from trainer.grammar.to_wire import scene_to_proto


@dataclass(frozen=True)
class MutableChoice:
    """The address of a categorical attribute that may change."""

    node: int
    spec: ChoiceSpec


@dataclass(frozen=True)
class MutableAttribute:
    """The address of a number that may change: a node, by its index, and an attribute."""

    node: int
    name: str
    spec: AttributeSpec


@dataclass(frozen=True)
class SceneGraph:
    """A scene: nodes, parents before their children."""

    nodes: tuple[Node, ...]
    kinds: Mapping[str, NodeKind] = field(repr=False)
    #: All classes of the grammar, in the order of the class mask; not only those that appear.
    classes: tuple[str, ...] = field(repr=False)
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    #: Seed of whatever is random in a change of the scene: the same scene is always changed alike.
    noise: int = 0
    #: (name, category) of each draw of a mutable production, in order.
    drawn: tuple[tuple[str, int], ...] = ()

    @cached_property
    def choices(self) -> tuple[MutableChoice, ...]:
        """Return every mutable categorical attribute, in the order of the nodes, then of their kind's choices."""
        return tuple(
            MutableChoice(index, spec)
            for index, node in enumerate(self.nodes)
            for spec in self.kinds[node.kind].choices
        )

    @cached_property
    def mutable(self) -> tuple[MutableAttribute, ...]:
        """Return every mutable attribute, in the order of the nodes, then of their kind's specs."""
        return tuple(
            MutableAttribute(index, spec.name, spec)
            for index, node in enumerate(self.nodes)
            for spec in self.kinds[node.kind].mutable_specs
        )

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """Return the indices of the children of each node."""
        lists: list[list[int]] = [[] for _ in self.nodes]
        for index, node in enumerate(self.nodes):
            if node.parent is not None:
                lists[node.parent].append(index)
        return tuple(tuple(indices) for indices in lists)

    def values(self) -> np.ndarray:
        """Return the values of the mutable attributes, float64 [len(mutable)], in their units."""
        return np.array([self.nodes[item.node].values[item.name] for item in self.mutable], dtype=np.float64)

    def with_values(self, values: np.ndarray) -> "SceneGraph":
        """Return the scene with other values of the mutable attributes.

        Args:
            values: [len(mutable)], in their units. Angles are wrapped into their range. Nodes that keep a distance are
                moved apart, and those that stand on a surface do so again: then `values()` differ from these.

        Raises:
            InputError: the shape is wrong, a value is not finite, or lies outside of its range.
        """
        if np.shape(values) != (len(self.mutable),):
            raise InputError(
                f"values have the shape {np.shape(values)}; the scene has {len(self.mutable)} mutable attributes"
            )
        changed: dict[int, dict[str, float]] = {}
        for item, value in zip(self.mutable, values, strict=True):
            changed.setdefault(item.node, dict(self.nodes[item.node].values))[item.name] = self._accept(item, value)
        nodes = list(self.nodes)
        for index, numbers in changed.items():
            nodes[index] = replace(nodes[index], values=numbers)
        scene = replace(self, nodes=tuple(self.in_place(nodes)))
        # The structure is the same: fill the caches of the properties.
        scene.__dict__["mutable"], scene.__dict__["choices"] = self.mutable, self.choices
        return scene

    def in_place(self, nodes: Sequence[Node]) -> Sequence[Node]:
        """Return changed nodes of the scene in places that they can take; see `trainer.grammar.placement`."""
        if not any(node.placement is not None and node.shape is not None for node in nodes):
            return nodes
        free = {(item.node, item.name): (item.spec.low, item.spec.high) for item in self.mutable}
        return resolved(nodes, self.nodes, free)

    def with_poses(self, poses: Mapping[str, pb.Transform]) -> "SceneGraph":
        """Return the scene with the poses of nodes that have settled, by their ids."""
        nodes = list(self.nodes)
        for index, node in enumerate(nodes):
            if node.id in poses:
                pose = poses[node.id]
                moved = {"x": pose.x_m, "y": pose.y_m, "z": pose.z_m}
                turned = {"yaw": pose.yaw_deg, "pitch": pose.pitch_deg, "roll": pose.roll_deg}
                nodes[index] = replace(node, values={**node.values, **moved, **turned})
        return replace(self, nodes=tuple(nodes))

    def to_wire(self, asset_hash: Callable[[AssetRef], str]) -> pb.Scene:
        """Return the scene as a message; `asset_hash` (usually `grammar.assets.hash_of`) names its assets."""
        return scene_to_proto(self.nodes, self.kinds, self.classes, self.background, asset_hash)

    def _accept(self, item: MutableAttribute, value: float) -> float:
        spec, number = item.spec, float(value)
        if spec.is_angle and np.isfinite(number):
            # A range that is not the whole circle is entered from whichever side is nearer.
            number = wrap(number, spec.low if spec.wraps else (spec.low + spec.high) / 2 - FULL_TURN / 2)
        if not spec.low <= number <= spec.high:  # False for nan as well
            raise InputError(
                f"{self.nodes[item.node].id}.{item.name} is {value:g}; "
                f"it must lie between {spec.low:g} and {spec.high:g} {spec.unit}"
            )
        return number
