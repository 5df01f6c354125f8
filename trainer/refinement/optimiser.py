"""The optimiser of G_θ: Adam with a cosine schedule, and the average of the last steps' weights."""

import copy
import math

import torch
from torch import Tensor

from trainer.model.transformer import DistributionTransformer

#: Fraction of a stage's steps that the average of the weights reaches back over (Polyak & Juditsky, 1992).
AVERAGED = 0.2
#: The learning rate's last value, as a fraction of its first.
FINAL_LEARNING_RATE = 0.05


class Optimiser:
    """Changes the weights of a transformer.

    Attributes:
        average: the transformer with the average of the last steps' weights.
    """

    def __init__(self, transformer: DistributionTransformer, learning_rate: float) -> None:
        """
        Args:
            learning_rate: the rate at the start of a stage.
        """
        self.average = copy.deepcopy(transformer)
        self._transformer, self._first_rate = transformer, learning_rate
        self._adam = self._new_adam()

    @property
    def learning_rate(self) -> float:
        """Return the learning rate of the last step."""
        rate: float = self._adam.param_groups[0]["lr"]
        return rate

    def restart(self) -> None:
        """Forget all steps, and start the average from the present weights."""
        self._adam = self._new_adam()
        self.reset_average()

    def reset_average(self) -> None:
        """Set the average to the present weights."""
        self.average.load_state_dict(self._transformer.state_dict())

    def step(self, loss: Tensor, number: int, total: int) -> None:
        """Take a step of gradient descent, and update the average.

        Args:
            number: number of the step in its stage, from 0.
            total: number of steps of the stage.
        """
        self._adam.param_groups[0]["lr"] = self._first_rate * _cosine(number / total)
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        weight = 1 / min(number + 1, max(1, math.ceil(AVERAGED * total)))
        with torch.no_grad():
            for mean, parameter in zip(self.average.parameters(), self._transformer.parameters(), strict=True):
                mean.lerp_(parameter, weight)

    def state(self) -> dict[str, Tensor]:
        """Return Adam's moments and counters."""
        return {
            f"{index}.{key}": value
            for index, entry in self._adam.state_dict()["state"].items()
            for key, value in entry.items()
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` has returned."""
        entries: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            index, key = name.split(".", 1)
            entries.setdefault(int(index), {})[key] = value
        groups = self._adam.state_dict()["param_groups"]
        self._adam.load_state_dict({"state": entries, "param_groups": groups})

    def _new_adam(self) -> torch.optim.Adam:
        return torch.optim.Adam(self._transformer.parameters(), self._first_rate)


def _cosine(progress: float) -> float:
    """Return a factor that falls from 1 at progress 0 to `FINAL_LEARNING_RATE` at progress 1."""
    return FINAL_LEARNING_RATE + (1 - FINAL_LEARNING_RATE) * (1 + math.cos(math.pi * progress)) / 2
