"""How far the scenes of the prior and of a learned model are from the target's, without rendering any."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from trainer.grammar import Grammar, SceneGraph
from trainer.metrics.attributes import attribute_statistics
from trainer.metrics.wasserstein import wasserstein
from trainer.model.drawing import transformed
from trainer.model.encoding import Encoding
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import Purpose, generator

#: Which scenes a random stream is for.
PRIOR, LEARNED, TEST = 1, 2, 3
#: Scenes that are compared.
_COMPARED = 2_000
_CHUNK = 512  # Scenes that are changed at a time


def scenes_of(
    grammar: Grammar, count: int, rng: np.random.Generator, transformer: DistributionTransformer | None = None
) -> Iterator[SceneGraph]:
    """Scenes of a grammar, changed by a transformer if given; sampled as they are taken."""
    for first in range(0, count, _CHUNK):
        scenes = [grammar.sample(rng) for _ in range(min(_CHUNK, count - first))]
        yield from scenes if transformer is None else transformed(transformer, scenes)


def compared_scenes(
    grammar: Grammar, target: Grammar, transformer: DistributionTransformer, seed: int
) -> dict[str, list[SceneGraph]]:
    """Unseen scenes of "prior", "learned" and "target".

    All have the same random numbers: where the grammars agree, so do the scenes, and what differs shows undisturbed.
    """
    return {
        of: list(scenes_of(world, _COMPARED, generator(seed, Purpose.EVALUATION, TEST), changed))
        for of, world, changed in (
            ("prior", grammar, None),
            ("learned", grammar, transformer),
            ("target", target, None),
        )
    }


def attribute_distances(encoding: Encoding, scenes: Mapping[str, Sequence[SceneGraph]]) -> dict[str, Any]:
    """How far the prior's and the learned attributes are from the target's, with the unit, by "kind.name".

    These are Wasserstein-1 distances, on the circle for angles. Attributes are those of the parent's frame: the yaw of
    a car on a road is relative to the road.

    Args:
        scenes: as `compared_scenes` makes them.
    """
    values = {
        of: {f"{item.kind}.{item.name}": item for item in attribute_statistics(encoding, each)}
        for of, each in scenes.items()
    }
    distances: dict[str, Any] = {}
    for name, item in values["target"].items():
        period = 360.0 if item.is_angle else None
        distances[name] = {
            of: wasserstein(np.array(values[of][name].values), np.array(item.values), period)
            for of in ("prior", "learned")
        } | {"unit": item.unit}
    return distances
