"""A grammar that has been read and checked: what can be sampled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from metasim.v1 import render_pb2

from trainer.assets.asset_sets import AssetLibrary, AssetSet
from trainer.grammar.sampling import sample_scene, with_choices
from trainer.grammar.scene_graph import AttributeSpec, Children, NodeKind, SceneGraph


@dataclass(frozen=True)
class RenderOptions:
    """How scenes of the grammar are rendered; see `metasim.v1.RenderSettings`."""

    width_px: int
    height_px: int
    samples: int
    filter_width_px: float
    view_transform: str  # "standard" or "raw"
    max_bounces: int


@dataclass(frozen=True)
class Grammar:
    """A probabilistic scene grammar."""

    path: Path
    unit: str
    background: tuple[float, float, float]
    max_nodes: int
    render: RenderOptions
    asset_sets: Mapping[str, AssetSet] = field(repr=False)
    #: Every kind of node, sorted by name: a kind's place here is its place in a one-hot code.
    kinds: Mapping[str, NodeKind]
    roots: tuple[Children, ...]
    #: Every class that a node can have, in the order of the class mask.
    classes: tuple[str, ...]
    #: What the user should be told: data that was not found and what stands in for it.
    notes: tuple[str, ...] = ()

    def sample(self, rng: np.random.Generator) -> SceneGraph:
        """A scene, drawn from the grammar: a function of the grammar and of `rng` alone.

        Raises:
            GrammarError: the scene would have more than `max_nodes` nodes.
        """
        return sample_scene(self, rng)

    def with_choices(self, scene: SceneGraph, categories: Sequence[int]) -> SceneGraph:
        """A scene of the grammar with other categories [len(scene.choices)] of its mutable categorical attributes."""
        return with_choices(self, scene, categories)

    @cached_property
    def specs(self) -> tuple[tuple[str, AttributeSpec], ...]:
        """(kind, spec) of every attribute that the grammar states, in the order of `kinds`."""
        return tuple((kind.name, spec) for kind in self.kinds.values() for spec in kind.specs)

    @cached_property
    def assets(self) -> AssetLibrary:
        """Content hashes and bytes of the grammar's assets: an AssetSource for a pool."""
        return AssetLibrary(self.asset_sets)

    def render_settings(self) -> render_pb2.RenderSettings:
        """The settings on the wire."""
        from trainer.grammar.to_wire import render_settings_to_proto

        return render_settings_to_proto(self.render)
