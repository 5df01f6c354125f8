"""Scenes drawn from a grammar. A pure function of the grammar and the generator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainer.grammar.distributions import draw_index
from trainer.grammar.errors import GrammarError
from trainer.grammar.scene_graph import AssetDraw, AssetRef, Children, Mesh, Node, NodeKind, SceneGraph, Sprite

if TYPE_CHECKING:
    from trainer.grammar.grammar import Grammar


def sample_scene(grammar: Grammar, rng: np.random.Generator) -> SceneGraph:
    """Draws a scene: counts, then kinds, then a node's asset and its attributes, depth first.

    Raises:
        GrammarError: the scene would have more than `grammar.max_nodes` nodes.
    """
    sampler = _Sampler(grammar, rng)
    sampler.add_children(grammar.roots, None)
    return SceneGraph(tuple(sampler.nodes), grammar.kinds, grammar.classes, grammar.background)


class _Sampler:
    def __init__(self, grammar: Grammar, rng: np.random.Generator) -> None:
        self.nodes: list[Node] = []
        self._grammar, self._rng = grammar, rng
        self._numbers: dict[str, int] = {}

    def add_children(self, entries: tuple[Children, ...], parent: int | None) -> None:
        for entry in entries:
            for _ in range(int(entry.count.sample(self._rng))):
                choice = 0 if len(entry.kinds) == 1 else draw_index(self._rng, entry.probabilities)
                self._add(self._grammar.kinds[entry.kinds[choice]], parent)

    def _add(self, kind: NodeKind, parent: int | None) -> None:
        if len(self.nodes) >= self._grammar.max_nodes:
            raise GrammarError(
                f"{self._grammar.path}: a scene has more than {self._grammar.max_nodes} nodes; "
                "lower the counts of children or raise max_nodes"
            )
        number = self._numbers[kind.name] = self._numbers.get(kind.name, 0) + 1
        content = kind.content
        asset = self._draw(content.asset) if isinstance(content, Sprite | Mesh) else None
        texture = self._draw(content.texture) if isinstance(content, Mesh) else None
        values = {spec.name: spec.distribution.sample(self._rng) for spec in kind.specs}
        name = kind.class_name
        if asset is not None and "{label}" in name:
            name = name.replace("{label}", str(self._grammar.asset_sets[asset.set].label(asset.index)))
        self.nodes.append(Node(f"{kind.name}-{number}", kind.name, name, parent, values, asset, texture))
        if kind.children:
            self.add_children(kind.children, len(self.nodes) - 1)

    def _draw(self, draw: AssetDraw | None) -> AssetRef | None:
        if draw is None:
            return None
        asset_set = self._grammar.asset_sets[draw.set]
        if draw.groups:
            group = draw.groups[draw_index(self._rng, draw.probabilities)]
            index = group[int(self._rng.integers(len(group)))]
        else:
            index = int(self._rng.integers(len(asset_set)))
        return AssetRef(draw.set, index, asset_set.mesh_format(index))
