"""Training of feature networks: AdamW with a one-cycle schedule."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer.progress import Advance, ignore


@dataclass(frozen=True)
class Course:
    """The schedule: passes over all samples, batch size, and peak learning rate."""

    passes: int
    batch: int
    learning_rate: float


def descend(
    parameters: Iterable[nn.Parameter],
    count: int,
    loss_of: Callable[[Tensor], Tensor],
    course: Course,
    generator: torch.Generator,
    progress: Advance = ignore,
) -> float:
    """Minimise the mean loss of `count` samples; return the mean loss of the last pass.

    Args:
        loss_of: returns the loss of the samples with these indices, int64 [n].
    """
    batches = max(1, count // course.batch)
    optimizer = torch.optim.AdamW(parameters, lr=course.learning_rate, weight_decay=1e-2, fused=True)
    steps = course.passes * batches
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, course.learning_rate, total_steps=steps)
    error = 0.0
    for turn in range(course.passes):
        error = 0.0
        for index in torch.chunk(torch.randperm(count, generator=generator), batches):
            loss = loss_of(index)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            error += loss.item() / batches
        progress(turn + 1, course.passes)
    return error
