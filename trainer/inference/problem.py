"""The inputs of a run's learning. They do not change during training."""

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

#: Number of scenes in `Problem.looked_at`.
LOOKED_AT = 500
#: Scenes per rendering request.
_CHUNK = 256


@dataclass(frozen=True)
class Validation:
    """The labelled real images V, and the task network that is scored on them."""

    network: TaskNetwork[Any, Any]
    images: np.ndarray  # uint8 [N, H, W, 3]
    labels: Sequence[Any]


@dataclass(frozen=True)
class Problem:
    """The grammar, the target and the renderer."""

    grammar: Grammar
    settings: TrainingSettings
    seed: int
    renderer: Renderer
    #: The target's images X_R, uint8 [M, H, W, 3].
    target: np.ndarray
    #: None unless a stage has the task loss.
    validation: Validation | None = None
    #: The feature space in which distributions are compared; None: the estimator's.
    space: FeatureSpace | None = None
    progress: Progress = field(default_factory=Silent)
    #: Held-out images of the target, for the two-sample test; None: the target has too few images.
    held_out: np.ndarray | None = None
    #: Whether the target's images are photographs, taken by an unknown camera.
    photographs: bool = False
    #: PyTorch device of the networks; see `trainer.device`.
    device: str = "cpu"

    @cached_property
    def encoding(self) -> Encoding:
        return Encoding(self.grammar, self.device)

    @cached_property
    def names(self) -> list[str]:
        """Return KIND.NAME of each mutable number."""
        return [f"{kind}.{spec.name}" for kind, spec in self.encoding.mutable]

    @cached_property
    def draws_colours(self) -> bool:
        """Return whether the world's camera has an exposure or a colour temperature."""
        cameras = (kind for kind in self.grammar.kinds.values() if isinstance(kind.content, Camera))
        stated = {spec.name for kind in cameras for spec in kind.specs}
        return bool(stated & {"exposure", "temperature"})

    @property
    def camera(self) -> RandomCamera:
        """Return the random camera that is applied to the estimator's renders.

        If the world draws brightness and colours itself, the random camera leaves both unchanged, so that the estimator
        can read the attributes.
        """
        return RandomCamera().of_known_colours() if self.draws_colours else RandomCamera()

    @cached_property
    def looked_at(self) -> list[SceneGraph]:
        """Return scenes of the prior. They show which classes and parents occur, and which kinds occur exactly once."""
        return self.scenes(Purpose.SIMULATION, LOOKED_AT, 0)

    def scenes(self, purpose: Purpose, count: int, *indices: int) -> list[SceneGraph]:
        """Return scenes of the prior."""
        rng = generator(self.seed, purpose, *indices)
        return [self.grammar.sample(rng) for _ in range(count)]

    def images(self, scenes: Sequence[SceneGraph], purpose: Purpose, index: int, stage: str) -> np.ndarray:
        """Return images uint8 [N, H, W, 3] of scenes."""
        return np.stack([frame.image for frame in self._frames(scenes, purpose, index, stage, [pb.OUTPUT_IMAGE_U8])])

    def masked(
        self, scenes: Sequence[SceneGraph], purpose: Purpose, index: int, stage: str
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return images uint8 [N, H, W, 3] of scenes, and their instance masks [H, W]."""
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
        """Return KIND.NAME of each mutable categorical attribute, modes included."""
        return [f"{kind}.{choice.name}" for kind, choice in self.encoding.choices]

    def check_stages(self) -> None:
        """Check the settings of the stages.

        Raises:
            InputError: a pattern of a stage matches no mutable attribute, or the task loss lacks V.
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
        """Return whether the population is inferred in rounds (`trainer.inference.rounds`)."""
        return self.settings.start == "infer"

    @property
    def appearance(self) -> Appearance:
        """Return the change of appearance that renders get before training.

        Renders stay unchanged for a synthetic target. For photographs they pass through a random camera. If brightness
        and colours are not attributes of the world, half of the renders also get low frequencies of photographs; these
        would hide the attributes otherwise.
        """
        if not self.photographs:
            return unchanged
        return self.camera.apply if self.draws_colours else PhotographicAppearance(self.camera, self.target)

    @cached_property
    def repeated(self) -> list[str]:
        """Return the kinds with learned attributes of which some scene does not have exactly one node."""
        kinds = list(dict.fromkeys(kind for kind, _ in self.encoding.choices))
        counts = [Counter(node.kind for node in scene.nodes) for scene in self.looked_at]
        return [kind for kind in kinds if any(count[kind] != 1 for count in counts)]

    def detected(self, kinds: Collection[str]) -> list[str]:
        """Return the kinds, among those given, whose nodes are detected and then read one by one.

        These are the kinds that masks show. If every scene has exactly one node of them in all, the whole image is read
        instead. With `inference.together` this rule applies to each kind separately.
        """
        found = self.grammar.kinds
        seen = [k for k in kinds if found[k].class_name and isinstance(found[k].content, Mesh | Sprite)]
        if self.settings.inference.together:
            counts = [Counter(node.kind for node in scene.nodes) for scene in self.looked_at]
            return [kind for kind in seen if any(count[kind] != 1 for count in counts)]
        several = any(sum(node.kind in seen for node in scene.nodes) != 1 for scene in self.looked_at)
        return seen if several else []

    def active(self, stage: int) -> list[int]:
        """Return the indices in `encoding.mutable` of the numbers that a stage or an earlier one names."""
        return [place for place, name in enumerate(self.names) if self._joined(name, stage)]

    def redrawn(self, stage: int) -> list[int]:
        """Return the same as `active` for `encoding.choices`. Modes are always included; at first there is one mode."""
        return [
            place
            for place, name in enumerate(self.choice_names)
            if self.encoding.choices[place][1] is MODE or self._joined(name, stage)
        ]

    def joins(self, stage: int) -> bool:
        """Return whether a stage learns attributes that no earlier stage has learned."""
        both = [(self.active(number), self.redrawn(number)) for number in (stage - 1, stage)]
        return both[0] != both[1]

    def _joined(self, name: str, stage: int) -> bool:
        patterns = (pattern for each in self.settings.stages[: stage + 1] for pattern in each.attributes)
        return any(fnmatchcase(name, pattern) for pattern in patterns)
