"""Trains by inference alone, by descent alone, and with the errors of the published code, one at a time.

Errors without an effect here are left out: the digits' scene graphs have no edges that could be undirected, and
attributes that are not mutable are never probed. A variant replaces a part of the trainer for the duration of a run.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from torch import Tensor

from trainer.bench.several_seeds import bench_training
from trainer.errors import InputError
from trainer.grammar.document import nearest
from trainer.model.encoding import GraphBatch
from trainer.pool import PoolOptions
from trainer.progress import Progress, Silent
from trainer.refinement import score_function
from trainer.refinement.task_loss import TaskLoss
from trainer.rendering import Renderer

#: Descent from the prior, as published.
_LOCAL = {"training.start": "prior"}
_TASK = {"training.stages": [{"losses": ["task"], "epochs": 2}]}
#: Step of the published finite difference, in degrees.
_STEP_DEG = 1.0


@dataclass(frozen=True)
class Variant:
    """A variant of the training."""

    name: str
    what: str
    overrides: Mapping[str, object] = field(default_factory=dict)
    patched: Callable[[], AbstractContextManager[Any]] = nullcontext


@contextmanager
def _gradient(change: Callable[[Tensor], Tensor], of: str) -> Iterator[None]:
    """Change the gradient of renders in the backward pass: that of the images, or of the values."""
    differentiable = Renderer.differentiable

    def changed(self: Renderer, values: Tensor, *args: Any, **options: Any) -> Tensor:
        if of == "values" and values.requires_grad:
            values.register_hook(change)
        images = differentiable(self, values, *args, **options)
        if of == "images" and images.requires_grad:
            images.register_hook(change)
        return images

    with patch.object(Renderer, "differentiable", changed):
        yield


def _data_from_the_mean() -> AbstractContextManager[Any]:
    """Score the output of G_θ itself, not the sample whose density is used."""
    drawn = TaskLoss._drawn

    def without_noise(self: TaskLoss, mean: Tensor, noise: Tensor, batch: GraphBatch) -> Tensor:
        return drawn(self, mean, 0 * noise, batch)

    return patch.object(TaskLoss, "_drawn", without_noise)


def _noise_of_their_own() -> AbstractContextManager[Any]:
    """Draw every value independently, as in the paper."""
    stack = ExitStack()
    for name in ("shared_noise", "shared_score"):
        function = getattr(score_function, name)
        stack.enter_context(patch(f"trainer.refinement.task_loss.{name}", _uncorrelated(function)))
    return stack


def _uncorrelated(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *arguments: function(*arguments, correlation=0.0)


def _wrong_scale() -> AbstractContextManager[Any]:
    return _gradient(lambda gradient: gradient * _STEP_DEG**2 / 255, "values")


def _one_difference() -> AbstractContextManager[Any]:
    return _gradient(lambda gradient: gradient.sum(0, keepdim=True).expand_as(gradient), "images")


_SCALE = "the finite difference times δ/2 instead of over 2δ, and over 255 once more"
_BATCH = "the whole batch's output gradient times one sample's difference image"
MATCHING = (
    Variant("ours", "inference, then descent, kept only if held-out images gain"),
    Variant("descent alone", "from the prior, as published", _LOCAL),
    Variant("wrong scale", _SCALE, _LOCAL, _wrong_scale),
    Variant("one difference for all", _BATCH, _LOCAL, _one_difference),
    Variant("untrained features", "distances in random features", {**_LOCAL, "training.features": "random"}),
)
REWARDING = (
    Variant("ours, task loss", "as it is", _TASK),
    Variant(
        "undetached sample",
        "log p of a sample that carries the gradient of its own mean: exactly 0",
        {**_TASK, "training.task_weight": 1e-12},
    ),
    Variant("data from the mean", "scored on data that was not sampled", _TASK, _data_from_the_mean),
    Variant("noise of their own", "every value with noise of its own, as in the paper", _TASK, _noise_of_their_own),
)


def bench_ablation(
    seeds: Sequence[int],
    *,
    experiment: str = "mnist-rot",
    pool: PoolOptions | None = None,
    only: str | None = None,
    keep: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train every variant with every seed.

    Args:
        only: name of a single variant.

    Returns:
        For each variant the result of `bench_training`, and what it changes.

    Raises:
        InputError: there is no such variant.
    """
    progress = progress or Silent()
    variants = {variant.name: variant for variant in (*MATCHING, *REWARDING)}
    if only is not None and only not in variants:
        raise InputError(f"there is no variant {only!r}; {nearest(only, variants)}")
    found: dict[str, Any] = {}
    for variant in variants.values() if only is None else [variants[only]]:
        progress.note(f"{variant.name}: {variant.what}")
        folder = keep / variant.name.replace(" ", "-").replace(",", "") if keep else None
        with variant.patched():
            result = bench_training(
                experiment,
                seeds,
                pool=pool,
                overrides=variant.overrides,
                keep=folder,
                progress=progress,
            )
        found[variant.name] = {"what": variant.what, **result}
    return found


def table(result: dict[str, Any]) -> list[list[str]]:
    """Return a row per variant with the results of every seed."""
    rows = [["variant", "reached", "mean", "spread", "MMD² last", "score last"]]
    for name, variant in result.items():
        runs = variant["runs"]
        figures = [[f"{figure['found']:.1f}" for figure in run["figures"]] for run in runs]
        rows.append(
            [
                name,
                f"{variant['reached']} of {len(runs)}",
                *(", ".join(each) for each in zip(*(part[:2] for part in figures), strict=True)),
                ", ".join(f"{run['mmd'][-1]:.3f}" for run in runs if run["mmd"]) or "–",
                ", ".join(f"{run['scores'][-1]:.2f}" for run in runs if run["scores"]) or "–",
            ]
        )
    return rows
