"""Angles that a symmetry of a model makes ambiguous: images cannot tell their values apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.assets.symmetries import Symmetry
from trainer.grammar.distributions import Constant
from trainer.grammar.grammar import Grammar
from trainer.grammar.nodes import Mesh, NodeKind

_ANGLES = ("yaw", "pitch", "roll")
#: Angles that an attribute takes where the grammar draws it: a symmetry must hold at each.
_SAMPLED_DEG = (-70.0, -20.0, 0.0, 35.0, 110.0)


@dataclass(frozen=True)
class Ambiguity:
    """An angle of a kind of node whose values look alike, for some of the models that the node may show."""

    kind: str
    attribute: str
    #: The smallest turn that cannot be seen; None: no turn can be seen, the attribute is meaningless.
    turn_deg: float | None
    #: The models, by name, and how many the node may show.
    models: tuple[str, ...]
    of: int
    mutable: bool

    @property
    def text(self) -> str:
        """Return the ambiguity as a sentence without a full stop."""
        which = "" if len(self.models) == self.of else f" for {_listed(self.models)} ({len(self.models)} of {self.of})"
        if self.turn_deg is None:
            return f"{self.kind}.{self.attribute} cannot be seen{which}: the model looks the same after any such turn"
        return (
            f"{self.kind}.{self.attribute} is only known up to turns by {self.turn_deg:g} deg{which}: they look alike"
        )


def ambiguities(grammar: Grammar) -> tuple[Ambiguity, ...]:
    """Return the angles that symmetries of the models make ambiguous, by kind, attribute and turn.

    Attributes that are not stated, or are constant, are left out.
    """
    found: list[Ambiguity] = []
    for kind in grammar.kinds.values():
        if not isinstance(kind.content, Mesh) or kind.content.asset is None:
            continue
        asset_set = grammar.asset_sets[kind.content.asset.set]
        items = kind.content.asset.items(len(asset_set))
        for spec in kind.specs:
            if spec.name not in _ANGLES or (isinstance(spec.distribution, Constant) and not spec.mutable):
                continue
            axes = _axes(kind, spec.name)
            models: dict[float | None, list[str]] = {}
            for item in items:
                for turn in _turns(asset_set.symmetries(item), axes):
                    models.setdefault(turn, []).append(asset_set.item_name(item) or str(item))
            found += [
                Ambiguity(kind.name, spec.name, turn, tuple(names), len(items), spec.mutable)
                for turn, names in sorted(models.items(), key=lambda entry: entry[0] or 0.0)
            ]
    return tuple(found)


def _turns(symmetries: Sequence[Symmetry], axes: np.ndarray) -> list[float | None]:
    """Return the smallest turn about the axes [n, 3] that leaves a model's look unchanged: none or one."""
    about = [item.turn_deg for item in symmetries if all(item.is_about(axis) for axis in axes)]
    if not about:
        return []
    turns = [turn for turn in about if turn is not None]
    return [None] if len(turns) < len(about) else [min(turns)]


def _axes(kind: NodeKind, name: str) -> np.ndarray:
    """Return the axes [n, 3] in the model's frame about which an attribute turns it, for the values of its node.

    A node's rotation is Rz(yaw) Ry(pitch) Rx(roll), so what yaw turns about depends on pitch and roll.
    """
    values = {spec.name: spec for spec in kind.specs}

    def angles(other: str) -> Sequence[float]:
        spec = values.get(other)
        if spec is None:
            return (0.0,)
        if isinstance(spec.distribution, Constant) and not spec.mutable:
            return (spec.distribution.value,)
        return _SAMPLED_DEG

    if name == "roll":
        return np.array([(1.0, 0.0, 0.0)])
    axes = []
    for roll in np.deg2rad(angles("roll")):
        if name == "pitch":
            axes.append((0.0, np.cos(roll), -np.sin(roll)))
            continue
        for pitch in np.deg2rad(angles("pitch")):
            # Rx(-roll) Ry(-pitch) z
            axes.append((-np.sin(pitch), np.sin(roll) * np.cos(pitch), np.cos(roll) * np.cos(pitch)))
    return np.array(axes)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
