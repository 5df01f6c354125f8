"""How feature networks learn: AdamW along one cycle of learning rates."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer.progress import Advance, ignore


@dataclass(frozen=True)
class Course:
    """How long and how fast: passes over all samples, samples in a batch, and the learning rate's peak."""

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
    """Lowers the mean loss of `count` samples; returns that of the last pass.

    Args:
        loss_of: the loss of the samples with these numbers, int64 [n].
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
