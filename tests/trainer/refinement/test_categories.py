"""Both estimators against the gradient of the expected MMD², which is a closed form where images are few."""

import math

import pytest
import torch

from trainer.metrics.mmd import MMD
from trainer.refinement import categories

#: The image that each of three categories gives, as features.
IMAGES = torch.tensor([[0.0, 0.0], [1.0, 0.5], [-0.5, 1.5]], dtype=torch.float64)
SCENES = 6


def target() -> MMD:
    generator = torch.Generator().manual_seed(3)
    return MMD(IMAGES[torch.randint(1, 3, (20,), generator=generator)] + 0.1, bandwidths=(0.7,))


def expected_gradient(logits: torch.Tensor, mmd: MMD) -> torch.Tensor:
    """Of E[MMD²] = Σ π_c π_d k(c, d) - 2/M Σ π_c k(c, y), for independent scenes with the same probabilities."""
    logits = logits.clone().requires_grad_()
    probabilities = logits.softmax(0)
    within = probabilities @ mmd.kernel(IMAGES, IMAGES) @ probabilities
    across = probabilities @ mmd.kernel(IMAGES, mmd.target).mean(1)
    (within - 2 * across).backward()
    return logits.grad


def estimates(kind: str, count: int = 3000) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimates [count, 3] of the gradient with respect to common logits, and the expected one."""
    mmd = target()
    logits = torch.tensor([0.5, -0.2, 0.1], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(count):
        leaf = logits.clone().requires_grad_()
        log_probabilities = leaf.log_softmax(0).expand(SCENES, 3)
        drawn = torch.multinomial(logits.softmax(0), SCENES, replacement=True, generator=generator)
        features = IMAGES[drawn]
        if kind == "exact":
            places = torch.arange(SCENES).repeat_interleave(3)
            contributions = mmd.contributions(IMAGES.repeat(SCENES, 1), features, places).reshape(SCENES, 3)
            loss = categories.expected(log_probabilities, contributions)
        else:
            own = mmd.contributions(features, features, torch.arange(SCENES))
            picked = log_probabilities[torch.arange(SCENES), drawn]
            loss = categories.scored(picked, torch.arange(SCENES), own - mmd.baselines(features))
        loss.backward()
        found.append(leaf.grad)
    return torch.stack(found), expected_gradient(logits, mmd)


@pytest.mark.parametrize("kind", ["exact", "score"])
def test_the_estimate_is_unbiased(kind: str) -> None:
    found, wanted = estimates(kind)
    error = found.std(0) / math.sqrt(len(found))
    assert (found.mean(0) - wanted).abs().max() < 4 * error.max()
    assert wanted.abs().max() > 20 * error.max()  # So the comparison says something.


def test_rendering_every_category_lowers_the_variance() -> None:
    (exact, _), (score, _) = estimates("exact", 500), estimates("score", 500)
    assert exact.var(0).sum() < 0.8 * score.var(0).sum()


def test_impossible_categories_have_no_part() -> None:
    log_probabilities = torch.tensor([[0.0, 0.0, -torch.inf]]).log_softmax(1).requires_grad_()
    loss = categories.expected(log_probabilities, torch.tensor([[1.0, 3.0, 0.0]]))
    loss.backward()
    assert loss.item() == pytest.approx(2.0)
    assert torch.isfinite(log_probabilities.grad).all()
