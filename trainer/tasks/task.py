"""The interface of task networks, and their scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from trainer.grammar import SceneGraph
    from trainer.rendering import Frame

Label = TypeVar("Label")
Model = TypeVar("Model")

#: Called as progress(finished epochs, all epochs) after every epoch.
Progress = Callable[[int, int], None]

#: Training budget: "full" is for final scores, "quick" trains in one or two seconds on 500 images.
Budget = Literal["full", "quick"]


@dataclass(frozen=True)
class Scores:
    """The scores of a trained task network."""

    #: Name of the primary score, which the task loss uses.
    primary: str
    #: Every score by name.
    values: Mapping[str, float]
    #: Whether the values are errors with a unit, where lower is better. Otherwise they are fractions from 0 to 1.
    errors: bool = False

    @property
    def value(self) -> float:
        """Return the primary score."""
        return self.values[self.primary]

    @property
    def reward(self) -> float:
        """Return the primary score, negated if it is an error, so that higher is better."""
        return -self.value if self.errors else self.value


class Results(Protocol):
    """The performance of a trained network on each of N test images."""

    def scores(self, chosen: np.ndarray | None = None) -> Scores:
        """Return the scores over all images.

        Args:
            chosen: int64 [n], indices of the images to score, with repetitions (a bootstrap sample).

        Raises:
            InputError: the score is undefined on these images.
        """
        ...


@dataclass(frozen=True)
class MeanResults:
    """Results whose scores are means over images; `values` holds float [N] for each score, nan if undefined."""

    primary: str
    values: Mapping[str, np.ndarray]
    errors: bool = False

    def scores(self, chosen: np.ndarray | None = None) -> Scores:
        """See `Results.scores`."""
        means = {
            name: float(np.mean(values if chosen is None else values[chosen])) for name, values in self.values.items()
        }
        return Scores(self.primary, means, self.errors)


class TaskNetwork(Protocol[Label, Model]):
    """A kind of network that is trained and scored on labelled images.

    Images are uint8 [N, H, W, 3], as rendered by the workers, with one label per image. Labels and trained models are
    opaque to other code.
    """

    #: The name of the task in tables and reports.
    name: str
    #: Render outputs that `label` needs besides the image: values of the wire's `Output`.
    outputs: Sequence[int]
    #: The kind of labels that `label_photo` takes: a `task` of `trainer.datasets.fitting.fitted_labels`.
    photo_labels: str
    #: Default number of training images.
    train_images: int

    def label(self, scene: "SceneGraph", frame: "Frame") -> Label:
        """Return the label of a rendered scene.

        Args:
            frame: holds `outputs`.

        Raises:
            InputError: the scene has no label in this task.
        """
        ...

    def label_photo(self, given: Any) -> Label:
        """Return the label of an image of a dataset.

        Args:
            given: the image's label of the kind `photo_labels`.
        """
        ...

    def train(self, images: np.ndarray, labels: Sequence[Label], seed: int, progress: Progress | None = None) -> Model:
        """Return a network trained from scratch.

        The same arguments give the same network on the same machine with the same number of threads. All random
        numbers come from generators on the CPU that start from the seed; torch's global generator is untouched.

        Raises:
            InputError: there are too few images, or a label is not one of the task's.
        """
        ...

    def fine_tune(
        self, model: Model, images: np.ndarray, labels: Sequence[Label], seed: int, progress: Progress | None = None
    ) -> Model:
        """Return a copy of a trained network after further training on other images (paper, table 5).

        Raises:
            InputError: there are too few images, or a label is not one of the task's.
        """
        ...

    def test(self, model: Model, images: np.ndarray, labels: Sequence[Label]) -> Results:
        """Return a trained network's results on images that it was not trained on.

        Raises:
            InputError: there are no images, or a label is not one of the task's.
        """
        ...

    def score(self, model: Model, images: np.ndarray, labels: Sequence[Label]) -> Scores:
        """Return the scores of `test` over all images.

        Raises:
            InputError: there are no images, or a label is not one of the task's.
        """
        ...


@runtime_checkable
class CountsObjects(Protocol):
    """A task network that predicts the number of objects of each class in an image."""

    @property
    def count_classes(self) -> Sequence[str]:
        """Names of the classes."""
        ...

    def counts(self, model: Any, images: np.ndarray) -> np.ndarray:
        """Return the counts that a trained network predicts, float [N, classes], for images uint8 [N, H, W, 3]."""
        ...

    def label_counts(self, labels: Sequence[Any]) -> np.ndarray:
        """Return the counts of labels, float [N, classes]."""
        ...
