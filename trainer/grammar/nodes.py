"""Kinds of nodes, as a grammar states them, and the nodes of a sampled scene.

Angles are in degrees, lengths in the grammar's unit; frames are those of `metasim/v1/scene.proto`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from metasim.v1 import scene_pb2 as pb

from trainer.assets.asset_sets import AssetRef
from trainer.assets.shapes import Shape
from trainer.grammar.attribute_table import FULL_TURN
from trainer.grammar.distributions import Categorical, Distribution


@dataclass(frozen=True)
class AttributeSpec:
    """One numeric attribute of a kind of node."""

    name: str
    attribute: "pb.Attribute.ValueType"
    low: float  # Range, inclusive; infinite where unbounded, which a mutable attribute never is
    high: float
    unit: str
    is_angle: bool
    mutable: bool  # As a continuous number
    step: float | None  # Of the probe, to each side, in `unit`; None: half a pixel of motion
    distribution: Distribution
    #: Mutable as a choice among the values of its categorical distribution.
    is_choice: bool = False

    @property
    def wraps(self) -> bool:
        """Whether the range is the whole circle."""
        return self.is_angle and self.high - self.low == FULL_TURN


@dataclass(frozen=True)
class AssetDraw:
    """Which item of a set a node takes. Without groups, every item is equally likely."""

    set: str
    #: Groups of items (by label or by name) and the probability of each; within a group all items are equally likely.
    groups: tuple[tuple[int, ...], ...] = ()
    probabilities: tuple[float, ...] = ()
    #: The groups' names.
    names: tuple[str, ...] = ()
    mutable: bool = False

    def items(self, count: int) -> list[int]:
        """Return the items of a set of `count` that may be drawn."""
        if not self.groups:
            return list(range(count))
        groups = zip(self.groups, self.probabilities, strict=True)
        return sorted({item for group, probability in groups if probability > 0 for item in group})


@dataclass(frozen=True)
class ColorDraw:
    """One of several colours."""

    names: tuple[str, ...]
    #: Red, green and blue of each.
    colors: tuple[tuple[float, float, float], ...]
    probabilities: tuple[float, ...]
    mutable: bool = False


#: Components that a learned mixture may have; the grammar's own distribution is the first.
MODES = 4


@dataclass(frozen=True)
class ChoiceSpec:
    """A categorical attribute of a kind of node.

    `sprite`, `mesh` and `texture` are the group of assets that a node's is drawn from, `color` is its colour, and a
    number's name stands for a number with a categorical distribution. `mode` is not in the grammar: it says which
    component of a learned mixture the node's numbers belong to.
    """

    name: str
    categories: tuple[str, ...]
    #: Of each category in the grammar.
    probabilities: tuple[float, ...]
    mutable: bool


#: The mode of a kind with mutable numbers.
MODE = ChoiceSpec("mode", tuple(str(mode) for mode in range(MODES)), (1.0,) + (0.0,) * (MODES - 1), mutable=True)


@dataclass(frozen=True)
class Sprite:
    asset: AssetDraw


@dataclass(frozen=True)
class Mesh:
    """A primitive (by its wire number) or an asset."""

    primitive: "pb.Primitive.ValueType | None" = None
    asset: AssetDraw | None = None
    texture: AssetDraw | None = None
    #: Roughness, metallic, specular, opacity and uv_scale, where the grammar states them.
    surface: Mapping[str, Distribution] = field(default_factory=dict)
    #: Whether the texture is a material: its other maps come with it.
    maps: bool = False
    #: Of a card, whose `asset` follows from the two.
    front: AssetDraw | None = None
    back: AssetDraw | None = None


@dataclass(frozen=True)
class Camera:
    projection: str  # "orthographic" or "perspective"
    near: float | None = None
    far: float | None = None


@dataclass(frozen=True)
class Light:
    kind: str  # "sun", "point", "area", "environment" or "sky"
    size: float = 0.0  # Apparent diameter in degrees, radius, edge
    #: Of an environment.
    map: AssetDraw | None = None


Content = Sprite | Mesh | Camera | Light | None


@dataclass(frozen=True)
class Along:
    """A row of places along the line of a node, from `start` to `end`, `spacing` apart."""

    start: Distribution
    end: float
    spacing: Distribution
    #: The probability that a place is taken, drawn once for the row.
    keep: Distribution
    #: Offset of a place to the left of the line and above it, and its angle relative to the line.
    y: float = 0.0
    z: float = 0.0
    yaw: float = 0.0
    #: Edges of the histograms that `spacing` and `keep` are learned as; empty where they are not mutable.
    spacing_edges: tuple[float, ...] = ()
    keep_edges: tuple[float, ...] = ()


@dataclass(frozen=True)
class Placement:
    """How the nodes of an entry take their places."""

    #: Least distance to siblings, between footprints; None: none is kept.
    apart: float | None = None
    #: Places that are drawn for a node, and whether a node without a place is left out.
    tries: int = 1000
    fewer: bool = False
    #: Whether nodes stand on what is below them, and whether from the height that the grammar states.
    on_surface: bool = False
    falls: bool = False
    #: Whether nodes fall as rigid bodies before the scene is rendered.
    settles: bool = False


@dataclass(frozen=True)
class Children:
    """An entry of a list of children: a number of nodes, and their kinds."""

    kinds: tuple[str, ...]
    probabilities: tuple[float, ...]
    count: Distribution
    #: The row whose taken places hold the nodes; None: they stand where their attributes say.
    along: Along | None = None
    #: Whether the probabilities of the count and of the kinds are learned.
    mutable_count: bool = False
    mutable_kind: bool = False
    placement: Placement | None = None


@dataclass(frozen=True)
class NodeKind:
    """A kind of node of a grammar."""

    name: str
    #: Its semantic class; "{label}" in it stands for the label of the node's asset; empty: no class.
    class_name: str
    content: Content
    #: The attributes that the grammar states, in the order of the wire's numbers. Others have their default.
    specs: tuple[AttributeSpec, ...]
    children: tuple[Children, ...] = ()
    #: Where red, green and blue are drawn together.
    color: ColorDraw | None = None
    #: Curvature of the line of `along` children, 1 per unit of length; positive: to the left.
    curvature: Distribution | None = None

    @cached_property
    def mutable_specs(self) -> tuple[AttributeSpec, ...]:
        """Return the mutable ones among `specs`, in the same order."""
        return tuple(spec for spec in self.specs if spec.mutable)

    @cached_property
    def draws(self) -> tuple[ChoiceSpec, ...]:
        """Return the categorical attributes, mutable or not, in a fixed order."""
        draws: list[tuple[str, AssetDraw | ColorDraw | None]] = []
        if isinstance(self.content, Sprite):
            draws.append(("sprite", self.content.asset))
        elif isinstance(self.content, Mesh):
            draws += [("mesh", self.content.asset), ("texture", self.content.texture)]
            draws += [("front", self.content.front), ("back", self.content.back)]
        elif isinstance(self.content, Light):
            draws.append(("map", self.content.map))
        draws.append(("color", self.color))
        found = [
            ChoiceSpec(name, draw.names, draw.probabilities, draw.mutable)
            for name, draw in draws
            if draw is not None and draw.names
        ]
        for spec in self.specs:
            if isinstance(spec.distribution, Categorical):
                names = tuple(f"{value:g}" for value in spec.distribution.values)
                found.append(ChoiceSpec(spec.name, names, spec.distribution.probabilities, spec.is_choice))
        return tuple(found)

    @cached_property
    def choices(self) -> tuple[ChoiceSpec, ...]:
        """Return the mutable categorical attributes, in the order of `draws`; the mode last."""
        mutable = tuple(draw for draw in self.draws if draw.mutable)
        return (*mutable, MODE) if self.mutable_specs else mutable


@dataclass(frozen=True)
class Node:
    """A node of a sampled scene."""

    id: str
    kind: str
    class_name: str
    parent: int | None
    #: One number for each of the kind's specs, by name.
    values: Mapping[str, float]
    asset: AssetRef | None = None
    #: Of a mesh whose material has one.
    texture: AssetRef | None = None
    #: The other maps of a material: "normal", "roughness" and "metallic", as far as it has them.
    maps: Mapping[str, AssetRef] = field(default_factory=dict)
    #: One number for each entry of a mesh's surface.
    surface: Mapping[str, float] = field(default_factory=dict)
    #: The category of each of the kind's draws and of its mode, by name.
    choices: Mapping[str, int] = field(default_factory=dict)
    placement: Placement | None = None
    #: Of a mesh or a sprite, in worlds where nodes are placed.
    shape: Shape | None = field(default=None, compare=False, repr=False)
    #: Whether the shape is a mesh's, on which others stand; a sprite is flat, its height along y.
    solid: bool = True

    @property
    def flat(self) -> bool:
        """Whether the node is a sprite."""
        return not self.solid

    @property
    def mode(self) -> int:
        """The component of a learned mixture that the node's numbers belong to; 0 in kinds without mutable numbers."""
        return self.choices.get(MODE.name, 0)
