"""Posteriors as mixtures of normal numbers and categories, and the network head that predicts them.

q(a, c | x) = Σ_k w_k(x) N(a; μ_k(x), (A_k(x)ᵀ A_k(x))⁻¹) Π_f Cat(c_f; π_kf(x))
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.grammar import SceneGraph
from trainer.inference.variables import Variables

#: Number of components of a posterior, and of hidden features of its head.
COMPONENTS, HIDDEN = 8, 128
#: Weight of the loss of categories; that of numbers is 1.
CATEGORY = 0.5
#: Largest standard deviation of a component, in units: a radian, or half a range.
WIDEST = 1.2
#: Smallest standard deviation of a component, in the same units.
NARROWEST = 2e-3


@dataclass(frozen=True)
class Layout:
    """The variables of nodes that are read jointly, one node of each kind: D numbers and F factors in all."""

    kinds: tuple[Variables, ...]

    @cached_property
    def angles(self) -> Tensor:
        """Return which numbers are angles, bool [D]."""
        return torch.tensor([n.is_angle for kind in self.kinds for n in kind.numbers], dtype=torch.bool)

    @cached_property
    def centres(self) -> Tensor:
        return torch.tensor([0.0 if n.is_angle else (n.low + n.high) / 2 for kind in self.kinds for n in kind.numbers])

    @cached_property
    def units(self) -> Tensor:
        """Return the units [D]: a radian for angles, half of the range for other numbers."""
        return torch.tensor(
            [math.degrees(1) if n.is_angle else (n.high - n.low) / 2 for kind in self.kinds for n in kind.numbers]
        )

    @cached_property
    def sizes(self) -> list[int]:
        """Return the number of categories of each factor [F]."""
        return [len(factor.categories) for kind in self.kinds for factor in kind.factors]

    @property
    def codes(self) -> int:
        """Return the number of outputs per node that `loss` takes."""
        return int((~self.angles).sum()) + 4 * int(self.angles.sum()) + sum(self.sizes)

    def loss(self, points: Tensor, numbers: Tensor, categories: Tensor) -> Tensor:
        """Return the loss of points [N, codes]: root mean square errors, and cross-entropies of categories.

        The points of an angle are cosine and sine of the angle and of its double, because an object's axis is learned
        long before its front. The square root balances the gradients of numbers with small and large errors.

        Args:
            numbers: [N, D], in units.
            categories: int64 [N, F].
        """
        plain, angle = numbers[:, ~self.angles], numbers[:, self.angles]
        wanted = torch.cat([plain, angle.cos(), angle.sin(), (2 * angle).cos(), (2 * angle).sin()], 1)
        values, *logits = points.split([wanted.shape[1], *self.sizes], 1)
        loss = ((values - wanted).square().mean(0) + 1e-6).sqrt().sum()
        for f, each in enumerate(logits):
            loss = loss + CATEGORY * F.cross_entropy(each, categories[:, f])
        return loss

    def in_units(self, numbers: np.ndarray) -> Tensor:
        """Return numbers [N, D] divided by their units."""
        return (torch.from_numpy(numbers).float() - self.centres) / self.units

    def in_their_units(self, numbers: Tensor, categories: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return numbers [..., D], converted from units to the grammar's scale, and categories [..., F]."""
        return (numbers * self.units + self.centres).double().numpy(), categories.numpy()

    def slices(self) -> list[tuple[Variables, slice, slice]]:
        """Return each kind with the slices of its numbers and of its factors."""
        found, number, factor = [], 0, 0
        for kind in self.kinds:
            found.append(
                (
                    kind,
                    slice(number, number + len(kind.numbers)),
                    slice(factor, factor + len(kind.factors)),
                )
            )
            number, factor = number + len(kind.numbers), factor + len(kind.factors)
        return found

    def truth(self, scenes: Sequence[SceneGraph]) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers [N, D] and categories [N, F] of scenes."""
        numbers, categories = [], []
        for scene in scenes:
            first = {node.kind: node for node in reversed(scene.nodes)}
            nodes = [(kind, first[kind.kind]) for kind in self.kinds]
            numbers.append([value for kind, node in nodes for value in kind.values_of(node)])
            categories.append([value for kind, node in nodes for value in kind.categories_of(scene, node)])
        return (
            np.array(numbers, dtype=np.float64).reshape(len(scenes), -1),
            np.array(categories, dtype=np.int64).reshape(len(scenes), -1),
        )


@dataclass(frozen=True)
class Posterior:
    """Mixtures for N images; K components, in units.

    Attributes:
        log_weights: [N, K].
        means: [N, K, D].
        precision: lower triangular [N, K, D, D]: A.
        log_frequencies: of each factor [N, K, categories].
    """

    log_weights: Tensor
    means: Tensor
    precision: Tensor
    log_frequencies: tuple[Tensor, ...]

    def log_prob(self, angles: Tensor, numbers: Tensor, categories: Tensor) -> Tensor:
        """Return log q [N] of numbers [N, D], in units, and categories [N, F]."""
        log = self.log_weights
        if numbers.shape[1]:
            difference = numbers[:, None] - self.means
            turned = torch.remainder(difference + math.pi, 2 * math.pi) - math.pi
            difference = torch.where(angles.to(difference.device), turned, difference)
            whitened = (self.precision @ difference[..., None])[..., 0]
            log = log - 0.5 * whitened.square().sum(-1)
            log = log + self.precision.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            log = log - 0.5 * numbers.shape[1] * math.log(2 * math.pi)
        for f, of_factor in enumerate(self.log_frequencies):
            index = categories[:, f, None, None].expand(-1, of_factor.shape[1], 1)
            log = log + of_factor.gather(2, index)[..., 0]
        return log.logsumexp(1)

    def calibrated(self, log_scales: Tensor, log_temperature: Tensor) -> "Posterior":
        """Return the posterior with standard deviations times exp(log_scales) [D] and tempered weights."""
        return Posterior(
            (self.log_weights * log_temperature.exp()).log_softmax(1),
            self.means,
            self.precision / log_scales.exp(),
            tuple((each * log_temperature.exp()).log_softmax(2) for each in self.log_frequencies),
        )

    def cpu(self) -> "Posterior":
        """Return the posteriors on the CPU. Samples are drawn there."""
        frequencies = tuple(each.cpu() for each in self.log_frequencies)
        return Posterior(self.log_weights.cpu(), self.means.cpu(), self.precision.cpu(), frequencies)

    def of(self, index: np.ndarray) -> "Posterior":
        """Return the posteriors at an index."""
        frequencies = tuple(each[index] for each in self.log_frequencies)
        return Posterior(self.log_weights[index], self.means[index], self.precision[index], frequencies)

    def calibration(self, layout: Layout, numbers: Tensor, categories: Tensor) -> tuple[Tensor, Tensor, float]:
        """Return the log scales [D] and the log temperature of maximum likelihood, and the mean log-likelihood.

        Args:
            numbers: [N, D], in units.
            categories: int64 [N, F].
        """
        scales, temperature = torch.zeros(len(layout.angles)), torch.zeros(())
        parameters = [scales.requires_grad_(True), temperature.requires_grad_(True)]
        optimizer = torch.optim.Adam(parameters, 0.05)
        likelihood = 0.0
        for _ in range(80):
            log = self.calibrated(scales, temperature).log_prob(layout.angles, numbers, categories)
            loss = -log.mean() + (0.1 / len(log)) * (scales.square().sum() + temperature.square())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            likelihood = -loss.item()
        return scales.detach(), temperature.detach(), likelihood

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return numbers [N, count, D], in units, and categories [N, count, F]."""
        n, k, d = self.means.shape
        chosen = torch.multinomial(self.log_weights.exp(), count, replacement=True, generator=generator)
        rows = torch.arange(n)[:, None]
        numbers = self.means[rows, chosen]
        if d:
            noise = torch.randn(n, count, d, 1, generator=generator)
            inverse = torch.linalg.solve_triangular(self.precision, torch.eye(d).expand(n, k, d, d), upper=False)
            numbers = numbers + (inverse[rows, chosen] @ noise)[..., 0]
        categories = [
            torch.multinomial(each.exp()[rows, chosen].flatten(0, 1), 1, generator=generator).reshape(n, count)
            for each in self.log_frequencies
        ]
        drawn = torch.stack(categories, -1) if categories else torch.zeros(n, count, 0, dtype=torch.int64)
        return numbers, drawn


