"""The score-function gradient of the structure, against the exact one of a small grammar."""

import numpy as np
import pytest
import torch
from support.grammars import FLAT, write_sprites

from trainer.grammar import load_grammar
from trainer.grammar.productions import Structure
from trainer.inference.count_channels import Channel, draw_counts, true_counts
from trainer.metrics.mmd import MMD
from trainer.refinement.structure_descent import Logits, advantages, surrogate

WORLD = (
    FLAT
    + """\
  disc: {class: disc, sprite: shapes, width: 8, height: 8}
  star: {class: star, sprite: shapes, width: 8, height: 8}
scene:
  - camera
  - {kind: {disc: 0.5, star: 0.5}, mutable: true, count: {categorical: {1: 0.5, 2: 0.5}, mutable: true}}
"""
)
CHANNELS = (Channel("disc"), Channel("star"))
START = Structure({"scene.1.count": (0.6, 0.4), "scene.1.kind": (0.3, 0.7)})
#: The scenes of the grammar as (discs, stars), how often their categories are drawn, and in how many orders.
SCENES = [
    ((1, 0), (1, 0, 1, 0), 1),
    ((0, 1), (1, 0, 0, 1), 1),
    ((2, 0), (0, 1, 2, 0), 1),
    ((1, 1), (0, 1, 1, 1), 2),
    ((0, 2), (0, 1, 0, 2), 1),
]


@pytest.fixture
def grammar(tmp_path):
    return load_grammar(write_sprites(tmp_path, WORLD))


@pytest.fixture
def mmd():
    rng = np.random.default_rng(5)
    target = torch.from_numpy(rng.poisson([1.5, 0.4], (200, 2))).double()
    return MMD(target, bandwidths=(0.7, 1.5))


def exact_gradient(grammar, mmd):
    """∂/∂φ of MMD² between the grammar's distribution and the target, all scenes enumerated."""
    logits = Logits(grammar.productions, START)
    logits.values.requires_grad_(True)
    draws = torch.tensor([draws for _, draws, _ in SCENES], dtype=torch.float64)
    orders = torch.tensor([count for *_, count in SCENES], dtype=torch.float64)
    p = (draws @ logits.log_probabilities()).exp() * orders
    assert p.sum().item() == pytest.approx(1)
    features = torch.tensor([counts for counts, *_ in SCENES], dtype=torch.float64)
    value = p @ mmd.kernel(features, features) @ p - 2 * p @ mmd.kernel(features, mmd.target).mean(1)
    value.backward()
    return logits.values.grad.numpy()


def estimates(grammar, mmd, count, batch, *, baseline):
    drawing, rng = grammar.with_structure(START), np.random.default_rng(1)
    found = []
    for _ in range(count):
        scenes = [drawing.sample(rng) for _ in range(batch)]
        features = torch.from_numpy(true_counts(scenes, CHANNELS)).double()
        logits = Logits(grammar.productions, START)
        logits.values.requires_grad_(True)
        draws = draw_counts(scenes, grammar.productions)
        surrogate(logits.log_probabilities(), draws, advantages(mmd, features, baseline=baseline)).backward()
        found.append(logits.values.grad.numpy())
    return np.array(found)


def test_the_estimate_is_unbiased_and_the_baseline_lowers_its_variance(grammar, mmd):
    exact = exact_gradient(grammar, mmd)
    with_baseline = estimates(grammar, mmd, 400, 16, baseline=True)
    plain = estimates(grammar, mmd, 400, 16, baseline=False)
    for found in (with_baseline, plain):
        error = found.std(0, ddof=1) / np.sqrt(len(found))
        assert (np.abs(found.mean(0) - exact) < 4 * error + 1e-12).all()
    assert np.abs(exact).max() > 20 * (with_baseline.std(0, ddof=1) / np.sqrt(400)).max() / 4
    assert with_baseline.var(0).sum() < 0.75 * plain.var(0).sum()


def test_the_exact_gradient_agrees_with_finite_differences(grammar, mmd):
    def value(logits):
        p = np.exp(np.array([draws for _, draws, _ in SCENES]) @ logits) * [count for *_, count in SCENES]
        features = torch.tensor([counts for counts, *_ in SCENES], dtype=torch.float64)
        within, across = mmd.kernel(features, features).numpy(), mmd.kernel(features, mmd.target).mean(1).numpy()
        return p @ within @ p - 2 * p @ across

    start = Logits(grammar.productions, START).values.numpy()
    exact = exact_gradient(grammar, mmd)
    for place in range(len(start)):
        moved = []
        for step in (1e-5, -1e-5):
            logits = Logits(grammar.productions, START)
            logits.values[place] += step
            moved.append(value(logits.log_probabilities().numpy()))
        assert (moved[0] - moved[1]) / 2e-5 == pytest.approx(exact[place], abs=1e-7)


def test_logits_give_the_structure_back(grammar):
    found = Logits(grammar.productions, START).structure().probabilities
    for name, row in START.probabilities.items():
        assert found[name] == pytest.approx(row)
