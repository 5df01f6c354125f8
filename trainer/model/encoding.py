"""Scene graphs as tensors for the distribution transformer, and back.

Every node becomes one row. Its columns are, in this order: the one-hot codes of its kind and of its class, the codes of
its numeric attributes (cosine and sine for an angle, one number scaled to [-1, 1] by the attribute's range, or by its
prior's spread where it has none, for the others), and the one-hot codes of its mutable categorical attributes. Columns
of attributes that a kind lacks are zero.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from trainer.device import upload
from trainer.grammar import AttributeSpec, Grammar, SceneGraph
from trainer.grammar.nodes import MODE, ChoiceSpec

#: Relations of an edge: the transformer has separate weights for the two (paper, section 3.1).
TOP_DOWN, BOTTOM_UP = 0, 1


@dataclass(frozen=True)
class Slot:
    """Where the code of one attribute name stands in a row."""

    name: str
    is_angle: bool
    start: int

    @property
    def width(self) -> int:
        """Number of columns: 2 for an angle, else 1."""
        return 2 if self.is_angle else 1

    @property
    def stop(self) -> int:
        return self.start + self.width


@dataclass(frozen=True)
class GraphBatch:
    """Several scene graphs as one graph without edges between them. N nodes, M mutable attributes in all."""

    #: float32 [N, columns]
    nodes: Tensor
    #: int64 [2, E]: from, to. Each tree edge twice, once per relation.
    edges: Tensor
    #: int64 [E]: TOP_DOWN or BOTTOM_UP
    relations: Tensor
    #: int64 [N]: index of the node's class; -1 where it has none.
    classes: Tensor
    #: float32 [M]: values of the mutable attributes in their units, scene after scene.
    values: Tensor
    #: int64 [M]: row of the node that each belongs to, its place in `Encoding.mutable`, and its node's mode.
    rows: Tensor
    places: Tensor
    modes: Tensor
    #: int64 [C]: row of the node of each mutable categorical attribute, scene after scene, its place in
    #: `Encoding.choices`, and its category.
    choice_rows: Tensor
    choice_places: Tensor
    categories: Tensor

    def to(self, device: str) -> "GraphBatch":
        """Return the batch on a device."""
        return GraphBatch(**{name: upload(tensor, device) for name, tensor in vars(self).items()})


class Encoding:
    """The columns of a grammar, known before any scene is sampled."""

    def __init__(self, grammar: Grammar, device: str = "cpu") -> None:
        """
        Args:
            device: of the batches, and of the transformer that takes them.
        """
        self.grammar, self.device = grammar, device
        self.kinds = tuple(grammar.kinds)
        self.classes = grammar.classes
        #: (kind, spec) of every mutable attribute, in the order of the grammar.
        self.mutable: tuple[tuple[str, AttributeSpec], ...] = tuple(
            (kind, spec) for kind, spec in grammar.specs if spec.mutable
        )
        self._specs = {
            (kind, spec.name): spec for kind, spec in grammar.specs if spec.mutable or spec.distribution.std > 0
        }
        start = len(self.kinds) + len(self.classes)
        self.slots: dict[str, Slot] = {}
        for (_, name), spec in self._specs.items():
            if name not in self.slots:
                self.slots[name] = Slot(name, spec.is_angle, start)
                start = self.slots[name].stop
        #: The columns of all numeric attributes, and those of all categorical ones.
        self.numeric = slice(len(self.kinds) + len(self.classes), start)
        #: (kind, spec) of every mutable categorical attribute, in the order of the grammar.
        self.choices: tuple[tuple[str, ChoiceSpec], ...] = tuple(
            (kind.name, spec) for kind in grammar.kinds.values() for spec in kind.choices
        )
        #: First column of each.
        self.choice_starts: list[int] = []
        for _, choice in self.choices:
            self.choice_starts.append(start)
            start += len(choice.categories)
        self.categorical = slice(self.numeric.stop, start)
        self.columns = start

    def __deepcopy__(self, memo: object) -> "Encoding":
        """Return itself: nothing in it changes."""
        return self

    @staticmethod
    def unit_of(spec: AttributeSpec) -> float:
        """How much of an attribute that is no angle, in its unit, makes 1 in its code."""
        return _scaling(spec)[1]

    @cached_property
    def mode_places(self) -> list[int]:
        """Places of the modes in `choices`."""
        return [place for place, (_, choice) in enumerate(self.choices) if choice is MODE]

    @cached_property
    def _place_of(self) -> dict[tuple[str, str], int]:
        return {(kind, spec.name): place for place, (kind, spec) in enumerate(self.mutable)}

    @cached_property
    def _choice_place_of(self) -> dict[tuple[str, str], int]:
        return {(kind, spec.name): place for place, (kind, spec) in enumerate(self.choices)}

    def encode(self, scenes: Sequence[SceneGraph]) -> GraphBatch:
        """Return scenes of the grammar as one batch, on the encoding's device."""
        rows = sum(len(scene.nodes) for scene in scenes)
        nodes = np.zeros((rows, self.columns), dtype=np.float32)
        classes = np.full(rows, -1, dtype=np.int64)
        edges: list[tuple[int, int, int]] = []
        mutable: list[tuple[float, int, int, int]] = []
        choices: list[tuple[int, int, int]] = []
        row = 0
        for scene in scenes:
            for index, node in enumerate(scene.nodes):
                code = nodes[row + index]
                code[self.kinds.index(node.kind)] = 1
                if node.class_name:
                    classes[row + index] = self.classes.index(node.class_name)
                    code[len(self.kinds) + classes[row + index]] = 1
                for name, value in node.values.items():
                    spec = self._specs.get((node.kind, name))
                    if spec is not None:
                        slot = self.slots[name]
                        code[slot.start : slot.stop] = _code(spec, value)
                if node.parent is not None:
                    parent, child = row + node.parent, row + index
                    edges += [(parent, child, TOP_DOWN), (child, parent, BOTTOM_UP)]
            for item in scene.mutable:
                node = scene.nodes[item.node]
                place = self._place_of[node.kind, item.name]
                mutable.append((node.values[item.name], row + item.node, place, node.mode))
            for choice in scene.choices:
                node = scene.nodes[choice.node]
                place, category = self._choice_place_of[node.kind, choice.spec.name], node.choices[choice.spec.name]
                nodes[row + choice.node, self.choice_starts[place] + category] = 1
                choices.append((row + choice.node, place, category))
            row += len(scene.nodes)
        links = torch.tensor(edges, dtype=torch.int64).reshape(-1, 3).T
        batch = GraphBatch(
            nodes=torch.from_numpy(nodes),
            edges=links[:2].contiguous(),
            relations=links[2].contiguous(),
            classes=torch.from_numpy(classes),
            values=torch.tensor([value for value, *_ in mutable], dtype=torch.float32),
            rows=_integers(row for _, row, _, _ in mutable),
            places=_integers(place for _, _, place, _ in mutable),
            modes=_integers(mode for *_, mode in mutable),
            choice_rows=_integers(row for row, _, _ in choices),
            choice_places=_integers(place for _, place, _ in choices),
            categories=_integers(category for *_, category in choices),
        )
        return batch.to(self.device)

    def decode(self, nodes: Tensor, batch: GraphBatch) -> Tensor:
        """Values [M], in their units, of the mutable attributes whose codes stand in `nodes` [N, columns].

        An angle is the direction of (cosine, sine), whatever their length. Other values are kept inside their range;
        their gradient passes there only if a descent step would lead back inside.
        """
        values = torch.zeros_like(batch.values)
        for place, (_, spec) in enumerate(self.mutable):
            chosen = (batch.places == place).nonzero().squeeze(1)
            slot = self.slots[spec.name]
            code = nodes[batch.rows[chosen], slot.start : slot.stop]
            if spec.is_angle:
                decoded = torch.rad2deg(torch.atan2(code[:, 1], code[:, 0]))
                if not spec.wraps:
                    middle = (spec.low + spec.high) / 2
                    decoded = middle + (decoded - middle + 180) % 360 - 180
                    decoded = KeepInside.apply(decoded, spec.low, spec.high)
            else:
                centre, scale = _scaling(spec)
                decoded = KeepInside.apply(code[:, 0] * scale + centre, spec.low, spec.high)
            values = values.index_put((chosen,), decoded)
        return values


