"""The training loop of all task networks, and checks of their training data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from trainer.errors import InputError
from trainer.features.schedule import one_cycle
from trainer.tasks.task import Progress

Network = TypeVar("Network", bound=nn.Module)

#: Peak learning rate of fine-tuning, as a fraction of that of training from scratch.
TUNING = 0.25


@dataclass(frozen=True)
class TrainingPlan:
    """Epochs, batches and learning rates of a training."""

    epochs: int
    batch_size: int
    #: Factor of the learning rate at a fraction of all steps.
    schedule: Callable[[float], float] = one_cycle
    #: Also trains on the smaller last batch of an epoch.
    keep_last: bool = False
    #: Maximum norm of gradients; larger ones are clipped.
    clip_norm: float | None = None


def optimise(
    model: Network,
    optimizer: torch.optim.Optimizer,
    count: int,
    loss_of: Callable[[Tensor], Tensor],
    plan: TrainingPlan,
    generator: torch.Generator,
    progress: Progress | None = None,
) -> Network:
    """Train a network in place on `count` samples, and return it in evaluation mode.

    Args:
        loss_of: returns the loss of the samples with these indices, int64 [n].
        generator: of the order of the samples.
    """
    size = min(plan.batch_size, count)
    batches = -(-count // size) if plan.keep_last else count // size
    steps = plan.epochs * batches
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: plan.schedule(step / steps))
    for epoch in range(plan.epochs):
        order = torch.randperm(count, generator=generator)
        for start in range(0, batches * size, size):
            loss = loss_of(order[start : start + size])
            optimizer.zero_grad()
            loss.backward()
            if plan.clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), plan.clip_norm)
            optimizer.step()
            schedule.step()
        if progress:
            progress(epoch + 1, plan.epochs)
    return model.eval()


def check_images(images: np.ndarray, labels: int | None, least_px: int) -> None:
    """Check that images are uint8 [N, H, W, 3] with a label each.

    Args:
        labels: number of labels; None: not checked.
        least_px: smallest height and width.

    Raises:
        InputError: there are no images, they have another form, or there are more or fewer labels.
    """
    shape = images.shape
    if images.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3:
        raise InputError(f"images are {images.dtype} {shape}; allowed: uint8 [N, H, W, 3]")
    if not len(images) or min(shape[1:3]) < least_px:
        raise InputError(
            f"{len(images)} images of {shape[2]}x{shape[1]} px; at least 1 of {least_px}x{least_px} is needed"
        )
    if labels is not None and labels != len(images):
        raise InputError(f"{labels} labels for {len(images)} images; each image needs one")


def to_float(images: Tensor) -> Tensor:
    """Return float [N, 3, H, W] in [0, 1], channels last in memory, of uint8 [N, H, W, 3]."""
    return images.permute(0, 3, 1, 2).float().div_(255)
