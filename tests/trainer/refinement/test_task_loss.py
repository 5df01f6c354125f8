"""The task loss with a scoring function that is known in closed form instead of a network and a renderer."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.grammars import FLAT, write_sprites

from trainer.grammar import Grammar, SceneGraph, load_grammar
from trainer.inference.problem import Problem, Validation
from trainer.inference.training_settings import TrainingSettings
from trainer.model.encoding import Encoding
from trainer.model.transformer import DistributionTransformer
from trainer.refinement.score_function import Baseline
from trainer.refinement.task_loss import TaskLoss
from trainer.tasks import Scores

WORLD = (
    FLAT
    + """\
  thing:
    class: thing
    sprite: {set: shapes, weights: {disc: 0.5, star: 0.5}, mutable: true}
    width: 8
    height: 8
    x: {normal: [0, 1], mutable: true, range: [-50, 50]}
scene: [camera, thing]
"""
)
GOAL = 4.0


class Network:
    """Trained on scenes' labels alone; its score is how near their mean is to GOAL, plus how many are stars."""

    name = "nearness"
    outputs: Sequence[int] = ()
    train_images = 60

    def __init__(self) -> None:
        self.seen: list[list[tuple[float, int]]] = []

    def label(self, scene: SceneGraph, _frame: Any) -> tuple[float, int]:
        node = scene.nodes[1]
        return node.values["x"], node.choices["sprite"]

    def train(self, _images: np.ndarray, labels: Sequence[Any], _seed: int) -> Sequence[Any]:
        self.seen.append(list(labels))
        return labels

    def score(self, model: Sequence[Any], _images: np.ndarray, _labels: Sequence[Any]) -> Scores:
        x, stars = np.mean(model, axis=0)
        return Scores("nearness", {"nearness": -((x - GOAL) ** 2) / 10 + 2 * stars})


class Renderer:
    """Renders nothing."""

    def render(self, scenes: Sequence[SceneGraph], _seed: int, _outputs: Sequence[int]) -> list[Any]:
        return [SimpleNamespace(image=np.zeros((4, 4, 3), np.uint8)) for _ in scenes]


@pytest.fixture
def grammar(tmp_path: Path) -> Grammar:
    return load_grammar(write_sprites(tmp_path, WORLD))


def made(grammar: Grammar, **settings: object) -> tuple[TaskLoss, DistributionTransformer, Network]:
    network = Network()
    validation = Validation(network, np.zeros((1, 4, 4, 3), np.uint8), [0])
    parsed = TrainingSettings.parse(settings)
    problem = Problem(grammar, parsed, 0, Renderer(), np.zeros((1, 4, 4, 3), np.uint8), validation)  # type: ignore[arg-type]
    transformer = DistributionTransformer(Encoding(grammar), torch.Generator().manual_seed(0))
    torch.nn.init.zeros_(transformer.output.weight)
    torch.nn.init.zeros_(transformer.output.bias)
    return TaskLoss(problem, validation, Baseline(), [0]), transformer, network


def test_the_gradient_is_that_of_the_expected_score(grammar: Grammar) -> None:
    loss, transformer, _ = made(grammar, task_sigma=0.02, task_pairs=4)
    gradients = []
    for step in range(60):
        transformer.zero_grad()
        estimate = loss(transformer, step)
        estimate.loss.backward()
        gradients.append(float(estimate.values.grad.sum()))
    found = np.array(gradients)
    # E[R] = -((m - GOAL)² + var of the mean) / 10 + ...: at m = 0 its derivative is 2 GOAL / 10. The loss is -E[R].
    error = found.std(ddof=1) / np.sqrt(len(found))
    assert found.mean() == pytest.approx(-2 * GOAL / 10, abs=4 * error)
    assert 8 * error < 2 * GOAL / 10


def test_the_gradient_raises_the_category_that_scores(grammar: Grammar) -> None:
    loss, transformer, _ = made(grammar, task_sigma=0.0001)
    start = transformer.encoding.choice_starts[0]
    gradients = []
    for step in range(40):
        transformer.zero_grad()
        loss(transformer, step).loss.backward()
        gradients.append(transformer.output.bias.grad[start : start + 2].clone())
    disc, star = torch.stack(gradients).mean(0).tolist()
    # d/dlogit of 2 P(star), averaged over what is tried of the logits, is a little below 2 π (1 - π) = 0.5.
    assert star == pytest.approx(-0.45, abs=0.12)
    assert disc == pytest.approx(-star)


def test_the_data_are_the_sample(grammar: Grammar) -> None:
    """Each dataset is made of its own draw, in pairs around G_θ's output."""
    loss, transformer, network = made(grammar, task_sigma=0.02, task_pairs=2)
    loss(transformer, 0)
    means = [np.mean([x for x, _ in labels]) for labels in network.seen]
    assert len(means) == 4
    assert means[0] - means[2] != pytest.approx(0, abs=1e-3)
    assert means[0] + means[1] == pytest.approx(means[2] + means[3], abs=1e-3)
    assert abs(means[0] - means[1]) > 0.5


def test_following_it_reaches_the_goal_and_an_undisturbed_start_does_not(grammar: Grammar) -> None:
    scores = {}
    for rate in (0.05, 0.0):
        loss, transformer, _ = made(grammar, task_sigma=0.02, task_images=30)
        optimizer = torch.optim.Adam(transformer.parameters(), lr=rate)
        for step in range(25):
            optimizer.zero_grad()
            estimate = loss(transformer, step)
            estimate.loss.backward()
            optimizer.step()
        scores[rate] = estimate.figures["score"]
    assert scores[0.05] > scores[0.0] + 1


def test_values_stay_in_their_range(grammar: Grammar) -> None:
    loss, transformer, network = made(grammar, task_sigma=0.5)
    loss(transformer, 0)
    assert max(abs(x) for labels in network.seen for x, _ in labels) <= 50
