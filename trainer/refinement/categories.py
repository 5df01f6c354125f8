"""Gradients of an MMD with respect to the probabilities of categories.

MMD² is a sum over pairs of images, so what the category of one scene contributes to its expectation is the witness
function at that scene's image, `MMD.contributions`, with everything else as it was drawn. Two unbiased estimators:

exact   every category's image is rendered, and the expectation over one categorical attribute, given all others, is a
        sum (local expectation gradients; Titsias & Lázaro-Gredilla, NIPS 2015):  Σ_c ∇π(c) h(x_c)
score   the drawn category's image alone:  (h(x) - b) ∇log π(c), where b is what the other scenes contribute without it
"""

import torch
from torch import Tensor


def expected(log_probabilities: Tensor, contributions: Tensor) -> Tensor:
    """Return a loss whose gradient is the exact estimate: Σ π(c) h(c), with h = 0 where π is.

    Args:
        log_probabilities: [C, K], -inf where there is no category.
        contributions: h, [C, K], without gradient.
    """
    probabilities = log_probabilities.exp()
    return (probabilities * contributions.detach()).sum()


def scored(log_probabilities: Tensor, scenes: Tensor, advantages: Tensor) -> Tensor:
    """Return a loss whose gradient is the score-function estimate.

    Args:
        log_probabilities: [C], of the categories that were drawn.
        scenes: int64 [C], the scene that each belongs to.
        advantages: h - b of each scene's image, [N]; b must not depend on what was drawn for the scene.
    """
    return (advantages.detach()[scenes] * log_probabilities).sum()


def possible(log_probabilities: Tensor) -> Tensor:
    """Return which categories can be drawn, bool [C, K]."""
    return torch.isfinite(log_probabilities)
