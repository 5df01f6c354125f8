"""Task networks T: what the dataset is for (paper section 3.2.3).

A task network is a black box behind `TaskNetwork`: it is trained from scratch on a labelled dataset and scored on
another. The task loss, the evaluation and the report know no more of it than this.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

Labels = TypeVar("Labels", contravariant=True)
Model = TypeVar("Model")

#: Called as progress(epochs done, epochs in all) after every epoch.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Scores:
    """What a trained task network is worth, higher being better."""

    #: The name of the one number that stands for all: the reward of the task loss.
    primary: str
    #: Every score by name, fractions in [0, 1].
    values: Mapping[str, float]

    @property
    def value(self) -> float:
        """The primary score."""
        return self.values[self.primary]


class TaskNetwork(Protocol[Labels, Model]):
    """Trains and scores one kind of network.

    Images are uint8 [N, H, W, 3], as the workers render them, or uint8 [N, 1, H, W]. The form of the labels belongs to
    the task, and so does that of the trained model, which only `score` needs to understand.
    """

    #: Says in tables and reports which task this is.
    name: str

    def train(self, images: np.ndarray, labels: Labels, seed: int, progress: Progress | None = None) -> Model:
        """Trains a new network. The same arguments give the same model, on one machine and number of threads.

        Raises:
            InputError: there are too few images, or a label is not one of the task's.
        """
        ...

    def score(self, model: Model, images: np.ndarray, labels: Labels) -> Scores:
        """Scores a trained network on images that it was not trained on.

        Raises:
            InputError: there are no images, or a label is not one of the task's.
        """
        ...
