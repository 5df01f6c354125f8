"""Training of G_θ to map the prior to the population, in attribute space and without renders.

A node's numbers a under the prior become standard normal by their distribution function, z = Φ⁻¹(F(a)), and the
population's by the triangular map of a component, a' = μ_m + L_m z (Rosenblatt, Remarks on a Multivariate
Transformation, 1952; L_m Lᵀ_m = Σ_m). The component is the node's mode: a category that is drawn given the node's
context. G_θ is trained on pairs (a, a') and on the frequencies of categories and modes, and generalises over the graph.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import ndtri
from torch import Tensor

from trainer.grammar import AttributeSpec, SceneGraph
from trainer.grammar.distributions import Distribution, Normal, Wrapped
from trainer.grammar.nodes import MODE, MODES
from trainer.inference.population import Population
from trainer.inference.problem import Problem
from trainer.metrics.attributes import deviation
from trainer.model.encoding import GraphBatch
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import Purpose, generator

#: Number of training scenes of the prior, scenes in a step, and the learning rate's peak.
SCENES, BATCH, LEARNING_RATE = 2048, 64, 1e-2
#: A mode of a context with a smaller share is left out.
LEAST_SHARE = 0.02
#: Standard normal values are clipped to ± this value.
FARTHEST = 3.5
#: Errors are in standard deviations of the population, or in this fraction of the range if that is larger.
LEAST_SPREAD = 0.005


@dataclass(frozen=True)
class Lesson:
    """A batch of training scenes and their targets.

    Attributes:
        batch: scenes with categories and modes of the population.
        wanted: [M], target values of mutable numbers; nan for numbers without a target.
        scales: [M], the population's standard deviations.
        probabilities: [C, most categories], target probabilities of categories; nan rows without a target.
    """

    batch: GraphBatch
    wanted: Tensor
    scales: Tensor
    probabilities: Tensor


def standard_normal(distribution: Distribution, values: np.ndarray, is_angle: bool) -> np.ndarray:
    """Return Φ⁻¹(F(values)) of a distribution's values."""
    base = distribution.base if isinstance(distribution, Wrapped) else distribution
    if isinstance(base, Normal):
        return np.clip(deviation(values, base.mu, is_angle) / max(base.sigma, 1e-12), -FARTHEST, FARTHEST)
    low, high = distribution.support
    if not np.isfinite(high - low):
        low = max(low, distribution.mean - 12 * distribution.std)
        high = min(high, distribution.mean + 12 * distribution.std)
    if not high > low:
        return np.zeros_like(values)
    grid = np.linspace(low, high, 4001)
    density = np.exp(distribution.log_prob(grid))
    cumulative = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    shares = np.interp(values, grid, cumulative / cumulative[-1])
    return np.clip(ndtri(np.clip(shares, 1e-9, 1 - 1e-9)), -FARTHEST, FARTHEST)


@dataclass(frozen=True)
class Modes:
    """The components of a population as modes of its nodes, context by context.

    Attributes:
        order: int [contexts, MODES], the component of each mode.
        shares: [contexts, MODES].
    """

    order: np.ndarray
    shares: np.ndarray

    @classmethod
    def of(cls, population: Population, categories: np.ndarray) -> "Modes":
        """Return the modes of nodes with these categories, int [n, F]."""
        shares = population.responsibilities_given(categories, mutable=True)[:, :-1]
        shares = shares / np.maximum(shares.sum(1, keepdims=True), 1e-12)
        count = shares.shape[1]
        heaviest = np.argsort(-population.weights, kind="stable")
        if count > MODES:  # The heaviest of each context.
            order = np.argsort(-shares, axis=1, kind="stable")[:, :MODES]
        else:
            order = np.tile(np.pad(heaviest, (0, MODES - count)), (len(shares), 1))
        kept = np.take_along_axis(shares, order, 1)
        kept[:, count:] = 0
        kept[kept < LEAST_SHARE] = 0
        return cls(order, kept / kept.sum(1, keepdims=True))


def carry(
    problem: Problem, transformer: DistributionTransformer, populations: Mapping[str, Population]
) -> dict[str, float]:
    """Train G_θ to map the prior to the populations; return the error of each number, in standard deviations."""
    _open_modes(transformer, populations)
    scenes = problem.scenes(Purpose.TRANSPORT, SCENES, 0)
    rng = generator(problem.seed, Purpose.TRANSPORT, 1)
    parts = (scenes[first : first + BATCH] for first in range(0, SCENES, BATCH))
    lessons = [lesson(problem, transformer, part, populations, rng) for part in parts]
    optimizer = torch.optim.Adam(transformer.parameters(), LEARNING_RATE, fused=True)
    passes = problem.settings.inference.transport_passes
    steps = passes * len(lessons)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    advance = problem.progress.step("carry the prior to the population")
    for number in range(passes):
        for place in rng.permutation(len(lessons)):
            loss = _loss(transformer, lessons[place])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(transformer.parameters(), 10.0)
            optimizer.step()
            schedule.step()
        advance(number + 1, passes)
    fresh = problem.scenes(Purpose.TRANSPORT, 512, 2)
    return errors(problem, transformer, lesson(problem, transformer, fresh, populations, rng))


