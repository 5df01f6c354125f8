"""What the simulator's features shall say of a scene, and around which values they learn it."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from trainer.grammar import AttributeSpec, SceneGraph
from trainer.grammar.nodes import MODE, MODES, Node
from trainer.metrics.attributes import deviation, mean_of
from trainer.model.encoding import Encoding

#: Windows are so many standard deviations wide, and this fraction of the attribute's range at least, to each side.
SPREADS = 4.0
LEAST = 1 / 8
#: Part of the scenes in which the nodes of a kind draw from the window together.
TOGETHER = 0.5
#: Widest window of an angle, to each side.
WIDEST_ANGLE_DEG = 90.0


@dataclass(frozen=True)
class Window:
    """The values around which the features are learned, in the attributes' units.

    Attributes:
        centre: [MODES, len(encoding.mutable)]; nan where a mode does not occur.
        half_width: the same.
        opposite: names of attributes (KIND, NAME), angles, that are drawn around the opposite direction as often.
    """

    centre: np.ndarray
    half_width: np.ndarray
    opposite: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def around(cls, encoding: Encoding, scenes: Sequence[SceneGraph], spreads: float = SPREADS) -> "Window":
        """Covers the scenes' attributes, mode by mode, and some more."""
        centre = np.full((MODES, len(encoding.mutable)), np.nan)
        half_width = centre.copy()
        for place, (kind, spec) in enumerate(encoding.mutable):
            for mode in range(MODES):
                values = _values(scenes, kind, spec, mode)
                if not len(values):
                    continue
                centre[mode, place] = mean_of(values, spec.is_angle)
                spread = float(np.sqrt(np.mean(deviation(values, centre[mode, place], spec.is_angle) ** 2)))
                width = max(spreads * spread, LEAST * (spec.high - spec.low))
                half_width[mode, place] = min(width, WIDEST_ANGLE_DEG) if spec.is_angle else width
        return cls(centre, half_width)

    def narrowed(self, factor: float) -> "Window":
        """The same centre with half widths times `factor`."""
        return Window(self.centre, self.half_width * factor)

    def scatter(self, encoding: Encoding, scene: SceneGraph, rng: np.random.Generator) -> SceneGraph:
        """The scene with its mutable attributes drawn uniformly from the window of their node's mode.

        The nodes of a kind draw together as often as not: the mean of many that draw alone hardly varies.
        """
        places = {(kind, spec.name): place for place, (kind, spec) in enumerate(encoding.mutable)}
        names = [(scene.nodes[item.node].kind, item.name) for item in scene.mutable]
        drawn = [(rng.uniform(-1, 1), name in self.opposite and rng.random() < 0.5) for name in names]
        together = {name: rng.random() < TOGETHER for name, count in Counter(names).items() if count > 1}
        first = dict(zip(reversed(names), reversed(drawn), strict=True))
        values = []
        for item, name, own in zip(scene.mutable, names, drawn, strict=True):
            offset, turned = first[name] if together.get(name) else own
            at = scene.nodes[item.node].mode, places[name]
            value = self.centre[at] + self.half_width[at] * offset + (180 if turned else 0)
            values.append(value if item.spec.wraps else min(max(value, item.spec.low), item.spec.high))
        return scene.with_values(np.array(values))


