"""What a run learns from: nothing in it changes during training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import numpy as np

from trainer.errors import InputError
from trainer.features import FeatureSpace
from trainer.grammar import Grammar, SceneGraph
from trainer.learning.settings import Stage, TrainingSettings
from trainer.model.encoding import Encoding
from trainer.progress import Progress, Silent
from trainer.randomness import Purpose, generator, integer
from trainer.rendering import Renderer
from trainer.tasks import TaskNetwork

#: Scenes that are rendered at a time.
_CHUNK = 256


@dataclass(frozen=True)
class Validation:
    """The labelled real images V, and the network that is scored on them."""

    network: TaskNetwork[Any, Any]
    images: np.ndarray  # uint8 [N, H, W, 3]
    labels: Sequence[Any]


@dataclass(frozen=True)
class Problem:
    """The grammar, the target, and the means to render."""

    grammar: Grammar
    settings: TrainingSettings
    seed: int
    renderer: Renderer
    #: The target's images X_R, uint8 [M, H, W, 3].
    target: np.ndarray
    #: Where a stage has the task loss.
    validation: Validation | None = None
    #: InceptionV3's lower layers, if that is the feature space; None: one is learned from the simulator.
    inception: FeatureSpace | None = None
    progress: Progress = field(default_factory=Silent)

    @cached_property
    def encoding(self) -> Encoding:
        return Encoding(self.grammar)

    @cached_property
    def names(self) -> list[str]:
        """KIND.NAME of each mutable number."""
        return [f"{kind}.{spec.name}" for kind, spec in self.encoding.mutable]

    def scenes(self, purpose: Purpose, count: int, *indices: int) -> list[SceneGraph]:
        """Scenes of the prior."""
        rng = generator(self.seed, purpose, *indices)
        return [self.grammar.sample(rng) for _ in range(count)]

    def images(self, scenes: Sequence[SceneGraph], purpose: Purpose, index: int, stage: str) -> np.ndarray:
        """Images uint8 [N, H, W, 3] of many scenes."""
        advance = self.progress.stage(stage)
        images = []
        for first in range(0, len(scenes), _CHUNK):
            part = scenes[first : first + _CHUNK]
            images.append(self.renderer.images(part, integer(self.seed, purpose, index, first)))
            advance(first + len(part), len(scenes))
        return np.concatenate(images)

    def joining(self, stage: Stage) -> list[int]:
        """Places in `encoding.mutable` of the attributes that a stage names.

        Raises:
            InputError: one of its patterns names none, neither a number nor a categorical attribute.
        """
        choices = [f"{kind}.{choice.name}" for kind, choice in self.encoding.choices]
        for pattern in stage.attributes:
            if not any(fnmatchcase(name, pattern) for name in (*self.names, *choices)):
                known = ", ".join(dict.fromkeys((*self.names, *choices)))
                raise InputError(f"training.stages: no mutable attribute is called {pattern!r}; there are: {known}")
        return [place for place, name in enumerate(self.names) if _named(name, stage)]

    def active(self, stage: int) -> list[int]:
        """Places in `encoding.mutable` of the attributes that are learned in a stage: its own and the earlier ones'."""
        joined = (place for each in self.settings.stages[: stage + 1] for place in self.joining(each))
        return sorted(set(joined))

    def losses(self) -> Iterator[str]:
        """Every loss that a stage has."""
        for stage in self.settings.stages:
            yield from stage.losses


def _named(name: str, stage: Stage) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in stage.attributes)