class DensityHead(nn.Module):
    """Maps features of an image or an object to its posterior."""

    def __init__(self, features: int, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        self.dimensions = len(layout.angles)
        d, k = self.dimensions, COMPONENTS
        self.hidden = nn.Sequential(nn.Linear(features, HIDDEN), nn.ReLU())
        self.weights = nn.Linear(HIDDEN, k)
        #: Two outputs for each number: cosine and sine of an angle; else the mean and an unused output.
        self.means = nn.Linear(HIDDEN, k * max(d, 1) * 2)
        self.diagonal = nn.Linear(HIDDEN, k * max(d, 1))
        self.lower = nn.Linear(HIDDEN, k * d * (d - 1) // 2) if d > 1 else None
        self.frequencies = nn.ModuleList(nn.Linear(HIDDEN, k * size) for size in layout.sizes)

    def forward(self, features: Tensor) -> Posterior:
        hidden = self.hidden(features)
        n, k, d = len(hidden), COMPONENTS, self.dimensions
        pairs = self.means(hidden).reshape(n, k, max(d, 1), 2)[:, :, :d]
        angles = self.layout.angles.to(pairs.device)
        means = torch.where(angles, torch.atan2(pairs[..., 1], pairs[..., 0] + 1e-6), pairs[..., 0])
        stds = NARROWEST + (WIDEST - NARROWEST) * torch.sigmoid(
            self.diagonal(hidden).reshape(n, k, max(d, 1))[:, :, :d]
        )
        precision = torch.diag_embed(1 / stds)
        if self.lower is not None:
            rows, columns = torch.tril_indices(d, d, -1)
            lower = torch.zeros_like(precision)
            lower[..., rows, columns] = self.lower(hidden).reshape(n, k, len(rows))
            precision = precision + lower / stds[..., None]
        log_frequencies = tuple(
            layer(hidden).reshape(n, k, size).log_softmax(2)
            for layer, size in zip(self.frequencies, self.layout.sizes, strict=True)
        )
        return Posterior(self.weights(hidden).log_softmax(1), means, precision, log_frequencies)