@dataclass(frozen=True)
class Readout:
    """The numbers that are read off an image.

    Of every mutable number its mean over the nodes of its kind, in half widths of the window: of an angle, cosine and
    sine, so that nothing tears at half a turn. Of every mutable categorical attribute of the grammar the fraction of
    nodes in each category.
    """

    encoding: Encoding
    #: [len(encoding.mutable)]; for angles the centre is 0 and the width in radians, at most 1.
    centre: np.ndarray
    width: np.ndarray
    #: Multiples of angles that are read.
    multiples: tuple[int, ...] = (1,)

    @classmethod
    def of(cls, encoding: Encoding, window: Window, multiples: tuple[int, ...] = (1,)) -> "Readout":
        """Scaled by a window's middle and typical width."""
        is_angle = np.array([spec.is_angle for _, spec in encoding.mutable], dtype=bool)
        width, centre = np.ones(len(is_angle)), np.zeros(len(is_angle))
        for place, (kind, spec) in enumerate(encoding.mutable):
            seen = np.isfinite(window.centre[:, place])
            if seen.any():  # Else no scene had a node of its kind.
                width[place] = np.median(window.half_width[seen, place])
                centre[place] = window.centre[seen, place].mean()
            if (kind, spec.name) in window.opposite:
                width[place] = 180
        width[is_angle] = np.minimum(np.deg2rad(width[is_angle]), 1.0)
        return cls(encoding, np.where(is_angle, 0.0, centre), width, multiples)

    @cached_property
    def _columns(self) -> list["_Column"]:
        columns = []
        for place, (kind, spec) in enumerate(self.encoding.mutable):
            centre, width = float(self.centre[place]), float(self.width[place])
            if spec.is_angle:
                for multiple in self.multiples:
                    scale = min(1.0, multiple * width)
                    columns += [_Column(kind, spec.name, 0.0, scale, part, multiple) for part in (math.cos, math.sin)]
            else:
                columns.append(_Column(kind, spec.name, centre, width))
        for kind, choice in self.encoding.choices:
            if choice is not MODE:
                columns += [_Column(kind, choice.name, category=i) for i in range(len(choice.categories))]
        return columns

    @property
    def layers(self) -> list[int]:
        """Numbers of the continuous attributes, and of the categorical ones, each if there are any."""
        fractions = sum(column.category is not None for column in self._columns)
        return [size for size in (len(self._columns) - fractions, fractions) if size]

    @cached_property
    def kinds(self) -> list[str]:
        """Kinds of nodes of which something is read."""
        return list(dict.fromkeys(column.kind for column in self._columns))

    @property
    def column_kinds(self) -> list[int]:
        """Of each number the kind that it tells of, by its place in `kinds`."""
        return [self.kinds.index(column.kind) for column in self._columns]

    @property
    def scales(self) -> np.ndarray:
        """What 1 stands for in each number [sum(layers)], in the attribute's unit; of angles in parts of 1."""
        return np.array([column.scale for column in self._columns])

    @property
    def offsets(self) -> np.ndarray:
        """What 0 stands for in each number."""
        return np.array([column.offset for column in self._columns])

    def codes(self, kind: str, nodes: Sequence[Node]) -> np.ndarray:
        """The numbers of each node of a kind [len(nodes), sum(layers)]; those of other kinds are 0."""
        found = np.zeros((len(nodes), len(self._columns)))
        for place, column in enumerate(self._columns):
            if column.kind == kind:
                found[:, place] = [column.of(node) for node in nodes]
        return found

    def read(self, scene: SceneGraph) -> np.ndarray:
        """The numbers of a scene, float32 [sum(layers)]. Kinds that do not occur count as zero."""
        found = np.zeros(len(self._columns))
        for kind in self.kinds:
            nodes = [node for node in scene.nodes if node.kind == kind]
            if nodes:
                found += self.codes(kind, nodes).mean(0)
        return found.astype(np.float32)

    def numbers(self, features: Tensor, multiple: int = 1) -> np.ndarray:
        """Of features, as `read` gives them, the numeric attributes in their units: [N, len(mutable)].

        Args:
            features: [N, D].
            multiple: of angles, which of `multiples` is used; for 2 they are right up to half a turn.
        """
        columns = features.double().numpy() * self.scales + self.offsets
        found = np.zeros((len(columns), len(self.encoding.mutable)))
        names = [(column.kind, column.name, column.multiple) for column in self._columns]
        for place, (kind, spec) in enumerate(self.encoding.mutable):
            if spec.is_angle:
                first = names.index((kind, spec.name, multiple))
                found[:, place] = np.rad2deg(np.arctan2(columns[:, first + 1], columns[:, first])) / multiple
            else:
                found[:, place] = columns[:, names.index((kind, spec.name, 1))]
        return found


@dataclass(frozen=True)
class _Column:
    """One number: (what it is about - offset) / scale."""

    kind: str
    name: str
    offset: float = 0.0
    scale: float = 1.0
    #: Of angles: the cosine or the sine.
    part: Callable[[float], float] | None = None
    multiple: int = 1
    category: int | None = None

    def of(self, node: Node) -> float:
        if self.category is not None:
            return float(node.choices[self.name] == self.category)
        value = node.values[self.name]
        if self.part is not None:
            value = self.part(self.multiple * math.radians(value))
        return (value - self.offset) / self.scale


def _values(scenes: Sequence[SceneGraph], kind: str, spec: AttributeSpec, mode: int) -> np.ndarray:
    return np.array(
        [node.values[spec.name] for scene in scenes for node in scene.nodes if node.kind == kind and node.mode == mode]
    )
