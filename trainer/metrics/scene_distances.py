"""Distances between the attributes of prior, learned model and target, measured on scenes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from trainer.grammar import Grammar, SceneGraph
from trainer.metrics.attributes import attribute_statistics
from trainer.metrics.wasserstein import wasserstein
from trainer.model.encoding import Encoding
from trainer.model.sampling import transformed
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import EvaluationStream, Purpose, generator

#: Number of scenes compared per distribution.
_COMPARED = 2_000
_CHUNK = 512  # Scenes that are transformed at a time


def scenes_of(
    grammar: Grammar, count: int, rng: np.random.Generator, transformer: DistributionTransformer | None = None
) -> Iterator[SceneGraph]:
    """Yield scenes of a grammar, changed by the transformer if there is one."""
    for first in range(0, count, _CHUNK):
        scenes = [grammar.sample(rng) for _ in range(min(_CHUNK, count - first))]
        yield from scenes if transformer is None else transformed(transformer, scenes)


def compared_scenes(
    prior: Grammar, learned: Grammar, target: Grammar, transformer: DistributionTransformer, seed: int
) -> dict[str, list[SceneGraph]]:
    """Return unseen scenes of "prior", "learned" and "target".

    All use the same random numbers, so that scenes differ only where the grammars do (common random numbers).
    """
    return {
        of: list(scenes_of(world, _COMPARED, generator(seed, Purpose.EVALUATION, EvaluationStream.TEST), changed))
        for of, world, changed in (
            ("prior", prior, None),
            ("learned", learned, transformer),
            ("target", target, None),
        )
    }


def attribute_distances(encoding: Encoding, scenes: Mapping[str, Sequence[SceneGraph]]) -> dict[str, Any]:
    """Return the Wasserstein-1 distances of prior and learned attributes from the target's, by "kind.name".

    Angles are compared on the circle. Attributes are relative to the parent: the yaw of a car on a road is relative to
    the road.

    Args:
        scenes: those of `compared_scenes`.
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
