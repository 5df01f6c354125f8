"""The task loss: one step of ascent on the task network's score on V (paper, section 3.2.3, algorithm 1)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.grammar import SceneGraph
from trainer.inference.problem import Problem, Validation
from trainer.model.encoding import GraphBatch, with_values
from trainer.model.sampling import changed, draw
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import Purpose, integer, torch_generator
from trainer.refinement.matching import Estimate
from trainer.refinement.score_function import Baseline, shared_noise, shared_score
from trainer.tasks.labelling import labelled

#: Standard deviation of the perturbations of categories' logits.
LOGIT_SIGMA = 0.5


class TaskLoss:
    """The negative expected score of a task network trained on data from G_θ.

    Pairs of datasets are drawn around G_θ's output and rendered. The network is trained on each from scratch, with the
    same seed, and scored on V. The perturbations are a common shift of each attribute's values and of each categorical
    attribute's logits; see `trainer.refinement.score_function`.
    """

    def __init__(self, problem: Problem, validation: Validation, baseline: Baseline, active: Sequence[int]) -> None:
        """
        Args:
            active: indices in `encoding.mutable` of the attributes to perturb.
        """
        self._problem, self._validation, self.baseline = problem, validation, baseline
        self._sigma = torch.zeros(len(problem.encoding.mutable))
        for place in active:
            _, spec = problem.encoding.mutable[place]
            self._sigma[place] = problem.settings.task_sigma * (spec.high - spec.low)
        self._sigma = self._sigma.to(problem.device)
        datasets = 2 * problem.settings.task_pairs
        problem.progress.note(
            f"task loss: each step renders {datasets * self._images:,} images, trains the {validation.network.name} "
            f"{datasets} times on {self._images:,} of them, and scores it on {len(validation.images):,} labelled images"
        )

    @property
    def _images(self) -> int:
        """Return the number of images in each dataset."""
        return self._problem.settings.task_images or self._validation.network.train_images

    def __call__(self, transformer: DistributionTransformer, step: int) -> Estimate:
        problem, settings = self._problem, self._problem.settings
        scenes = problem.scenes(Purpose.REWARD, self._images, step)
        drawn = draw(transformer, scenes)
        mean = changed(transformer, drawn.batch)
        tried, rewards = [], []
        for pair in range(settings.task_pairs):
            generator = torch_generator(problem.seed, Purpose.REWARD, step, pair)
            noise = shared_noise(drawn.batch.places, len(self._sigma), generator)
            offsets = torch.randn(transformer.log_prior.shape, generator=generator).to(transformer.log_prior)
            offsets = LOGIT_SIGMA * offsets * transformer.unsettled[:, None]
            for sign in (1, -1):
                moved = draw(transformer, scenes, offsets=sign * offsets) if len(offsets) else drawn
                values = self._drawn(transformer(moved.batch).detach(), sign * noise, moved.batch)
                tried.append((sign * noise, sign * offsets))
                rewards.append(self._score(with_values(moved.scenes, values), step))
        advantages = self.baseline.advantages(rewards)
        loss = mean.sum() * 0
        for (noise, offsets), advantage in zip(tried, advantages, strict=True):
            weight = advantage / len(tried)
            loss = loss - weight * self._shift(mean, noise, drawn.batch)
            loss = loss - weight * self._logits(drawn.log_probabilities, offsets, drawn.batch)
        figures = {"score": sum(rewards) / len(rewards), "baseline": float(self.baseline.value or 0)}
        return Estimate(settings.task_weight * loss, mean, drawn.batch, figures)

    def _score(self, scenes: list[SceneGraph], step: int) -> float:
        """Return R, the score on V of a network trained on these scenes; higher is better."""
        problem, validation = self._problem, self._validation
        images, labels = labelled(
            problem.renderer, validation.network, scenes, integer(problem.seed, Purpose.REWARD, step)
        )
        seed = integer(problem.seed, Purpose.TASK_NETWORK, step)
        model = validation.network.train(images, labels, seed)
        return validation.network.score(model, validation.images, validation.labels).reward

    def _drawn(self, mean: Tensor, noise: Tensor, batch: GraphBatch) -> Tensor:
        """Return mean + σ noise, clipped to the ranges; the density of the unclipped draw applies."""
        values = mean + self._sigma[batch.places] * noise
        specs = [self._problem.encoding.mutable[place][1] for place in batch.places.tolist()]
        low = torch.tensor([-torch.inf if spec.wraps else spec.low for spec in specs]).to(values)
        high = torch.tensor([torch.inf if spec.wraps else spec.high for spec in specs]).to(values)
        return torch.minimum(torch.maximum(values, low), high)

    def _shift(self, mean: Tensor, noise: Tensor, batch: GraphBatch) -> Tensor:
        """Return a scalar with gradient ∇ log p of each attribute's common shift, spread evenly over its values."""
        score = shared_score(noise, batch.places, len(self._sigma)) / self._sigma.clamp_min(1e-30) * (self._sigma > 0)
        sizes = torch.bincount(batch.places, minlength=len(self._sigma)).clamp_min(1)
        return ((score / sizes)[batch.places] * mean).sum()

    @staticmethod
    def _logits(log_probabilities: Tensor, offsets: Tensor, batch: GraphBatch) -> Tensor:
        """Return a scalar with gradient ∇ log p of a common shift of each categorical attribute's logits."""
        if not len(batch.choice_places):
            return log_probabilities.sum()
        possible = torch.isfinite(log_probabilities)
        sizes = torch.bincount(batch.choice_places, minlength=len(offsets)).clamp_min(1)
        weights = (offsets / LOGIT_SIGMA**2 / sizes[:, None])[batch.choice_places]
        # Adding a constant to all logits of a choice changes nothing.
        weights = weights - (weights * possible).sum(1, keepdim=True) / possible.sum(1, keepdim=True)
        return (weights * log_probabilities.masked_fill(~possible, 0)).sum()
