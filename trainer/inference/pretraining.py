"""Pre-training: G_θ learns the identity (paper, section 3.2.1)."""

from collections.abc import Sequence

import torch

from trainer.grammar import SceneGraph
from trainer.inference.problem import Problem
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import Purpose, generator

LEARNING_RATE = 1e-2


def pretrain(problem: Problem, transformer: DistributionTransformer) -> dict[str, float]:
    """Train G_θ on the identity by cross-entropy and L1, in every mode; return each attribute's reconstruction error.

    The error is the mean absolute error on new scenes, as a fraction of the attribute's range, by "kind.name".
    """
    steps = problem.settings.pretraining_steps
    advance = problem.progress.step("learn the identity")
    optimizer = torch.optim.Adam(transformer.parameters(), LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    for step in range(steps):
        batch = problem.encoding.encode(_scenes(problem, problem.settings.batch, step))
        loss = transformer.reconstruct(batch).loss(batch, problem.encoding)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        advance(step + 1, steps)
    return reconstruction_error(transformer, _scenes(problem, 512, steps))


def reconstruction_error(transformer: DistributionTransformer, scenes: Sequence[SceneGraph]) -> dict[str, float]:
    """Return the mean absolute difference of G_θ(s) and s by "kind.name", as a fraction of the attribute's range."""
    encoding = transformer.encoding
    batch = encoding.encode(scenes)
    with torch.no_grad():
        difference = transformer(batch) - batch.values
    errors = {}
    for place, (kind, spec) in enumerate(encoding.mutable):
        part = difference[batch.places == place]
        if spec.is_angle:
            part = (part + 180) % 360 - 180
        errors[f"{kind}.{spec.name}"] = (part.abs().mean() / (spec.high - spec.low)).item() if len(part) else 0.0
    return errors


def _scenes(problem: Problem, count: int, index: int) -> list[SceneGraph]:
    """Return scenes of the prior in random modes. Modes have no meaning before the inference."""
    rng = generator(problem.seed, Purpose.PRETRAINING, index, 1)
    scenes = problem.scenes(Purpose.PRETRAINING, count, index)
    return [
        problem.grammar.with_choices(scene, [int(rng.integers(len(item.spec.categories))) for item in scene.choices])
        for scene in scenes
    ]
