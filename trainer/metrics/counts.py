"""Numbers of objects in a scene, by kind."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from trainer.grammar import SceneGraph


@dataclass(frozen=True)
class CountStatistics:
    """Mean and standard deviation of the number of nodes of a kind in a scene."""

    kind: str
    mean: float
    std: float

    def to_json(self) -> dict[str, object]:
        """Return all fields."""
        return asdict(self)


def count_statistics(scenes: Sequence[SceneGraph]) -> list[CountStatistics]:
    """Return the statistics of each kind whose nodes have a class and whose number varies over the scenes."""
    counts = [Counter(node.kind for node in scene.nodes if node.class_name) for scene in scenes]
    kinds = dict.fromkeys(kind for count in counts for kind in count)
    values = {kind: np.array([count[kind] for count in counts]) for kind in kinds}
    return [
        CountStatistics(kind, float(numbers.mean()), float(numbers.std()))
        for kind, numbers in values.items()
        if numbers.std() > 0
    ]
