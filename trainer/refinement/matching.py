"""Distribution matching: one step of descent on MMD²(φ(R(G_θ(S))), φ(X_R)) (paper, section 3.2.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch import Tensor

from trainer.features import FeatureSpace, features_of, to_tensor
from trainer.grammar import SceneGraph
from trainer.inference.problem import Problem
from trainer.metrics.mmd import MMD
from trainer.model.encoding import GraphBatch, with_values
from trainer.model.sampling import Drawn, changed, draw
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import Purpose, integer
from trainer.refinement import categories


@dataclass(frozen=True)
class Estimate:
    """The estimate of a loss and its gradient in one step.

    Attributes:
        loss: a scalar whose gradient is the estimate.
        values: the mutable numbers [M] that it went through, with their gradient kept.
        batch: the batch that they belong to.
        figures: for the metrics.
    """

    loss: Tensor
    values: Tensor
    batch: GraphBatch
    figures: Mapping[str, float] = field(default_factory=dict)


class DistributionMatching:
    """MMD² between renders of a batch and the target, in a feature space."""

    def __init__(self, problem: Problem, space: FeatureSpace, active: Sequence[int]) -> None:
        """
        Args:
            active: places in `encoding.mutable` of the attributes that are probed.
        """
        self._problem, self._space = problem, space
        mutable = problem.encoding.mutable
        self._probed = frozenset((mutable[place][0], mutable[place][1].name) for place in active)
        self.mmd = MMD(features_of(space, problem.target), space.layers)

    def __call__(self, transformer: DistributionTransformer, step: int) -> Estimate:
        problem = self._problem
        drawn = draw(transformer, problem.scenes(Purpose.STEP, problem.settings.batch, step))
        values = changed(transformer, drawn.batch)
        seed = integer(problem.seed, Purpose.STEP, step)
        images = problem.renderer.differentiable(
            values, drawn.scenes, seed, problem.settings.probing, probed=self._probed
        )
        features = self._space(images)
        mmd = self.mmd(features)
        loss = mmd + self._of_categories(transformer, drawn, features.detach(), seed)
        return Estimate(loss, values, drawn.batch, {"mmd_batch": mmd.item()})

    def _of_categories(
        self, transformer: DistributionTransformer, drawn: Drawn, features: Tensor, seed: int
    ) -> Tensor | float:
        """What carries the gradient with respect to the probabilities of categories; its value means nothing."""
        open_choices = transformer.unsettled[drawn.batch.choice_places].nonzero().squeeze(1)
        if not len(open_choices):
            return 0.0
        device = features.device
        scenes = torch.tensor(
            [index for index, scene in enumerate(drawn.scenes) for _ in scene.choices], dtype=torch.int64
        ).to(device)
        own = self.mmd.contributions(features, features, torch.arange(len(features), device=device))
        log_probabilities = drawn.log_probabilities
        chosen = drawn.batch.categories
        others = categories.possible(log_probabilities)[open_choices].sum() - len(open_choices)
        if others > self._problem.settings.choice_renders * len(drawn.scenes):
            picked = log_probabilities[open_choices, chosen[open_choices]]
            return categories.scored(picked, scenes[open_choices], own - self.mmd.baselines(features))
        contributions = torch.zeros_like(log_probabilities)
        rows = torch.arange(len(chosen), device=device)
        contributions[rows, chosen] = own[scenes]
        places, alternatives = self._alternatives(drawn, open_choices.tolist(), scenes.tolist())
        if alternatives:
            at = scenes[torch.tensor([row for row, _ in places])]
            with torch.no_grad():
                batch = self._problem.encoding.encode(alternatives)
                moved = with_values(alternatives, transformer(batch))
            # An alternative is drawn with the sampling noise of its scene, so that only the category differs.
            images = self._problem.renderer.images(moved, seed, numbers=at.tolist())
            found = self.mmd.contributions(self._space(to_tensor(images, device)), features, at)
            for (row, category), contribution in zip(places, found, strict=True):
                contributions[row, category] = contribution
        return categories.expected(log_probabilities[open_choices], contributions[open_choices])

    def _alternatives(
        self, drawn: Drawn, choices: Sequence[int], scenes: Sequence[int]
    ) -> tuple[list[tuple[int, int]], list[SceneGraph]]:
        """Every scene with another category in one place: (choice, category) of each, and the scene."""
        grammar = self._problem.grammar
        possible = categories.possible(drawn.log_probabilities)
        current = drawn.batch.categories.tolist()
        firsts = list(accumulate((len(scene.choices) for scene in drawn.scenes), initial=0))
        places, alternatives = [], []
        for row in choices:
            scene = drawn.scenes[scenes[row]]
            first = firsts[scenes[row]]
            for category in possible[row].nonzero().squeeze(1).tolist():
                if category != current[row]:
                    others = current[first : first + len(scene.choices)]
                    others[row - first] = category
                    places.append((row, category))
                    alternatives.append(grammar.with_choices(scene, others))
        return places, alternatives
