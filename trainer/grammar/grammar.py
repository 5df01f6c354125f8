"""A grammar that has been read and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from metasim.v1 import render_pb2

from trainer.assets.asset_sets import AssetLibrary, AssetSet
from trainer.errors import GrammarError, InputError
from trainer.grammar.nodes import AttributeSpec, Children, NodeKind
from trainer.grammar.productions import Production, Structure, productions_of, replaced
from trainer.grammar.sampling import sample_nodes, with_choices
from trainer.grammar.scene_graph import SceneGraph

_VIEW_TRANSFORMS = {
    "standard": render_pb2.VIEW_TRANSFORM_STANDARD,
    "raw": render_pb2.VIEW_TRANSFORM_RAW,
}


@dataclass(frozen=True)
class RenderOptions:
    """How scenes of the grammar are rendered; see `metasim.v1.RenderSettings`."""

    width_px: int
    height_px: int
    samples: int
    filter_width_px: float
    view_transform: str  # "standard" or "raw"
    max_bounces: int
    #: Of datasets alone; see `metasim generate --denoise`.
    denoise: bool = False

    def to_wire(self) -> render_pb2.RenderSettings:
        """Return the options as a message."""
        return render_pb2.RenderSettings(
            width_px=self.width_px,
            height_px=self.height_px,
            samples=self.samples,
            filter_width_px=self.filter_width_px,
            view_transform=_VIEW_TRANSFORMS[self.view_transform],
            max_bounces=self.max_bounces,
            denoise=self.denoise,
        )


@dataclass(frozen=True)
class Grammar:
    """A probabilistic scene grammar."""

    path: Path
    unit: str
    background: tuple[float, float, float]
    max_nodes: int
    render: RenderOptions
    asset_sets: Mapping[str, AssetSet] = field(repr=False)
    #: Every kind of node, sorted by name; the order is that of one-hot codes.
    kinds: Mapping[str, NodeKind]
    roots: tuple[Children, ...]
    #: Every class that a node can have, in the order of the class mask.
    classes: tuple[str, ...]
    #: Notes for the user, such as missing data and its replacement.
    notes: tuple[str, ...] = ()

    def sample(self, rng: np.random.Generator) -> SceneGraph:
        """Draw a scene. The result is a function of the grammar and of `rng` alone.

        Raises:
            GrammarError: the scene would have more than `max_nodes` nodes, or a node finds no place.
        """
        try:
            sampled = sample_nodes(self.roots, self.kinds, self.asset_sets, rng, self.max_nodes, placed=self.is_placed)
        except InputError as error:
            raise GrammarError(f"{self.path}: {error}") from error
        if sampled is None:
            raise GrammarError(
                f"{self.path}: a scene has more than {self.max_nodes} nodes; "
                "lower the counts of children or raise max_nodes"
            )
        nodes, drawn = sampled
        noise = int(rng.integers(2**63))
        return SceneGraph(tuple(nodes), self.kinds, self.classes, self.background, noise, tuple(drawn))

    def with_choices(self, scene: SceneGraph, categories: Sequence[int]) -> SceneGraph:
        """Return the scene with other categories of its mutable categorical attributes.

        Args:
            categories: [len(scene.choices)].
        """
        return with_choices(scene, categories, self.asset_sets)

    @cached_property
    def is_placed(self) -> bool:
        """Whether nodes keep distances or stand on surfaces, so that the shapes of all must be known."""
        entries = [*self.roots, *(entry for kind in self.kinds.values() for entry in kind.children)]
        placements = [entry.placement for entry in entries if entry.placement is not None]
        return any(placement.apart is not None or placement.on_surface for placement in placements)

    @cached_property
    def productions(self) -> tuple[Production, ...]:
        """The mutable productions: those of the scene first, then by kind of node, each in the order of the file."""
        return productions_of(self.roots, self.kinds)

    @property
    def structure(self) -> Structure:
        """The probabilities of the mutable productions."""
        return Structure({each.name: each.probabilities for each in self.productions})

    def with_structure(self, structure: Structure) -> "Grammar":
        """Return the grammar with other probabilities of its mutable productions.

        Raises:
            InputError: the structure belongs to other productions.
        """
        structure.check(self.productions)
        roots, kinds = replaced(self.roots, self.kinds, structure)
        return replace(self, roots=roots, kinds=kinds)

    @cached_property
    def specs(self) -> tuple[tuple[str, AttributeSpec], ...]:
        """(kind, spec) of every attribute that the grammar states, in the order of `kinds`."""
        return tuple((kind.name, spec) for kind in self.kinds.values() for spec in kind.specs)

    @cached_property
    def assets(self) -> AssetLibrary:
        """Content hashes and bytes of the grammar's assets: an AssetSource for a pool."""
        return AssetLibrary(self.asset_sets)

    def render_settings(self) -> render_pb2.RenderSettings:
        """Return the grammar's render settings as a message."""
        return self.render.to_wire()
