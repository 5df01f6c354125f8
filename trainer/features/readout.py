"""What the simulator's features shall say of a scene, and around which values they learn it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from trainer.grammar import AttributeSpec, SceneGraph
from trainer.grammar.scene_graph import MODE, MODES
from trainer.model.encoding import Encoding
from trainer.statistics import deviation, mean_of

#: Windows are so many standard deviations wide, and this fraction of the attribute's range at least, to each side.
SPREADS = 4.0
LEAST = 1 / 8
#: Widest window of an angle, to each side.
WIDEST_ANGLE_DEG = 90.0


@dataclass(frozen=True)
class Window:
    """The values around which the features are learned, in the attributes' units.

    Attributes:
        centre: [MODES, len(encoding.mutable)]; nan where a mode does not occur.
        half_width: the same.
    """

    centre: np.ndarray
    half_width: np.ndarray

    @classmethod
    def around(cls, encoding: Encoding, scenes: Sequence[SceneGraph]) -> "Window":
        """Covers the scenes' attributes, mode by mode, and some more."""
        centre = np.full((MODES, len(encoding.mutable)), np.nan)
        half_width = centre.copy()
        for place, (kind, spec) in enumerate(encoding.mutable):
            for mode in range(MODES):
                values = _values(scenes, kind, spec, mode)
                if not len(values):
                    continue
                centre[mode, place] = mean_of(values, spec.is_angle)
                spread = float(np.sqrt(np.mean(deviation(values, centre[mode, place], spec.is_angle) ** 2)))
                width = max(SPREADS * spread, LEAST * (spec.high - spec.low))
                half_width[mode, place] = min(width, WIDEST_ANGLE_DEG) if spec.is_angle else width
        return cls(centre, half_width)

    def narrowed(self, factor: float) -> "Window":
        """The same centre with half widths times `factor`."""
        return Window(self.centre, self.half_width * factor)

    def scatter(self, encoding: Encoding, scene: SceneGraph, rng: np.random.Generator) -> SceneGraph:
        """The scene with its mutable attributes drawn uniformly from the window of their node's mode."""
        places = {(kind, spec.name): place for place, (kind, spec) in enumerate(encoding.mutable)}
        values = []
        for item in scene.mutable:
            node = scene.nodes[item.node]
            at = node.choices[MODE.name], places[node.kind, item.name]
            value = self.centre[at] + self.half_width[at] * rng.uniform(-1, 1)
            values.append(value if item.spec.wraps else min(max(value, item.spec.low), item.spec.high))
        return scene.with_values(np.array(values))


@dataclass(frozen=True)
class Readout:
    """The numbers that are read off an image.

    Of every mutable number its mean over the nodes of its kind, in half widths of the window: of an angle, cosine and
    sine, so that nothing tears at half a turn. Of every mutable categorical attribute of the grammar the fraction of
    nodes in each category.
    """

    encoding: Encoding
    #: [len(encoding.mutable)]; for angles the centre is 0 and the width in radians.
    centre: np.ndarray
    width: np.ndarray

    @classmethod
    def of(cls, encoding: Encoding, window: Window) -> "Readout":
        """Scaled by a window's middle and typical width."""
        is_angle = np.array([spec.is_angle for _, spec in encoding.mutable], dtype=bool)
        width, centre = np.ones(len(is_angle)), np.zeros(len(is_angle))
        for place in range(len(is_angle)):
            seen = np.isfinite(window.centre[:, place])
            if seen.any():  # Else no scene had a node of its kind.
                width[place] = np.median(window.half_width[seen, place])
                centre[place] = window.centre[seen, place].mean()
        return cls(encoding, np.where(is_angle, 0.0, centre), np.where(is_angle, np.deg2rad(width), width))

    @property
    def layers(self) -> list[int]:
        """Numbers of the continuous attributes, and of the categorical ones, each if there are any."""
        numbers = sum(2 if spec.is_angle else 1 for _, spec in self.encoding.mutable)
        fractions = sum(len(choice.categories) for _, choice in self.encoding.choices if choice is not MODE)
        return [size for size in (numbers, fractions) if size]

    def read(self, scene: SceneGraph) -> np.ndarray:
        """The numbers of a scene, float32 [sum(layers)]. Kinds that do not occur count as zero."""
        found: list[float] = []
        for (kind, spec), centre, width in zip(self.encoding.mutable, self.centre, self.width, strict=True):
            values = _values([scene], kind, spec)
            if spec.is_angle:
                angles = np.deg2rad(values)
                parts = [np.cos(angles) / width, np.sin(angles) / width]
            else:
                parts = [(values - centre) / width]
            found += [float(part.mean()) if len(part) else 0.0 for part in parts]
        for kind, choice in self.encoding.choices:
            if choice is not MODE:
                drawn = [node.choices[choice.name] for node in scene.nodes if node.kind == kind]
                counts = np.bincount(drawn, minlength=len(choice.categories))
                found += (counts / max(1, len(drawn))).tolist()
        return np.array(found, dtype=np.float32)

    def numbers(self, features: Tensor) -> np.ndarray:
        """Of features [N, D], as `read` gives them, the numeric attributes in their units: [N, len(mutable)]."""
        columns = features.double().numpy()
        found, start = [], 0
        for (_, spec), centre, width in zip(self.encoding.mutable, self.centre, self.width, strict=True):
            if spec.is_angle:
                found.append(np.rad2deg(np.arctan2(columns[:, start + 1], columns[:, start])))
                start += 2
            else:
                found.append(columns[:, start] * width + centre)
                start += 1
        return np.stack(found, 1) if found else np.zeros((len(columns), 0))


def _values(scenes: Sequence[SceneGraph], kind: str, spec: AttributeSpec, mode: int | None = None) -> np.ndarray:
    return np.array(
        [
            node.values[spec.name]
            for scene in scenes
            for node in scene.nodes
            if node.kind == kind and mode in (None, node.choices[MODE.name])
        ]
    )
