"""Selection effects of detection: the detected fraction of a population, and the number of nodes.

Readings of detections are a selected sample, and some are false. Renders show which nodes are detected. Weighted by
p / π, they give D(p), the detected fraction of the population, and the distribution of missed nodes, which enters the
M-step of the deconvolution (Dempster, Laird & Rubin, 1977, section 4.2; Mandel, Farr & Gair, MNRAS, 2019). A detection
that is true on renders with probability w has the odds w / (1 - w) · ρ · E_q[p / π] on the target, where ρ is the
target's number of nodes in an image over that of the renders. The likelihood is that of a Poisson process.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from trainer.inference.population import Population

#: Smallest detected fraction of a component that is assumed.
LEAST_RATE = 0.1
#: Number of nodes in renders at which a component's own detection rate gets half the trust.
FEW = 20.0


@dataclass(frozen=True)
class Selection:
    """Nodes of renders, and which of them were detected; J of them.

    Attributes:
        numbers: [J, d].
        categories: int [J, F].
        log_proposal: [J], their log density in the renders.
        detected: bool [J].
        renders: number of renders.
        images: number of images that the readings are from.
    """

    numbers: np.ndarray
    categories: np.ndarray
    log_proposal: np.ndarray
    detected: np.ndarray
    renders: int
    images: float

    def rates(self, population: Population) -> "Rates":
        """Return the detected fraction of a population, by component.

        Importance weights are truncated at √J times their mean (Ionides, Truncated Importance Sampling, 2008). The rate
        of a component that few renders show is shrunk towards the rate of all nodes.
        """
        log = population.component_log_densities(self.numbers, self.categories) - self.log_proposal[:, None]
        highest = log.max(0)
        parts = np.exp(log - np.where(np.isfinite(highest), highest, 0))
        parts = np.minimum(parts, np.sqrt(len(parts)) * parts.mean(0))
        parts = parts / np.maximum(parts.sum(0), 1e-300)
        effective = 1 / np.maximum(np.square(parts).sum(0), 1e-300)  # Kish's effective number of nodes
        trust = np.where(parts.sum(0) > 0, effective / (effective + FEW), 0)
        found = trust * parts[self.detected].sum(0) + (1 - trust) * self.detected.mean()
        found = np.clip(found, LEAST_RATE, 1.0)
        weights = np.append(population.weights, population.background)
        weights = weights / weights.sum()
        missed = parts * (~self.detected)[:, None]
        errors = weights * np.sqrt(found * (1 - found) / (effective + FEW))
        return Rates(
            found,
            missed / np.maximum(missed.sum(0), 1e-300),
            trust,
            float(weights @ found),
            float(np.sqrt(np.square(errors).sum())),
        )


@dataclass(frozen=True)
class Rates:
    """The detected fraction of a population with M components and the background.

    Attributes:
        components: [M + 1], the detected fraction of each component.
        missed: [J, M + 1], weights of the renders' nodes in the missed part of each component.
        trust: [M + 1], from 0 to 1, how well the renders cover each component.
        value: the detected fraction of the whole population.
        error: the standard error of `value`.
    """

    components: np.ndarray
    missed: np.ndarray
    trust: np.ndarray
    value: float
    error: float


@dataclass(frozen=True)
class Count:
    """The expected number of nodes of a kind in an image of the target, undetected nodes included.

    Attributes:
        value: the number.
        error: its standard error.
        detected: the detected fraction of the nodes.
    """

    value: float
    error: float
    detected: float


@dataclass(frozen=True)
class Evidence:
    """The evidence of readings for a population.

    Attributes:
        true: [n], the probability that each reading is true, or its weight.
        log_likelihood: mean log-likelihood of a reading.
        rates: detection rates of the population.
        count: the expected number of nodes in an image.
    """

    true: np.ndarray
    log_likelihood: float
    rates: Rates | None = None
    count: Count | None = None


def evidence_of(
    weights: np.ndarray, normaliser: np.ndarray, selection: Selection | None, population: Population
) -> Evidence:
    """Return the evidence of readings for a population.

    Args:
        weights: [n]; for detections the probability that they would be true on renders.
        normaliser: [n], log E_q[p / π] of each reading.
        selection: the detection of nodes; None: there is a reading of every node.
    """
    if selection is None:
        return Evidence(weights, float(np.average(normaliser, weights=weights)))
    rates = selection.rates(population)
    of_renders = len(selection.detected) / selection.renders
    odds = logit(np.clip(weights, 1e-6, 1 - 1e-6)) + normaliser
    log_ratio = 0.0
    for _ in range(20):  # Fixed point: the number of true detections equals its expectation.
        true = expit(odds + log_ratio)
        count = true.sum() / (rates.value * selection.images)
        log_ratio = float(np.log(max(count / of_renders, 1e-6)))
    likelihood = float(np.logaddexp(odds + log_ratio, 0).sum() - true.sum()) / float(weights.sum())
    error = float(np.hypot(np.sqrt(np.square(true).sum()) / selection.images, rates.error * count)) / rates.value
    return Evidence(true, likelihood, rates, Count(float(count), error, rates.value))
