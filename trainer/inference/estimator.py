"""The amortised estimator: a network that gives the joint posterior q(attributes, context | image).

    q(a, c | x) = Σ_k w_k(x) N(a; μ_k(x), (A_k(x)ᵀ A_k(x))⁻¹) Π_f Cat(c_f; π_kf(x))

It is trained on renders of known scenes by maximum likelihood (neural posterior estimation; Papamakarios & Murray, Fast
ε-free Inference, NeurIPS 2016), and calibrated on renders that it has not seen: there its spreads are scaled to the
errors that it makes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.features import to_tensor
from trainer.features.descent import Course, descend
from trainer.grammar import SceneGraph
from trainer.inference.trunk import Trunk
from trainer.inference.variables import Variables
from trainer.progress import Advance, ignore

#: Components of the posterior, and hidden features of its head.
COMPONENTS, HIDDEN = 8, 128
#: Weights of the losses of where each kind is seen and of categories, beside those of numbers.
PRESENCE, CATEGORY = 2.0, 0.5
#: Part of the first training in which it is told where the kinds are.
TAUGHT = 0.5
#: Appearances of each render that a training sees.
VIEWS = 3
#: Largest standard deviation of a component, in units: a radian, or half a range.
WIDEST = 1.2
#: Smallest.
NARROWEST = 2e-3


@dataclass(frozen=True)
class Layout:
    """The variables of the nodes that the estimator reads: one of each kind; D numbers and F factors in all."""

    kinds: tuple[Variables, ...]

    @cached_property
    def angles(self) -> Tensor:
        """Bool [D]."""
        return torch.tensor([n.is_angle for kind in self.kinds for n in kind.numbers], dtype=torch.bool)

    @cached_property
    def centres(self) -> Tensor:
        return torch.tensor([0.0 if n.is_angle else (n.low + n.high) / 2 for kind in self.kinds for n in kind.numbers])

    @cached_property
    def units(self) -> Tensor:
        """What 1 stands for [D]: of angles a radian, else half of the range."""
        return torch.tensor(
            [math.degrees(1) if n.is_angle else (n.high - n.low) / 2 for kind in self.kinds for n in kind.numbers]
        )

    @cached_property
    def sizes(self) -> list[int]:
        """Categories of each factor [F]."""
        return [len(factor.categories) for kind in self.kinds for factor in kind.factors]

    @property
    def codes(self) -> int:
        """How many numbers `loss` takes of a node."""
        return int((~self.angles).sum()) + 4 * int(self.angles.sum()) + sum(self.sizes)

    def loss(self, points: Tensor, numbers: Tensor, categories: Tensor) -> Tensor:
        """Return the loss of points [N, codes]: root mean square errors, and cross-entropies of categories.

        Of an angle the points are cosine and sine of itself and of its double: the axis of a thing is seen long before
        its front. Roots keep what is read well from drowning what is not yet.

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

    def slices(self) -> list[tuple[Variables, slice, slice]]:
        """Return each kind with the places of its numbers and of its factors."""
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
            difference = torch.where(angles, torch.remainder(difference + math.pi, 2 * math.pi) - math.pi, difference)
            whitened = (self.precision @ difference[..., None])[..., 0]
            log = log - 0.5 * whitened.square().sum(-1)
            log = log + self.precision.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            log = log - 0.5 * numbers.shape[1] * math.log(2 * math.pi)
        for f, of_factor in enumerate(self.log_frequencies):
            index = categories[:, f, None, None].expand(-1, of_factor.shape[1], 1)
            log = log + of_factor.gather(2, index)[..., 0]
        return log.logsumexp(1)

    def calibrated(self, log_scales: Tensor, log_temperature: Tensor) -> "Posterior":
        """Return the posterior with standard deviations times exp(log_scales) [D] and weights to a power."""
        return Posterior(
            (self.log_weights * log_temperature.exp()).log_softmax(1),
            self.means,
            self.precision / log_scales.exp(),
            tuple((each * log_temperature.exp()).log_softmax(2) for each in self.log_frequencies),
        )

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
    """From features of an image or an object to its posterior."""

    def __init__(self, features: int, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        self.dimensions = len(layout.angles)
        d, k = self.dimensions, COMPONENTS
        self.hidden = nn.Sequential(nn.Linear(features, HIDDEN), nn.ReLU())
        self.weights = nn.Linear(HIDDEN, k)
        #: Of each number two outputs: of an angle cosine and sine, of others the mean and one that is not used.
        self.means = nn.Linear(HIDDEN, k * max(d, 1) * 2)
        self.diagonal = nn.Linear(HIDDEN, k * max(d, 1))
        self.lower = nn.Linear(HIDDEN, k * d * (d - 1) // 2) if d > 1 else None
        self.frequencies = nn.ModuleList(nn.Linear(HIDDEN, k * size) for size in layout.sizes)

    def forward(self, features: Tensor) -> Posterior:
        hidden = self.hidden(features)
        n, k, d = len(hidden), COMPONENTS, self.dimensions
        pairs = self.means(hidden).reshape(n, k, -1, 2)[:, :, :d]
        means = torch.where(self.layout.angles, torch.atan2(pairs[..., 1], pairs[..., 0] + 1e-6), pairs[..., 0])
        stds = NARROWEST + (WIDEST - NARROWEST) * torch.sigmoid(self.diagonal(hidden).reshape(n, k, -1)[:, :, :d])
        precision = torch.diag_embed(1 / stds)
        if self.lower is not None:
            rows, columns = torch.tril_indices(d, d, -1)
            lower = torch.zeros_like(precision)
            lower[..., rows, columns] = self.lower(hidden).reshape(n, k, -1)
            precision = precision + lower / stds[..., None]
        log_frequencies = tuple(
            layer(hidden).reshape(n, k, size).log_softmax(2)
            for layer, size in zip(self.frequencies, self.layout.sizes, strict=True)
        )
        return Posterior(self.weights(hidden).log_softmax(1), means, precision, log_frequencies)


@dataclass(frozen=True)
class Renders:
    """Rendered scenes of known truth.

    Attributes:
        images: uint8 [N, H, W, 3].
        numbers: [N, D].
        categories: int [N, F].
        kept_back: bool [N]: not learned from, for the calibration.
        presence: uint8 [N, K, h, w], the part of each of the trunk's cells that shows nodes of a kind, times 255.
    """

    images: np.ndarray
    numbers: np.ndarray
    categories: np.ndarray
    kept_back: np.ndarray
    presence: np.ndarray

    @staticmethod
    def joined(parts: Sequence["Renders"]) -> "Renders":
        """Return all of them as one."""
        names = [item.name for item in fields(Renders)]
        return Renders(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def of(self, index: np.ndarray) -> "Renders":
        """Return some of them."""
        return Renders(*(getattr(self, item.name)[index] for item in fields(Renders)))


Appearance = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Estimator(nn.Module):
    """q(attributes, context | image) of the nodes of a layout."""

    trained: Tensor
    log_scales: Tensor
    log_temperature: Tensor

    name = "estimator"
    layers = None

    def __init__(self, layout: Layout, size: tuple[int, int], generator: torch.Generator) -> None:
        """
        Args:
            size: height and width of the images, in pixels.
        """
        super().__init__()
        self.layout, self.size = layout, size
        self.trunk = Trunk(size, len(layout.kinds), generator)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            self.head = DensityHead(HIDDEN + layout.codes, layout)
            self.reader = nn.Sequential(nn.Linear(self.trunk.features, HIDDEN), nn.ReLU())
            self.points = nn.Linear(HIDDEN, layout.codes)
        self.register_buffer("trained", torch.zeros((), dtype=torch.bool))
        self.register_buffer("log_scales", torch.zeros(self.head.dimensions))
        self.register_buffer("log_temperature", torch.zeros(()))

    def read(self, images: Tensor) -> Posterior:
        """Return the posterior, not calibrated, of images [N, 3, H, W]."""
        hidden, points, _ = self._seen(images)
        posterior: Posterior = self.head(torch.cat([hidden, points], 1))
        return posterior

    def forward(self, images: Tensor) -> Tensor:
        """Return the points [N, codes] of images [N, 3, H, W]: a feature space."""
        return self._seen(images)[1]

    def plan(self) -> dict[str, object]:
        """Return what it is made from, as JSON."""
        return {"name": self.name, "size": list(self.size), "kinds": [kind.to_json() for kind in self.layout.kinds]}

    @classmethod
    def from_plan(cls, plan: Mapping[str, Any]) -> "Estimator":
        """Return an untrained estimator that is made alike."""
        layout = Layout(tuple(Variables.from_json(kind) for kind in plan["kinds"]))
        return cls(layout, tuple(plan["size"]), torch.Generator())

    def fit(
        self,
        renders: Renders,
        course: Course,
        generator: torch.Generator,
        appearance: Appearance,
        progress: Advance = ignore,
    ) -> float:
        """Train on the renders that are not kept back; return the last epoch's mean loss."""
        part = renders.of(np.flatnonzero(~renders.kept_back))
        numbers, categories = self._in_units(part.numbers), torch.from_numpy(part.categories)
        presence = torch.from_numpy(part.presence)
        shown = (presence > 0).any(0).any(-1).any(-1)[:, None, None].float()
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        views = [appearance(part.images, rng) for _ in range(VIEWS)]

        steps, total = count(), course.passes * max(1, len(part.images) // course.batch)
        if bool(self.trained):
            total = 0
        self.trained.fill_(True)

        def loss_of(index: Tensor) -> Tensor:
            chosen = views[int(torch.randint(VIEWS, (), generator=generator))]
            there = presence[index].float() / 255
            taught = next(steps) < TAUGHT * total
            hidden, points, seen = self._seen(to_tensor(chosen[index.numpy()]), there if taught else None)
            posterior = self.head(torch.cat([hidden, points], 1).detach())
            log = posterior.log_prob(self.layout.angles, numbers[index], categories[index])
            presence_loss = F.binary_cross_entropy_with_logits(seen, there, weight=shown)
            return self.layout.loss(points, numbers[index], categories[index]) + PRESENCE * presence_loss - log.mean()

        return descend(self.parameters(), len(part.images), loss_of, course, generator, progress)

    def calibrate(self, renders: Renders, appearance: Appearance, rng: np.random.Generator) -> float:
        """Scale the spreads to the errors on renders that were kept back; return their mean log-likelihood."""
        posterior = self._posterior(appearance(renders.images, rng))
        numbers, categories = self._in_units(renders.numbers), torch.from_numpy(renders.categories)
        scales, temperature = torch.zeros_like(self.log_scales), torch.zeros_like(self.log_temperature)
        parameters = [scales.requires_grad_(True), temperature.requires_grad_(True)]
        optimizer = torch.optim.Adam(parameters, 0.05)
        likelihood = 0.0
        for _ in range(80):
            log = posterior.calibrated(scales, temperature).log_prob(self.layout.angles, numbers, categories)
            loss = -log.mean() + (0.1 / len(log)) * (scales.square().sum() + temperature.square())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            likelihood = -loss.item()
        self.log_scales.copy_(scales.detach())
        self.log_temperature.copy_(temperature.detach())
        return likelihood

    def posterior(self, images: np.ndarray) -> Posterior:
        """Return the calibrated posterior of 8-bit images [N, H, W, 3]."""
        return self._posterior(images).calibrated(self.log_scales, self.log_temperature)

    def sample(self, images: np.ndarray, count: int, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return numbers [N, count, D], in their units, and categories [N, count, F] of 8-bit images."""
        numbers, categories = self.posterior(images).sample(count, generator)
        return (numbers * self.layout.units + self.layout.centres).double().numpy(), categories.numpy()

    def _posterior(self, images: np.ndarray, batch: int = 256) -> Posterior:
        with torch.no_grad():
            parts = [self.read(to_tensor(images[i : i + batch])) for i in range(0, len(images), batch)]
        return Posterior(
            torch.cat([part.log_weights for part in parts]),
            torch.cat([part.means for part in parts]),
            torch.cat([part.precision for part in parts]),
            tuple(torch.cat(each) for each in zip(*(part.log_frequencies for part in parts), strict=True)),
        )

    def _seen(self, images: Tensor, told: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return hidden features [N, HIDDEN], points [N, codes], and logits of the kinds' presence."""
        features, seen = self.trunk(images, told)
        hidden = self.reader(features)
        return hidden, self.points(hidden), seen

    def _in_units(self, numbers: np.ndarray) -> Tensor:
        return (torch.from_numpy(numbers).float() - self.layout.centres) / self.layout.units
