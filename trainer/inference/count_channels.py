"""Counts of a scene: nodes by kind and parent, and draws of the mutable productions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.grammar import Grammar, SceneGraph
from trainer.grammar.path import PLACE
from trainer.grammar.productions import SCENE, Production


@dataclass(frozen=True)
class Channel:
    """A count channel: the nodes of a kind, or those of them below one kind of parent.

    Channels differ by parent if a scene can have nodes of the kind below several kinds of parents.

    Attributes:
        parent: kind of the nearest ancestor that is not a place in a row; None: any.
    """

    kind: str
    parent: str | None = None

    @property
    def name(self) -> str:
        """Return the name, such as `coin` or `hole-1 > screw`."""
        return self.kind if self.parent is None else f"{self.parent} > {self.kind}"


def parent_of(scene: SceneGraph, index: int) -> str:
    """Return the kind of a node's nearest ancestor that is not a place in a row; empty for root nodes."""
    above = scene.nodes[index].parent
    while above is not None and scene.nodes[above].kind == PLACE:
        above = scene.nodes[above].parent
    return "" if above is None else scene.nodes[above].kind


def channels_of(grammar: Grammar, scenes: Sequence[SceneGraph]) -> tuple[Channel, ...]:
    """Return the channels that depend on the grammar's mutable productions.

    Args:
        scenes: scenes of the grammar. They show which kinds occur below several parents in one scene.
    """
    kinds: set[str] = set()
    for production in grammar.productions:
        entries = grammar.roots if production.owner == SCENE else grammar.kinds[production.owner].children
        kinds.update(entries[production.entry].kinds)
    found: list[Channel] = []
    for kind in sorted(kinds):
        parents = [{parent_of(scene, i) for i, node in enumerate(scene.nodes) if node.kind == kind} for scene in scenes]
        if any(len(each) > 1 for each in parents):
            found += [Channel(kind, parent) for parent in sorted(set().union(*parents))]
        else:
            found.append(Channel(kind))
    return tuple(found)


def channel_of_nodes(scene: SceneGraph, channels: Sequence[Channel]) -> list[int]:
    """Return the index of each node's channel; -1 for nodes without a channel."""
    places = {(channel.kind, channel.parent): place for place, channel in enumerate(channels)}
    return [
        places.get((node.kind, None), places.get((node.kind, parent_of(scene, index)), -1))
        for index, node in enumerate(scene.nodes)
    ]


def true_counts(scenes: Sequence[SceneGraph], channels: Sequence[Channel]) -> np.ndarray:
    """Return the number of nodes in each channel, int [N, J]."""
    found = np.zeros((len(scenes), len(channels)), dtype=np.int64)
    for row, scene in enumerate(scenes):
        for channel, count in Counter(channel_of_nodes(scene, channels)).items():
            if channel >= 0:
                found[row, channel] = count
    return found


def draw_counts(scenes: Sequence[SceneGraph], productions: Sequence[Production]) -> np.ndarray:
    """Return how often each category was drawn in each scene, [N, C], productions concatenated."""
    starts, start = {}, 0
    for production in productions:
        starts[production.name] = start
        start += len(production.categories)
    found = np.zeros((len(scenes), start))
    for row, scene in enumerate(scenes):
        for name, category in scene.drawn:
            found[row, starts[name] + category] += 1
    return found
