from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from support.grammars import write_sprites

from trainer.grammar import load_grammar
from trainer.grammar.distributions import Mixture, Normal, TruncatedNormal, Uniform
from trainer.inference.population import Population
from trainer.inference.problem import Problem
from trainer.inference.training_settings import TrainingSettings
from trainer.inference.transport import Modes, carry, standard_normal
from trainer.inference.variables import Factor, Number, Variables, variables_of
from trainer.model.sampling import transformed
from trainer.model.transformer import DistributionTransformer


def problem_of(folder: Path) -> Problem:
    grammar = load_grammar(write_sprites(folder))
    renderer: Any = SimpleNamespace(settings=SimpleNamespace(width_px=24, height_px=24))
    return Problem(grammar, TrainingSettings.parse({}), 0, renderer, np.zeros((2, 24, 24, 3), np.uint8))


@pytest.mark.parametrize("distribution", [Normal(1.0, 2.0), Uniform(-3.0, 5.0), TruncatedNormal(0.0, 1.0, -1.0, 2.0)])
def test_values_of_a_distribution_become_standard_normal(distribution):
    rng = np.random.default_rng(0)
    z = standard_normal(distribution, np.array([distribution.sample(rng) for _ in range(4000)]), False)
    assert z.mean() == pytest.approx(0, abs=0.06)
    assert z.std() == pytest.approx(1, abs=0.05)
    assert np.quantile(z, [0.1, 0.9]) == pytest.approx(norm.ppf([0.1, 0.9]), abs=0.1)


def test_a_mixture_becomes_standard_normal_as_well():
    mixture = Mixture((Normal(-3.0, 0.5), Normal(3.0, 0.5)), (0.5, 0.5))
    rng = np.random.default_rng(0)
    z = standard_normal(mixture, np.array([mixture.sample(rng) for _ in range(4000)]), False)
    assert z.std() == pytest.approx(1, abs=0.05)


def test_the_transformer_carries_the_prior_to_a_mixture_with_correlations(tmp_path: Path):
    torch.set_num_threads(1)
    problem = problem_of(tmp_path)
    scenes = problem.scenes(1, 200)  # type: ignore[arg-type]
    names = {(kind, spec.name) for kind, spec in problem.encoding.mutable}
    [(kind, variables)] = variables_of(problem.grammar, scenes, names).items()
    order = [number.name for number in variables.numbers]
    x, yaw = order.index("x"), order.index("yaw")
    means, covariances = np.zeros((2, 2)), np.zeros((2, 2, 2))
    means[:, x], means[:, yaw] = (3.0, -2.0), (100.0, -40.0)
    for m, slope in enumerate((4.0, 0.0)):
        covariances[m, x, x] = 1.0
        covariances[m, x, yaw] = covariances[m, yaw, x] = slope
        covariances[m, yaw, yaw] = slope**2 + 36.0
    frequencies = tuple(np.full((2, len(f.categories)), 1 / len(f.categories)) for f in variables.factors)
    population = Population(variables, np.array([0.7, 0.3]), means, covariances, frequencies)
    transformer = DistributionTransformer(problem.encoding, torch.Generator().manual_seed(0))
    errors = carry(problem, transformer, {kind: population})
    assert max(errors.values()) < 0.25
    fresh = transformed(transformer, problem.scenes(2, 1500))  # type: ignore[arg-type]
    nodes = [next(node for node in scene.nodes if node.kind == kind) for scene in fresh]
    values = np.array([[node.values["x"], node.values["yaw"]] for node in nodes])
    first = values[:, 1] > 30
    assert first.mean() == pytest.approx(0.7, abs=0.05)
    assert values[first].mean(0) == pytest.approx([3.0, 100.0], abs=1.0)
    assert values[~first].mean(0) == pytest.approx([-2.0, -40.0], abs=1.0)
    assert values[~first].std(0) == pytest.approx([1.0, 6.0], rel=0.2)
    covariance = np.cov(values[first].T)
    assert covariance[0, 1] / covariance[0, 0] == pytest.approx(4.0, rel=0.2)


def test_modes_of_a_context_leave_out_components_that_it_lacks():
    classes = Factor("class", ("a", "b"), False, (0.5, 0.5))
    variables = Variables("thing", (Number("x", "m", -1.0, 1.0, False, 0.0, 0.1),), (classes,))
    population = Population(
        variables,
        np.array([0.5, 0.5]),
        np.array([[0.1], [0.2]]),
        np.full((2, 1, 1), 0.01),
        (np.array([[0.995, 0.005], [0.4, 0.6]]),),
    )
    modes = Modes.of(population, np.array([[0], [1]]))
    assert modes.shares[1].tolist() == [0.0, 1.0, 0.0, 0.0]
    assert modes.shares[0, :2] == pytest.approx([0.995 / 1.395, 0.4 / 1.395])