def lesson(
    problem: Problem,
    transformer: DistributionTransformer,
    scenes: Sequence[SceneGraph],
    populations: Mapping[str, Population],
    rng: np.random.Generator,
) -> Lesson:
    """Return scenes of the prior with categories and modes of the populations, and their targets."""
    encoding = problem.encoding
    categories: list[dict[tuple[int, str], int]] = [{} for _ in scenes]
    values: list[dict[tuple[int, str], tuple[float, float]]] = [{} for _ in scenes]
    rows: list[dict[tuple[int, str], np.ndarray]] = [{} for _ in scenes]
    for kind, population in populations.items():
        variables = population.variables
        specs = {spec.name: spec for spec in problem.grammar.kinds[kind].specs}
        at = [(s, i) for s, scene in enumerate(scenes) for i, node in enumerate(scene.nodes) if node.kind == kind]
        if not at:
            continue
        labels = [variables.categories_of(scenes[s], scenes[s].nodes[i]) for s, i in at]
        context = np.array(labels, dtype=np.int64).reshape(len(at), -1)
        _, drawn = population.sample(context, rng)
        modes = Modes.of(population, drawn)
        mode = (rng.random((len(at), 1)) > modes.shares.cumsum(1)).sum(1).clip(max=MODES - 1)
        component = modes.order[np.arange(len(at)), mode]
        wanted = _carried(population, specs, scenes, at, component)
        of_context = population.responsibilities_given(context)[:, :-1]
        of_context = of_context / np.maximum(of_context.sum(1, keepdims=True), 1e-12)
        for row, (s, i) in enumerate(at):
            for f, factor in enumerate(variables.factors):
                if factor.mutable:
                    categories[s][i, factor.name] = int(drawn[row, f])
                    rows[s][i, factor.name] = of_context[row] @ population.frequencies[f]
            if variables.numbers:
                categories[s][i, MODE.name] = int(mode[row])
                rows[s][i, MODE.name] = modes.shares[row]
            for number, value, std in zip(variables.numbers, wanted[0][row], wanted[1][row], strict=True):
                values[s][i, number.name] = value, max(std, LEAST_SPREAD * number.width)
    shown = [
        problem.grammar.with_choices(
            scene, [own.get((c.node, c.spec.name), scene.nodes[c.node].choices[c.spec.name]) for c in scene.choices]
        )
        for scene, own in zip(scenes, categories, strict=True)
    ]
    pairs = [
        own.get((item.node, item.name), (np.nan, 1.0))
        for scene, own in zip(shown, values, strict=True)
        for item in scene.mutable
    ]
    wanted_rows = [
        own.get((item.node, item.spec.name)) for scene, own in zip(shown, rows, strict=True) for item in scene.choices
    ]
    table = np.full((len(wanted_rows), transformer.log_prior.shape[1]), np.nan)
    for place, row_of in enumerate(wanted_rows):
        if row_of is not None:
            table[place] = 0
            table[place, : len(row_of)] = row_of
    both = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return Lesson(
        encoding.encode(shown),
        *(torch.from_numpy(each).float().to(encoding.device) for each in (both[:, 0], both[:, 1], table)),
    )


def errors(problem: Problem, transformer: DistributionTransformer, of: Lesson) -> dict[str, float]:
    """Return the root mean square error of each number by "kind.name", in the population's standard deviations."""
    with torch.no_grad():
        residual = _residual(transformer, of)
    found = {}
    for place, name in enumerate(problem.names):
        part = residual[(of.batch.places == place) & of.wanted.isfinite()]
        if len(part):
            found[name] = part.square().mean().sqrt().item()
    return found


def _carried(
    population: Population,
    specs: Mapping[str, AttributeSpec],
    scenes: Sequence[SceneGraph],
    at: Sequence[tuple[int, int]],
    component: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the target values [n, d] of the nodes, and the standard deviations of their components."""
    variables = population.variables
    d = len(variables.numbers)
    z = np.zeros((len(at), d))
    for place, number in enumerate(variables.numbers):
        values = np.array([scenes[s].nodes[i].values[number.name] for s, i in at])
        z[:, place] = standard_normal(specs[number.name].distribution, values, number.is_angle)
    if not d:
        return z, z
    factors = np.linalg.cholesky(population.covariances)
    moved = population.means[component] + np.einsum("nij,nj->ni", factors[component], z)
    clipped = np.where(variables.angles, moved, np.clip(moved, variables.low, variables.high))
    return clipped, np.sqrt(np.diagonal(population.covariances, axis1=1, axis2=2))[component]


def _loss(transformer: DistributionTransformer, of: Lesson) -> Tensor:
    residual = _residual(transformer, of)
    loss = residual.new_zeros(())
    known = of.wanted.isfinite()
    if known.any():
        loss = loss + F.huber_loss(residual[known], torch.zeros_like(residual[known]))
    log = transformer.log_probabilities(of.batch)
    told = of.probabilities.isfinite().all(1)
    if told.any():
        wanted = of.probabilities[told]
        loss = loss - (wanted * log[told].masked_fill(wanted == 0, 0)).sum(1).mean()
    return loss


def _residual(transformer: DistributionTransformer, of: Lesson) -> Tensor:
    """Return G_θ's output minus the target [M], in standard deviations; 0 without a target."""
    difference = transformer(of.batch) - of.wanted.nan_to_num()
    is_angle = [spec.is_angle for _, spec in transformer.encoding.mutable]
    angles = torch.tensor(is_angle, dtype=torch.bool).to(difference.device)[of.batch.places]
    difference = torch.where(angles, torch.remainder(difference + 180, 360) - 180, difference)
    return torch.where(of.wanted.isfinite(), difference / of.scales, 0)


def _open_modes(transformer: DistributionTransformer, populations: Mapping[str, Population]) -> None:
    """Set the initial weights of the modes that a population has."""
    for kind, population in populations.items():
        if population.variables.numbers:
            count = min(len(population.weights), MODES)
            weights = np.sort(population.weights)[::-1][:count]
            transformer.open_modes(kind, weights / weights.sum())
