"""Task networks T, for which datasets are generated (paper section 3.2.3).

A task network implements `TaskNetwork`: it labels scenes and photos, is trained from scratch on one labelled dataset
and is scored on another. The task loss, the evaluation and the report use only this interface.
"""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from trainer.tasks.task import Budget, CountsObjects, Label, Model, Progress, Results, Scores, TaskNetwork
from trainer.tasks.task_settings import NO_SETTINGS

if TYPE_CHECKING:
    from trainer.experiments import Experiment

__all__ = [
    "TASKS",
    "Budget",
    "CountsObjects",
    "Label",
    "Model",
    "Progress",
    "Results",
    "Scores",
    "TaskNetwork",
    "open_task",
]

#: The module of each task, by the task's name in experiment files. It has
#: `open_network(classes, budget, device, settings)`.
TASKS: Mapping[str, str] = MappingProxyType(
    {
        "classification": "trainer.tasks.classifier",
        "multilabel": "trainer.tasks.multilabel",
        "counting": "trainer.tasks.counting",
        "segmentation": "trainer.tasks.segmentation",
        "detection": "trainer.tasks.detection",
        "detection-mask-rcnn": "trainer.tasks.mask_rcnn",
        "pose": "trainer.tasks.pose",
    }
)


def open_task(
    experiment: "Experiment",
    budget: Budget = "full",
    device: str = "cpu",
    settings: Mapping[str, object] = NO_SETTINGS,
) -> TaskNetwork[Any, Any]:
    """Return the task network that an experiment names (`task:`), for the classes of its grammar.

    Args:
        device: cpu, cuda or mps; see `trainer.device.open_device`.
        settings: replace those of the experiment (`task_settings:`).

    Raises:
        InputError: the grammar has no class that the task needs, or a setting is wrong.
    """
    open_network = import_module(TASKS[experiment.task]).open_network
    given = {**experiment.task_settings, **settings}
    network: TaskNetwork[Any, Any] = open_network(experiment.grammar.classes, budget, device, given)
    return network