def _integers(numbers: Iterable[int]) -> Tensor:
    return torch.tensor(list(numbers), dtype=torch.int64)


def with_values(scenes: Sequence[SceneGraph], values: Tensor) -> list[SceneGraph]:
    """The scenes with other values [M] of their mutable attributes, scene after scene."""
    counts = [len(scene.mutable) for scene in scenes]
    parts = torch.split(values.detach().cpu().double(), counts)
    return [
        scene.with_values(
            np.array([_within(item.spec, value) for item, value in zip(scene.mutable, part.tolist(), strict=True)])
        )
        for scene, part in zip(scenes, parts, strict=True)
    ]


def _within(spec: AttributeSpec, value: float) -> float:
    """The value without what float32 has rounded beyond the end of the range."""
    return value if spec.is_angle else min(max(value, spec.low), spec.high)


class KeepInside(torch.autograd.Function):
    """Clamps to [low, high]. Outside, the gradient passes only where descending it leads back inside.

    With the usual clamp, whose gradient is zero outside, a value that once left its range would never return.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high  # type: ignore[attr-defined]
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        outward = ((x > ctx.high) & (grad < 0)) | ((x < ctx.low) & (grad > 0))  # type: ignore[attr-defined]
        return grad.masked_fill(outward, 0), None, None


def _code(spec: AttributeSpec, value: float) -> tuple[float, ...]:
    if spec.is_angle:
        angle = np.deg2rad(value)
        return (float(np.cos(angle)), float(np.sin(angle)))
    centre, scale = _scaling(spec)
    return ((value - centre) / scale,)


def _scaling(spec: AttributeSpec) -> tuple[float, float]:
    """Centre and half width of an attribute that is no angle, in its unit."""
    if np.isfinite(spec.low) and np.isfinite(spec.high):
        return (spec.low + spec.high) / 2, (spec.high - spec.low) / 2
    return spec.distribution.mean, max(2 * spec.distribution.std, 1e-9)
