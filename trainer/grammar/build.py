"""Builds a grammar from a validated file, and checks what depends on more than one place of the file."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from trainer.assets.asset_sets import AssetSet
from trainer.environment import Settings
from trainer.grammar.attribute_table import ATTRIBUTES, FULL_TURN, AttributeKind
from trainer.grammar.build_assets import CARD, build_card, build_color, build_draw, build_mesh, open_sets, texture_notes
from trainer.grammar.build_camera import calibrated
from trainer.grammar.build_distribution import between, build_count, build_distribution, build_number, check_sum
from trainer.grammar.build_path import build_along
from trainer.grammar.distributions import Categorical, Constant, Distribution, Wrapped
from trainer.grammar.document import Document, KeyPath
from trainer.grammar.grammar import Grammar, RenderOptions
from trainer.grammar.node_schema import ChildSection, LightSection, NodeSection
from trainer.grammar.nodes import (
    Along,
    AssetDraw,
    AttributeSpec,
    Camera,
    Children,
    ColorDraw,
    Content,
    Light,
    Mesh,
    NodeKind,
    Placement,
    Sprite,
)
from trainer.grammar.path import PLACE, most_places, place_kind
from trainer.grammar.productions import check_options
from trainer.grammar.schema import WorldFile
from trainer.grammar.schema_sections import CountSection
from trainer.grammar.structure_checks import check_cameras, check_cycles, check_flat

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_CONTENTS = ("sprite", "mesh", "camera", "light")
_LIGHT_SIZES = {"sun": 0.5, "point": 0.1, "area": 1.0}
_TABLES = {
    "sun": "sun",
    "point": "point light",
    "area": "area light",
    "environment": "environment",
    "sky": "sky",
}


def build_grammar(
    document: Document, world: WorldFile, *, mnist: Path | None, settings: Settings, learned: bool = True
) -> Grammar:
    """Return the grammar that a document describes.

    Args:
        learned: False: it is a target's, in which no production is mutable, whatever the file says.

    Raises:
        GrammarError: the first fault in the file.
    """
    if world.render is None:
        raise document.error(("render",), "add the size of its images, e.g. {width: 32, height: 32}")
    if not world.nodes:
        raise document.error(("nodes",), "add kinds of nodes, e.g. {camera: {camera: orthographic, fov: 32}}")
    for name in world.nodes:
        if not _NAME.fullmatch(name):
            raise document.error(
                ("nodes", name),
                "a name has up to 100 letters, digits, - and _, and does not begin with a digit",
                show_value=False,
            )
        if name in WorldFile.model_fields:
            raise document.error(
                ("nodes", name), f"{name} is a key of the file; a kind of node needs another name", show_value=False
            )
    if not world.scene:
        raise document.error(("scene",), "add the root nodes, e.g. [camera, car]")
    sets, notes = open_sets(document, world, mnist, settings)
    builder = _KindBuilder(document, world, sets, learned)
    kinds = {name: builder.kind(name, world.nodes[name]) for name in sorted(world.nodes)}
    roots = builder.children(world.scene, ("scene",))
    if builder.rows:
        if PLACE in kinds:
            raise document.error(
                ("nodes", PLACE),
                f"{PLACE} is the name of the places of rows; give the kind another name",
                show_value=False,
            )
        kinds = dict(sorted({**kinds, PLACE: place_kind(builder.rows, world.unit)}.items()))
    check_cycles(document, kinds)
    if world.render.view_transform == "raw":
        check_flat(document, kinds, ("render", "view_transform"))
    check_cameras(document, kinds, roots)
    return Grammar(
        path=document.path,
        unit=world.unit,
        background=world.background,
        max_nodes=world.max_nodes,
        render=RenderOptions(
            width_px=world.render.width,
            height_px=world.render.height,
            samples=world.render.samples,
            filter_width_px=world.render.filter_width,
            view_transform=world.render.view_transform,
            max_bounces=world.render.max_bounces,
        ),
        asset_sets=sets,
        kinds=kinds,
        roots=roots,
        classes=_classes(kinds, sets),
        notes=(*notes, *builder.notes),
    )


class _KindBuilder:
    def __init__(self, document: Document, world: WorldFile, sets: dict[str, AssetSet], learned: bool) -> None:
        self._document, self._world, self._sets, self._learned = document, world, sets, learned
        self.rows: list[Along] = []
        self.notes: list[str] = []

    def kind(self, name: str, section: NodeSection) -> NodeKind:
        keys: KeyPath = ("nodes", name)
        if section.camera is not None and section.camera.calibration is not None:
            section = calibrated(section, section.camera.calibration, self._world, self._document, keys)
        table, content = self._content(section, keys)
        class_name = section.class_ or ""
        self._check_class(class_name, content, keys)
        if section.material is not None and not isinstance(content, Mesh):
            raise self._document.error((*keys, "material"), "only a mesh has a material", show_value=False)
        attributes = ATTRIBUTES[table]
        every = dict.fromkeys(key for rows in ATTRIBUTES.values() for key in rows)
        for attribute in every:
            given = getattr(section, attribute) is not None
            if given and attribute not in attributes:
                raise self._document.error(
                    (*keys, attribute),
                    f"{_with_article(table)} has no {attribute}; it has {', '.join(attributes)}",
                    show_value=False,
                )
        specs = tuple(
            self._spec(row, section, (*keys, row.name))
            for row in attributes.values()
            if self._stated(row, section, keys)
        )
        children = self.children(section.children, (*keys, "children"))
        curvature = None
        if section.curvature is not None:
            curvature = build_number(section.curvature, self._document, (*keys, "curvature"), -math.inf, math.inf)
        return NodeKind(name, class_name, content, specs, children, self._color(section, content, keys), curvature)

    def children(self, sections: list[ChildSection], keys: KeyPath) -> tuple[Children, ...]:
        return tuple(self._child(section, (*keys, index)) for index, section in enumerate(sections))

    def _child(self, section: ChildSection, keys: KeyPath) -> Children:
        at = (*keys, "kind") if self._document.holds((*keys, "kind")) else keys
        names: Mapping[str | int | float, float] = (
            {section.kind: 1.0} if isinstance(section.kind, str) else section.kind
        )
        for name in names:
            if name not in self._world.nodes:
                raise self._document.unknown(at, name, self._world.nodes, "kind of node")
        ordered = {str(name): names[name] for name in sorted(names, key=str)}
        probabilities = check_sum(ordered, self._document, at)  # type: ignore[arg-type]
        mutable_kind = section.mutable and self._learned
        if mutable_kind:
            check_options(tuple(ordered), probabilities, self._document, at, "kind")
        if section.along is None:
            count, mutable_count = self._count(section.count, (*keys, "count"))
            placement = self._placement(section, tuple(ordered), keys)
            return Children(tuple(ordered), probabilities, count, None, mutable_count, mutable_kind, placement)
        if section.count is not None:
            raise self._document.error(keys, "count and along are given; a row has as many nodes as taken places")
        if section.apart is not None:
            raise self._document.error((*keys, "apart"), "places of a row keep their spacing; leave apart out")
        along = build_along(section.along, self._document, (*keys, "along"))
        self.rows.append(along)
        most = most_places(along)
        counts = tuple(float(number) for number in range(most + 1))
        count = Categorical(counts, (1 / len(counts),) * len(counts))
        if not self._learned:
            along = replace(along, spacing_edges=(), keep_edges=())
        placement = self._placement(section, tuple(ordered), keys)
        return Children(tuple(ordered), probabilities, count, along, mutable_kind=mutable_kind, placement=placement)

    def _placement(self, section: ChildSection, kinds: tuple[str, ...], keys: KeyPath) -> Placement | None:
        """Return how the nodes of an entry take their places; None: they stand where their attributes say."""
        if section.apart is None and section.on is None and not section.settle:
            return None
        stated = next(key for key in ("apart", "on", "settle") if getattr(section, key))
        for name in kinds:
            node = self._world.nodes[name]
            if node.mesh is None and (node.sprite is None or section.settle):
                wanted = "a mesh settles" if section.settle else "a mesh or a sprite has a footprint"
                raise self._document.error((*keys, stated), f"only {wanted}, and {name} has none", show_value=False)
        return Placement(
            apart=None if section.apart is None else section.apart.distance,
            tries=1 if section.apart is None else section.apart.tries,
            fewer=section.apart is not None and section.apart.otherwise == "fewer",
            on_surface=section.on is not None,
            falls=any(self._world.nodes[name].z is not None for name in kinds),
            settles=section.settle,
        )

    def _count(self, section: CountSection | None, keys: KeyPath) -> tuple[Distribution, bool]:
        """Return the distribution of a number of nodes, and whether it is mutable."""
        if section is None:
            return Constant(1), False
        count = build_count(section, self._document, keys)
        mutable = section.mutable and self._learned
        if mutable:
            most = int(count.support[1])
            if most >= self._world.max_nodes:
                raise self._document.error(
                    keys, f"it can reach {most} nodes, and max_nodes is {self._world.max_nodes}", show_value=False
                )
            values, probabilities = (
                (count.values, count.probabilities) if isinstance(count, Categorical) else ((count.mean,), (1.0,))
            )
            check_options([f"{value:g}" for value in values], probabilities, self._document, keys, "count")
        return count, mutable

    def _content(self, section: NodeSection, keys: KeyPath) -> tuple[str, Content]:
        given = [name for name in _CONTENTS if getattr(section, name) is not None]
        if len(given) > 1:
            raise self._document.error(
                keys, f"{' and '.join(given)} are given; a node has at most one of them", show_value=False
            )
        for side in ("front", "back"):
            if getattr(section, side) is not None and (section.mesh is None or section.mesh.set != CARD):
                raise self._document.error((*keys, side), "only a card has it: mesh: card", show_value=False)
        if section.sprite is not None:
            return "sprite", Sprite(build_draw(section.sprite, self._document, self._sets, (*keys, "sprite")))
        if section.mesh is not None and section.mesh.set == CARD:
            return "card", build_card(section, self._document, self._sets, keys)
        if section.mesh is not None:
            mesh = build_mesh(section.mesh, section.material, self._document, self._sets, keys)
            self.notes += texture_notes(mesh, self._sets, self._document, keys)
            return "mesh", mesh
        if section.camera is not None:
            camera = section.camera
            if (camera.near or 0.1) >= (camera.far or 1000.0):
                raise self._document.error((*keys, "camera"), "near (default 0.1) must be below far (default 1000)")
            return f"{camera.projection} camera", Camera(camera.projection, camera.near, camera.far)
        if section.light is not None:
            light = section.light
            if light.size is not None and light.kind not in _LIGHT_SIZES:
                raise self._document.error((*keys, "light", "size"), f"the light {light.kind} has no size")
            if light.map is not None and light.kind != "environment":
                raise self._document.error((*keys, "light", "map"), "a map belongs to the light environment")
            if light.kind == "environment":
                return "environment", Light("environment", map=self._map(light, keys))
            size = _LIGHT_SIZES.get(light.kind, 0.0) if light.size is None else light.size
            if light.kind == "area" and size == 0:
                raise self._document.error((*keys, "light", "size"), "the edge of an area light must be above 0")
            if light.kind == "sun" and size > 180:
                raise self._document.error((*keys, "light", "size"), "the diameter of a sun is at most 180 degrees")
            return _TABLES[light.kind], Light(light.kind, size)
        return "nothing", None

    def _map(self, light: LightSection, keys: KeyPath) -> AssetDraw:
        if light.map is None:
            where = (*keys, "light") if self._document.holds((*keys, "light")) else keys
            wanted = "an environment needs a set of maps: light: {kind: environment, map: NAME}"
            raise self._document.error(where, wanted, show_value=False)
        return build_draw(light.map, self._document, self._sets, (*keys, "light", "map"), "environment maps")

    def _color(self, section: NodeSection, content: Content, keys: KeyPath) -> ColorDraw | None:
        if section.color is None:
            return None
        if not isinstance(content, Sprite | Mesh | Light) or (isinstance(content, Mesh) and content.front is not None):
            raise self._document.error(
                (*keys, "color"), "only a sprite, a mesh (but no card) or a light has a colour", show_value=False
            )
        for channel in ("red", "green", "blue"):
            if getattr(section, channel) is not None:
                raise self._document.error(
                    (*keys, channel), "color sets it already; leave one of the two out", show_value=False
                )
        return build_color(section.color, self._document, (*keys, "color"))

    def _check_class(self, class_name: str, content: Content, keys: KeyPath) -> None:
        if class_name and not isinstance(content, Sprite | Mesh):
            raise self._document.error((*keys, "class"), "only a sprite or a mesh has a class")
        if "{label}" in class_name and not _labels(content, self._sets):
            raise self._document.error((*keys, "class"), "{label} needs a set of assets that has labels")

    def _stated(self, row: AttributeKind, section: NodeSection, keys: KeyPath) -> bool:
        if getattr(section, row.name) is not None:
            return True
        if row.default is None:
            raise self._document.error((*keys, row.name), "it has no default; state it")
        return False

    def _spec(self, row: AttributeKind, section: NodeSection, keys: KeyPath) -> AttributeSpec:
        attribute = getattr(section, row.name)
        low, high = self._range(row, attribute.range, (*keys, "range"))
        mutable = attribute.mutable and section.mutable
        distribution = build_distribution(
            attribute, self._document, keys, low, high, circle=row.is_angle and high - low == FULL_TURN
        )
        if mutable and isinstance(distribution, Wrapped) and isinstance(distribution.base, Categorical):
            distribution = distribution.base  # Its values lie on the circle already.
        is_choice = mutable and isinstance(distribution, Categorical)
        mutable = mutable and not is_choice
        if mutable and not high - low < float("inf"):
            raise self._document.error(
                keys, "mutable attributes need a finite range; add e.g. range: [-1, 1]", show_value=False
            )
        if attribute.step is not None and attribute.step > high - low:
            raise self._document.error((*keys, "step"), f"a step must fit into the range, {high - low:g} wide")
        return AttributeSpec(
            name=row.name,
            attribute=row.wire,
            low=low,
            high=high,
            unit=self._world.unit if row.unit == "length" else row.unit,
            is_angle=row.is_angle,
            mutable=mutable,
            step=attribute.step,
            distribution=distribution,
            is_choice=is_choice,
        )

    def _range(self, row: AttributeKind, given: tuple[float, float] | None, keys: KeyPath) -> tuple[float, float]:
        if given is None:
            return row.low, row.high
        low, high = given
        if low >= high:
            raise self._document.error(keys, "low must be below high")
        if low < row.least or high > row.most:
            raise self._document.error(keys, f"{row.name} must lie {between(row.least, row.most)}")
        if row.is_angle and high - low > FULL_TURN:
            raise self._document.error(keys, "a range of angles is at most 360 degrees wide")
        return low, high


def _labels(content: Content, sets: Mapping[str, AssetSet]) -> tuple[int | str, ...]:
    draw = content.asset if isinstance(content, Sprite | Mesh) else None
    return sets[draw.set].labels if draw is not None else ()


def _classes(kinds: Mapping[str, NodeKind], sets: Mapping[str, AssetSet]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for kind in kinds.values():
        if "{label}" in kind.class_name:
            names.update(
                (kind.class_name.replace("{label}", str(label)), None) for label in _labels(kind.content, sets)
            )
        elif kind.class_name:
            names[kind.class_name] = None
    return tuple(names)


def _with_article(name: str) -> str:
    return name if name == "nothing" else f"an {name}" if name[0] in "aeiou" else f"a {name}"
