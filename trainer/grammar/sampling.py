"""Scenes drawn from the parts of a grammar. Every function is a pure function of its arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from trainer.assets.asset_sets import AssetRef, AssetSet
from trainer.assets.card_set import CardSet
from trainer.assets.shapes import Shape, shape_of_mesh, shape_of_primitive, shape_of_sprite
from trainer.errors import InputError
from trainer.grammar.distributions import Categorical, draw_index
from trainer.grammar.nodes import AssetDraw, Children, ColorDraw, Light, Mesh, Node, NodeKind, Placement, Sprite
from trainer.grammar.path import PLACE, draw_row, pose
from trainer.grammar.placement import Placed, placed, standing
from trainer.grammar.productions import COUNT, KEEP, KIND, SCENE, SPACING, bin_of, production_name
from trainer.grammar.scene_graph import SceneGraph


def sample_nodes(
    roots: Sequence[Children],
    kinds: Mapping[str, NodeKind],
    asset_sets: Mapping[str, AssetSet],
    rng: np.random.Generator,
    most: int,
    *,
    placed: bool = False,
) -> tuple[list[Node], list[tuple[str, int]]] | None:
    """Draw the nodes of a scene, depth first: counts, then kinds, then a node's asset and its attributes.

    Args:
        placed: whether nodes need their shapes; see `Grammar.is_placed`.

    Returns:
        The nodes, parents before their children, and the categories of the mutable productions in the order in which
        they were drawn; None if there would be more than `most` nodes.

    Raises:
        InputError: a node finds no place.
    """
    sampler = _Sampler(kinds, asset_sets, rng, most, placed)
    try:
        sampler.add_children(roots, None, SCENE)
    except _TooManyNodesError:
        return None
    return sampler.nodes, sampler.drawn


def with_choices(scene: SceneGraph, categories: Sequence[int], asset_sets: Mapping[str, AssetSet]) -> SceneGraph:
    """Return the scene with other categories of its mutable categorical attributes.

    Within a category, a node's item follows from the scene's noise.

    Args:
        categories: [len(scene.choices)].
    """
    nodes = list(scene.nodes)
    for place, (item, category) in enumerate(zip(scene.choices, categories, strict=True)):
        node, name = nodes[item.node], item.spec.name
        if node.choices[name] != category:
            rng = np.random.default_rng([scene.noise, place, category])
            drawn = _Drawer(asset_sets, rng).chosen(scene.kinds[node.kind], name, category, node.asset)
            if node.shape is not None and "asset" in drawn:
                drawn["shape"] = shape_of(scene.kinds[node.kind], drawn["asset"], asset_sets)
            nodes[item.node] = replace(
                node,
                choices={**node.choices, name: category},
                values={**node.values, **drawn.pop("values", {})},
                **drawn,
            )
    changed = replace(scene, nodes=tuple(scene.in_place(nodes)))
    changed.__dict__["mutable"], changed.__dict__["choices"] = scene.mutable, scene.choices
    return changed


def shape_of(kind: NodeKind, asset: AssetRef | None, asset_sets: Mapping[str, AssetSet]) -> Shape | None:
    """Return the shape of a node's mesh or sprite; None if it has neither.

    Raises:
        InputError: the file of a mesh or a sprite cannot be read.
    """
    if isinstance(kind.content, Sprite) and asset is not None:
        return shape_of_sprite(asset_sets[asset.set], asset.index)
    if not isinstance(kind.content, Mesh):
        return None
    if asset is not None:
        return shape_of_mesh(asset_sets[asset.set], asset.index)
    return None if kind.content.primitive is None else shape_of_primitive(kind.content.primitive)


class _TooManyNodesError(Exception):
    """The scene has more nodes than are allowed."""


class _Drawer:
    """Draws what a node consists of."""

    def __init__(self, asset_sets: Mapping[str, AssetSet], rng: np.random.Generator) -> None:
        self._asset_sets, self._rng = asset_sets, rng

    def chosen(self, kind: NodeKind, name: str, category: int, asset: AssetRef | None) -> dict[str, Any]:
        """Return the fields of a node that follow from a category of one of its choices.

        Args:
            asset: the node's asset; of a card the other side stays.
        """
        content = kind.content
        if name in ("front", "back") and isinstance(content, Mesh) and asset is not None:
            draw = content.front if name == "front" else content.back
            if draw is not None:
                card = self.card(content, asset, **{name: self.item(draw, category).index})
                return {"asset": card, "class_name": self.class_name(kind, card)}
        if name in ("sprite", "mesh") and isinstance(content, Sprite | Mesh) and content.asset is not None:
            asset = self.item(content.asset, category)
            return {"asset": asset, "class_name": self.class_name(kind, asset)}
        if name == "texture" and isinstance(content, Mesh) and content.texture is not None:
            texture = self.item(content.texture, category)
            return {"texture": texture, "maps": self.maps(content, texture)}
        if name == "map" and isinstance(content, Light) and content.map is not None:
            return {"asset": self.item(content.map, category)}
        if name == "color" and kind.color is not None:
            return {"values": dict(zip(("red", "green", "blue"), kind.color.colors[category], strict=True))}
        for spec in kind.specs:
            if spec.name == name and isinstance(spec.distribution, Categorical):
                return {"values": {name: spec.distribution.values[category]}}
        return {}  # The mode: what it means is learned

    def category(self, draw: AssetDraw | ColorDraw) -> int:
        return draw_index(self._rng, draw.probabilities) if draw.probabilities else 0

    def item(self, draw: AssetDraw, category: int) -> AssetRef:
        asset_set = self._asset_sets[draw.set]
        if draw.groups:
            group = draw.groups[category]
            index = group[int(self._rng.integers(len(group)))]
        else:
            index = int(self._rng.integers(len(asset_set)))
        return AssetRef(draw.set, index, asset_set.mesh_format(index))

    def maps(self, content: Mesh, texture: AssetRef) -> Mapping[str, AssetRef]:
        """Return the other maps of a material; none of a texture."""
        return self._asset_sets[texture.set].maps(texture.index) if content.maps else {}

    def card(
        self, content: Mesh, old: AssetRef | None, front: int | None = None, back: int | None = None
    ) -> AssetRef | None:
        """Return the card with a front and a back; a side that is not given is that of the old card, or the first."""
        if content.asset is None:
            return None
        cards = self._asset_sets[content.asset.set]
        backs = cards.backs if isinstance(cards, CardSet) else 1
        old_front, old_back = divmod(0 if old is None else old.index, backs)
        index = (old_front if front is None else front) * backs + (old_back if back is None else back)
        return AssetRef(content.asset.set, index, cards.mesh_format(index))

    def class_name(self, kind: NodeKind, asset: AssetRef | None) -> str:
        name = kind.class_name
        if asset is not None and "{label}" in name:
            name = name.replace("{label}", str(self._asset_sets[asset.set].label(asset.index)))
        return name


class _Sampler:
    def __init__(
        self,
        kinds: Mapping[str, NodeKind],
        asset_sets: Mapping[str, AssetSet],
        rng: np.random.Generator,
        most: int,
        placed: bool,
    ) -> None:
        self._asset_sets, self._placed = asset_sets, placed
        #: Footprints of nodes that keep a distance, by their parents.
        self._footprints: dict[int | None, list[Placed]] = {}
        self.nodes: list[Node] = []
        self.drawn: list[tuple[str, int]] = []
        self._kinds, self._rng, self._most = kinds, rng, most
        self._drawer = _Drawer(asset_sets, rng)
        self._numbers: dict[str, int] = {}

    def add_children(self, entries: Sequence[Children], parent: int | None, owner: str, curvature: float = 0.0) -> None:
        for number, entry in enumerate(entries):
            if entry.along is None:
                count = entry.count.sample(self._rng)
                if entry.mutable_count and isinstance(entry.count, Categorical):
                    self._record(owner, number, COUNT, entry.count.values.index(count))
                for _ in range(int(count)):
                    self._add(self._kind(entry, owner, number), parent, entry.placement)
                continue
            row = draw_row(entry.along, self._rng)
            if entry.along.keep_edges:
                self._record(owner, number, KEEP, bin_of(row.keep, entry.along.keep_edges))
            if entry.along.spacing_edges:
                for spacing in row.spacings:
                    self._record(owner, number, SPACING, bin_of(spacing, entry.along.spacing_edges))
            for at in row.taken:
                place = self._number(PLACE)
                self.nodes.append(Node(f"{PLACE}-{place}", PLACE, "", parent, pose(entry.along, at, curvature)))
                self._add(self._kind(entry, owner, number), len(self.nodes) - 1, entry.placement)

    def _record(self, owner: str, number: int, part: str, category: int) -> None:
        self.drawn.append((production_name(owner, number, part), category))

    def _kind(self, entry: Children, owner: str, number: int) -> NodeKind:
        choice = 0 if len(entry.kinds) == 1 else draw_index(self._rng, entry.probabilities)
        if entry.mutable_kind:
            self._record(owner, number, KIND, choice)
        return self._kinds[entry.kinds[choice]]

    def _number(self, kind: str) -> int:
        if len(self.nodes) >= self._most:
            raise _TooManyNodesError
        number = self._numbers[kind] = self._numbers.get(kind, 0) + 1
        return number

    def _add(self, kind: NodeKind, parent: int | None, placement: Placement | None) -> None:
        number = self._number(kind.name)
        drawer, content = self._drawer, kind.content
        asset = texture = None
        categories: dict[str, int] = {}
        if isinstance(content, Mesh) and content.asset is not None and content.front is not None:
            sides = {name: draw for name, draw in (("front", content.front), ("back", content.back)) if draw}
            categories |= {name: drawer.category(draw) for name, draw in sides.items()}
            items = {name: drawer.item(draw, categories[name]).index for name, draw in sides.items()}
            asset = drawer.card(content, None, **items)
        elif isinstance(content, Sprite | Mesh) and content.asset is not None:
            name = "sprite" if isinstance(content, Sprite) else "mesh"
            categories[name] = drawer.category(content.asset)
            asset = drawer.item(content.asset, categories[name])
        elif isinstance(content, Light) and content.map is not None:
            categories["map"] = drawer.category(content.map)
            asset = drawer.item(content.map, categories["map"])
        maps: Mapping[str, AssetRef] = {}
        if isinstance(content, Mesh) and content.texture is not None:
            categories["texture"] = drawer.category(content.texture)
            texture = drawer.item(content.texture, categories["texture"])
            maps = drawer.maps(content, texture)
        values = self._values(kind)
        if kind.color is not None:
            categories["color"] = drawer.category(kind.color)
            values |= drawer.chosen(kind, "color", categories["color"], None)["values"]
        for spec in kind.specs:
            if isinstance(spec.distribution, Categorical):
                categories[spec.name] = spec.distribution.values.index(values[spec.name])
        surface = content.surface if isinstance(content, Mesh) else {}
        node = Node(
            id=f"{kind.name}-{number}",
            kind=kind.name,
            class_name=drawer.class_name(kind, asset),
            parent=parent,
            values=values,
            asset=asset,
            texture=texture,
            maps=maps,
            surface={name: distribution.sample(self._rng) for name, distribution in surface.items()},
            choices={choice.name: categories.get(choice.name, 0) for choice in (*kind.draws, *kind.choices)},
            placement=placement,
            shape=shape_of(kind, asset, self._asset_sets) if self._placed else None,
            solid=not isinstance(content, Sprite),
        )
        if placement is not None and placement.apart is not None:
            found = self._with_distance(node, kind, placement)
            if found is None:
                return
            node = found
        self.nodes.append(node)
        if placement is not None and placement.on_surface:
            self.nodes[-1] = standing(self.nodes, len(self.nodes) - 1)
        if kind.children:
            curvature = 0.0 if kind.curvature is None else kind.curvature.sample(self._rng)
            self.add_children(kind.children, len(self.nodes) - 1, kind.name, curvature)

    def _values(self, kind: NodeKind) -> dict[str, float]:
        return {spec.name: spec.distribution.sample(self._rng) for spec in kind.specs}

    def _with_distance(self, node: Node, kind: NodeKind, placement: Placement) -> Node | None:
        """Return the node at a place that keeps its distance: rejection sampling of its numbers; None: left out.

        Raises:
            InputError: it finds no place.
        """
        others = self._footprints.setdefault(node.parent, [])
        for attempt in range(placement.tries):
            if attempt:
                # Numbers that are choices stay: they are categories as well.
                drawn = {name: value for name, value in self._values(kind).items() if name not in node.choices}
                node = replace(node, values={**node.values, **drawn})
            own = placed(node)
            if own is None or all(own.clear_of(other) for other in others):
                if own is not None:
                    others.append(own)
                return node
        if placement.fewer:
            return None
        raise InputError(
            f"{node.id} finds no place that is {placement.apart:g} apart from its siblings in {placement.tries} tries; "
            "lower count or apart, widen the distributions of x and y, or say apart: {otherwise: fewer}"
        )
