"""Descent of the structure on MMD² by the score function (Devaranjan et al., Meta-Sim2, ECCV 2020, section 3.3).

    ∂/∂φ E[MMD²] = E[Σ_i (h_i - b_i) ∂/∂φ log p_φ(z_i)]

z_i are the draws of scene i, and φ the logits of the productions. h_i is the contribution of image i to the batch's
MMD². The baseline b_i is the contribution of the other images without image i. It is independent of z_i, so the
estimate stays unbiased.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from trainer.features import FeatureSpace, features_of
from trainer.grammar import Grammar, SceneGraph
from trainer.grammar.productions import Production, Structure
from trainer.inference.count_channels import draw_counts
from trainer.inference.problem import Problem
from trainer.metrics.mmd import MMD
from trainer.randomness import Purpose, generator, integer

#: Learning rate of Adam for logits; it falls to zero along a cosine.
LEARNING_RATE = 0.08
#: Steps, and scenes per step, relative to the descent of attributes.
STEPS, BATCH = 2, 2
#: Fraction of the steps, the last ones, whose structures are averaged.
AVERAGED = 0.5

#: Applies the learned attributes to scenes of the prior.
Change = Callable[[Sequence[SceneGraph]], list[SceneGraph]]


class Logits:
    """The logits of all productions of a grammar in one row [C]."""

    def __init__(self, productions: Sequence[Production], structure: Structure) -> None:
        self._productions = productions
        self._sizes = [len(each.categories) for each in productions]
        rows = [structure.probabilities[each.name] for each in productions]
        flat = torch.tensor([share for row in rows for share in row], dtype=torch.float64)
        self.values = flat.clamp_min(1e-6).log()

    def log_probabilities(self) -> Tensor:
        """Return the log probabilities [C] of the categories, production by production."""
        return torch.cat([part.log_softmax(0) for part in self.values.split(self._sizes)])

    def structure(self) -> Structure:
        """Return the probabilities."""
        parts = self.log_probabilities().detach().exp().split(self._sizes)
        return Structure({each.name: tuple(part.tolist()) for each, part in zip(self._productions, parts, strict=True)})


def surrogate(log_probabilities: Tensor, draws: np.ndarray, advantages: Tensor) -> Tensor:
    """Return a scalar whose gradient is the score-function estimate; its value has no meaning.

    Args:
        log_probabilities: [C].
        draws: [N, C], how often each category was drawn in each scene.
        advantages: h - b of each scene's image, [N].
    """
    return (torch.from_numpy(draws) * log_probabilities).sum(1) @ advantages.detach().cpu().double()


def advantages(mmd: MMD, features: Tensor, *, baseline: bool = True) -> Tensor:
    """Return h - b [N] of images with features [N, D].

    Args:
        baseline: False: b is 0, the plain estimator.
    """
    own = mmd.contributions(features, features, torch.arange(len(features)))
    return own - mmd.baselines(features) if baseline else own


def descend_structure(
    problem: Problem, prior: Grammar, start: Structure, space: FeatureSpace, change: Change
) -> Structure:
    """Return the structure after descent on MMD² in a feature space.

    Args:
        prior: the grammar whose productions are learned.
        change: applies the learned attributes to scenes.
    """
    settings, productions = problem.settings, prior.productions
    steps, batch = STEPS * settings.steps, BATCH * settings.batch
    mmd = MMD(features_of(space, problem.target), space.layers)
    logits = Logits(productions, start)
    logits.values.requires_grad_(True)
    optimizer = torch.optim.Adam([logits.values], LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    advance = problem.progress.step("descend the structure")
    mean = torch.zeros_like(logits.values)
    kept = max(1, round(AVERAGED * steps))
    for step in range(steps):
        rng = generator(problem.seed, Purpose.STRUCTURE, 7, step)
        drawing = prior.with_structure(logits.structure())
        scenes = [drawing.sample(rng) for _ in range(batch)]
        images = problem.renderer.images(change(scenes), integer(problem.seed, Purpose.STRUCTURE, 8, step))
        found = advantages(mmd, features_of(space, images))
        optimizer.zero_grad()
        surrogate(logits.log_probabilities(), draw_counts(scenes, productions), found).backward()
        optimizer.step()
        schedule.step()
        if step >= steps - kept:
            mean += logits.values.detach() / kept
        advance(step + 1, steps)
    logits.values = mean
    return logits.structure()
