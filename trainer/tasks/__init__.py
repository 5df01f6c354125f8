"""Task networks T: what the dataset is for (paper section 3.2.3).

A task network is a black box behind `TaskNetwork`: it says what it wants to know of a scene, is trained from scratch on
a labelled dataset and scored on another. The task loss, the evaluation and the report know no more of it than this.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from trainer.experiments import Experiment
    from trainer.grammar import SceneGraph
    from trainer.rendering import Frame

Label = TypeVar("Label")
Model = TypeVar("Model")

#: Called as progress(epochs done, epochs in all) after every epoch.
Progress = Callable[[int, int], None]

#: How much time a task network takes: "full" is for the final scores, "quick" trains in a second or two on 500 images.
Budget = Literal["full", "quick"]


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


class TaskNetwork(Protocol[Label, Model]):
    """Trains and scores one kind of network.

    Images are uint8 [N, H, W, 3], as the workers render them; there is one label per image. The form of the labels
    belongs to the task, and so does that of the trained model, which only `score` needs to understand.
    """

    #: Says in tables and reports which task this is.
    name: str
    #: What `label` needs to be rendered besides the image: values of the wire's `Output`.
    outputs: Sequence[int]
    #: Images that it is trained on, unless somebody says otherwise.
    train_images: int

    def label(self, scene: "SceneGraph", frame: "Frame") -> Label:
        """The label of a scene's image.

        Args:
            frame: holds `outputs`.

        Raises:
            InputError: the scene has no label in this task.
        """
        ...

    def train(self, images: np.ndarray, labels: Sequence[Label], seed: int, progress: Progress | None = None) -> Model:
        """Trains a new network. The same arguments give the same model, on one machine and number of threads.

        Raises:
            InputError: there are too few images, or a label is not one of the task's.
        """
        ...

    def score(self, model: Model, images: np.ndarray, labels: Sequence[Label]) -> Scores:
        """Scores a trained network on images that it was not trained on.

        Raises:
            InputError: there are no images, or a label is not one of the task's.
        """
        ...


@runtime_checkable
class FineTunable(Protocol):
    """A task network that can go on from what it has learned (paper, table 5)."""

    def fine_tune(
        self, model: Any, images: np.ndarray, labels: Sequence[Any], seed: int, progress: Progress | None = None
    ) -> Any:
        """A copy of a trained network, trained further on other images. The arguments are those of `train`.

        Raises:
            InputError: there are too few images, or a label is not one of the task's.
        """
        ...


#: The module of each task, by the task's name in experiment files; its `open_network(classes, budget)` is called.
TASKS: Mapping[str, str] = MappingProxyType(
    {
        "classification": "trainer.tasks.classifier",
        "segmentation": "trainer.tasks.segmentation",
        "detection": "trainer.tasks.detection",
        "detection-mask-rcnn": "trainer.tasks.mask_rcnn",
        "pose": "trainer.tasks.pose",
    }
)


def open_task(experiment: "Experiment", budget: Budget = "full") -> TaskNetwork[Any, Any]:
    """The task network that an experiment names (`task:`), for the classes of its grammar."""
    network: TaskNetwork[Any, Any] = import_module(TASKS[experiment.task]).open_network(
        experiment.grammar.classes, budget
    )
    return network
