"""Two-sample test: whether two sets of images come from the same distribution.

The statistic is the unbiased MMD² between features of the two sets; its distribution under the null hypothesis comes
from permutations of the pooled sample (Gretton et al., A Kernel Two-Sample Test, JMLR 2012, section 5). The features
must not have been learned from either set: natural-image features, or those of a random network.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from trainer.metrics.mmd import MMD

#: Significance level: probability of rejecting two samples of the same distribution.
LEVEL = 0.05
PERMUTATIONS = 500
#: Bootstrap samples for the test whether learned images are closer to the target than the prior's.
BOOTSTRAP = 300


@dataclass(frozen=True)
class TwoSampleTest:
    """The outcome of a test."""

    #: Unbiased MMD² between the two samples.
    mmd: float
    #: p-value: fraction of the permutations (and the sample itself) whose MMD² is at least as large.
    p_value: float
    #: Standard deviation of MMD² under the null hypothesis.
    null_std: float

    @property
    def rejected(self) -> bool:
        """Return whether the samples differ at `LEVEL`."""
        return self.p_value <= LEVEL


def two_sample_test(
    x: Tensor,
    y: Tensor,
    rng: np.random.Generator,
    *,
    layers: Sequence[int] | None = None,
    permutations: int = PERMUTATIONS,
) -> TwoSampleTest:
    """Test whether features x and y have the same distribution.

    Args:
        x, y: [N, D] and [M, D], both at least 2 rows.
        rng: draws the permutations.
        layers: columns of each layer of the feature space; default: one layer.
        permutations: of the pooled sample; the smallest p-value is 1 / (permutations + 1).

    Raises:
        InputError: the pooled features are all alike.
    """
    pooled = torch.cat([x, y]).double()
    kernel = MMD(pooled, layers).kernel(pooled, pooled)
    kernel.fill_diagonal_(0)
    labels = np.zeros((permutations + 1, len(pooled)))
    labels[0, : len(x)] = 1
    for row in labels[1:]:
        row[rng.permutation(len(pooled))[: len(x)]] = 1
    values = _mmd_of_labels(kernel, torch.from_numpy(labels), len(x), len(y))
    observed, null = values[0], values[1:]
    # Equal labellings differ by rounding errors; the tolerance treats them as equal.
    exceeding = int((null >= observed - 1e-12).sum())
    return TwoSampleTest(observed.item(), (exceeding + 1) / (permutations + 1), null.std().item())


def _mmd_of_labels(kernel: Tensor, labels: Tensor, n: int, m: int) -> Tensor:
    """MMD² [P] for each row of labels [P, n + m]: 1 for the first sample, 0 for the second."""
    others = 1 - labels
    first = ((labels @ kernel) * labels).sum(1)
    second = ((others @ kernel) * others).sum(1)
    across = ((labels @ kernel) * others).sum(1)
    return first / (n * (n - 1)) + second / (m * (m - 1)) - 2 * across / (n * m)


@dataclass(frozen=True)
class Verdict:
    """What the two-sample test allows a report to claim."""

    #: matches: the test does not distinguish the learned images from the target's. closer: it does, but they are closer
    #: to the target than the prior's. apart: they are not closer.
    outcome: Literal["matches", "closer", "apart"]
    text: str
    #: Test of the learned images against the target's.
    p_value: float
    mmd: float
    prior_mmd: float
    #: Standard deviation of MMD² between two samples of one distribution.
    floor: float
    #: Images of each side.
    images: int
    target_images: int
    #: Name of the feature space.
    features: str

    def to_json(self) -> dict[str, Any]:
        """Return all fields."""
        return asdict(self)


def verdict(
    prior: Tensor,
    learned: Tensor,
    target: Tensor,
    rng: np.random.Generator,
    *,
    features: str,
    layers: Sequence[int] | None = None,
) -> Verdict:
    """Compare learned images with held-out images of the target.

    Args:
        prior, learned, target: features [N, D]; the target's images were not used in learning.
        rng: draws the permutations.
        features: name of the feature space.
        layers: columns of each of its layers.
    """
    test = two_sample_test(learned, target, rng, layers=layers)
    before = two_sample_test(prior, target, rng, layers=layers)
    if not test.rejected:
        outcome: Literal["matches", "closer", "apart"] = "matches"
        text = f"matches: the test does not tell learned images from the target's (p = {test.p_value:.2f})"
    elif gain_quantile(prior, learned, target, rng, layers) > 0:
        outcome = "closer"
        share = 100 * (1 - max(test.mmd, 0) / before.mmd)
        text = (
            f"closer: MMD² to the target is {share:.0f} % smaller than the prior's, but the target still differs from "
            f"every world that was tried (p = {test.p_value:.3f})"
        )
    else:
        outcome = "apart"
        text = f"apart: learned images are no nearer to the target than the prior's (p = {test.p_value:.3f})"
    return Verdict(
        outcome=outcome,
        text=text,
        p_value=test.p_value,
        mmd=test.mmd,
        prior_mmd=before.mmd,
        floor=test.null_std,
        images=len(learned),
        target_images=len(target),
        features=features,
    )


def gain_quantile(
    prior: Tensor, learned: Tensor, target: Tensor, rng: np.random.Generator, layers: Sequence[int] | None
) -> float:
    """Return the `LEVEL` quantile of MMD²(prior, target) - MMD²(learned, target) over bootstrap samples of the
    images.
    """
    pooled = torch.cat([prior, learned, target]).double()
    kernel = MMD(pooled, layers).kernel(pooled, pooled)
    kernel.fill_diagonal_(0)
    sizes = [len(prior), len(learned), len(target)]
    draws = [rng.multinomial(size, np.full(size, 1 / size), BOOTSTRAP) / size for size in sizes]
    p, q, t = (torch.from_numpy(weights) for weights in draws)
    rows = kernel.split(sizes)
    (pp, _, pt), (_, qq, qt) = (row.split(sizes, 1) for row in rows[:2])

    def towards_target(weights: Tensor, within: Tensor, across: Tensor) -> Tensor:
        n = weights.shape[1]
        return ((weights @ within) * weights).sum(1) * n / (n - 1) - 2 * ((weights @ across) * t).sum(1)

    gain = towards_target(p, pp, pt) - towards_target(q, qq, qt)
    return gain.quantile(LEVEL).item()
