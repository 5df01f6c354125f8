"""What a run learns from: nothing in it changes during training."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import numpy as np
from metasim.v1 import render_pb2 as pb

from trainer.errors import InputError
from trainer.features import FeatureSpace
from trainer.features.appearance import Appearance, PhotographicAppearance, RandomCamera, unchanged
from trainer.grammar import Grammar, SceneGraph
from trainer.grammar.nodes import MODE, Camera, Mesh, Sprite
from trainer.inference.training_settings import TrainingSettings
from trainer.model.encoding import Encoding
from trainer.progress import Progress, Silent
from trainer.randomness import Purpose, generator, integer
from trainer.rendering import Frame, Renderer
from trainer.tasks import TaskNetwork

#: Scenes that `Problem.looked_at` has.
LOOKED_AT = 500
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
    #: The feature space in which distributions are compared; None: that of the estimator.
    space: FeatureSpace | None = None
    progress: Progress = field(default_factory=Silent)
    #: Images of the target that nothing is learned from, for the two-sample test; None: there are too few.
    held_out: np.ndarray | None = None
    #: Whether the target's images are photographs, which another camera has taken.
    photographs: bool = False
    #: Of networks, in torch; see `trainer.device`.
    device: str = "cpu"

    @cached_property
    def encoding(self) -> Encoding:
        return Encoding(self.grammar, self.device)

    @cached_property
    def names(self) -> list[str]:
        """KIND.NAME of each mutable number."""
        return [f"{kind}.{spec.name}" for kind, spec in self.encoding.mutable]

    @cached_property
    def camera(self) -> RandomCamera:
        """The random camera that the estimator's renders pass through.

        A world whose own camera has an exposure or a colour temperature draws brightness and colours itself; the random
        camera leaves them, so that they can be read.
        """
        cameras = (kind for kind in self.grammar.kinds.values() if isinstance(kind.content, Camera))
        stated = {spec.name for kind in cameras for spec in kind.specs}
        found = RandomCamera()
        return found.of_known_colours() if stated & {"exposure", "temperature"} else found

    @cached_property
    def looked_at(self) -> list[SceneGraph]:
        """Scenes of the prior that show which classes and parents occur, and which kinds stand once in every scene."""
        return self.scenes(Purpose.SIMULATION, LOOKED_AT, 0)

    def scenes(self, purpose: Purpose, count: int, *indices: int) -> list[SceneGraph]:
        """Scenes of the prior."""
        rng = generator(self.seed, purpose, *indices)
        return [self.grammar.sample(rng) for _ in range(count)]

    def images(self, scenes: Sequence[SceneGraph], purpose: Purpose, index: int, stage: str) -> np.ndarray:
        """Images uint8 [N, H, W, 3] of many scenes."""
        return np.stack([frame.image for frame in self._frames(scenes, purpose, index, stage, [pb.OUTPUT_IMAGE_U8])])

    def masked(
        self, scenes: Sequence[SceneGraph], purpose: Purpose, index: int, stage: str
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Images uint8 [N, H, W, 3] of many scenes, and their instance masks [H, W]."""
        frames = self._frames(scenes, purpose, index, stage, [pb.OUTPUT_IMAGE_U8, pb.OUTPUT_INSTANCE_MASK])
        return np.stack([frame.image for frame in frames]), [frame.layers[pb.OUTPUT_INSTANCE_MASK] for frame in frames]

    def _frames(
        self, scenes: Sequence[SceneGraph], purpose: Purpose, index: int, stage: str, outputs: Sequence[int]
    ) -> list[Frame]:
        advance = self.progress.step(stage)
        frames: list[Frame] = []
        for first in range(0, len(scenes), _CHUNK):
            part = scenes[first : first + _CHUNK]
            frames += self.renderer.render(part, integer(self.seed, purpose, index, first), outputs)
            advance(len(frames), len(scenes))
        return frames

    @cached_property
    def choice_names(self) -> list[str]:
        """KIND.NAME of each mutable categorical attribute, modes included."""
        return [f"{kind}.{choice.name}" for kind, choice in self.encoding.choices]

    def check_stages(self) -> None:
        """
        Raises:
            InputError: a pattern of a stage names no mutable attribute, or V is missing for the task loss.
        """
        known = [*self.names, *(name for name in self.choice_names if not name.endswith(f".{MODE.name}"))]
        for stage in self.settings.stages:
            for pattern in stage.attributes:
                if known and not any(fnmatchcase(name, pattern) for name in known):
                    raise InputError(
                        f"training.stages: no mutable attribute is called {pattern!r}; there are: {', '.join(known)}"
                    )
        for stage in self.settings.stages:
            if "task" in stage.losses and self.validation is None:
                raise InputError("training.stages: the task loss needs labelled images of the target; there are none")

    @cached_property
    def infers(self) -> bool:
        """Whether the population is inferred in rounds (`trainer.inference.rounds`)."""
        return self.settings.start == "infer"

    @property
    def appearance(self) -> Appearance:
        """Return what a camera does to renders: photographs have been taken by an unknown one.

        Where the world leaves brightness and colours to the camera, half of the renders also take over low frequencies
        of photographs. Where they are attributes, that would hide them.
        """
        if not self.photographs:
            return unchanged
        if self.camera != RandomCamera():
            return self.camera.apply
        return PhotographicAppearance(self.camera, self.target)

    @cached_property
    def repeated(self) -> list[str]:
        """Kinds of which something is learned and some scene has not exactly one node."""
        kinds = list(dict.fromkeys(kind for kind, _ in self.encoding.choices))
        counts = [Counter(node.kind for node in scene.nodes) for scene in self.looked_at]
        return [kind for kind in kinds if any(count[kind] != 1 for count in counts)]

    def detected(self, kinds: Collection[str]) -> list[str]:
        """Return those of some kinds whose nodes are detected and read one by one.

        They are the ones that masks show, unless every scene has a single node of all these: it is read off the image.
        With `inference.together` this holds for each kind by itself.
        """
        found = self.grammar.kinds
        seen = [k for k in kinds if found[k].class_name and isinstance(found[k].content, Mesh | Sprite)]
        if self.settings.inference.together:
            counts = [Counter(node.kind for node in scene.nodes) for scene in self.looked_at]
            return [kind for kind in seen if any(count[kind] != 1 for count in counts)]
        several = any(sum(node.kind in seen for node in scene.nodes) != 1 for scene in self.looked_at)
        return seen if several else []

    def active(self, stage: int) -> list[int]:
        """Places in `encoding.mutable` of what is learned in a stage: what it names, and what earlier ones did."""
        return [place for place, name in enumerate(self.names) if self._joined(name, stage)]

    def redrawn(self, stage: int) -> list[int]:
        """As `active`, in `encoding.choices`. Modes are drawn from the start: there is one until others are found."""
        return [
            place
            for place, name in enumerate(self.choice_names)
            if self.encoding.choices[place][1] is MODE or self._joined(name, stage)
        ]

    def joins(self, stage: int) -> bool:
        """Return whether something is learned in a stage that earlier ones have not learned."""
        both = [(self.active(number), self.redrawn(number)) for number in (stage - 1, stage)]
        return both[0] != both[1]

    def _joined(self, name: str, stage: int) -> bool:
        patterns = (pattern for each in self.settings.stages[: stage + 1] for pattern in each.attributes)
        return any(fnmatchcase(name, pattern) for pattern in patterns)
