"""Simulation-based inference of the population, in rounds.

    proposal ← uniform over the ranges
    repeat:  scenes ~ proposal; images ← render                                     (simulate)
             q(attributes, context | image or detection) ← train on all renders so far, calibrate (estimator)
             population ← deconvolution of the target's readings                     (deconvolution)
             proposal ← population, widened
    until the population no longer changes; then correct its bias, measured on its own renders (correction)

A round is a function of the problem, the seed and the rounds before it, so a run can resume after any round.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from trainer.features.descent import Course
from trainer.grammar import SceneGraph
from trainer.inference.correction import corrected
from trainer.inference.deconvolution import Fit, Readings, deconvolve
from trainer.inference.estimator import Estimator
from trainer.inference.objects import matched, objects_of
from trainer.inference.population import Population, divergence, proposal_log_density
from trainer.inference.posterior import Layout
from trainer.inference.problem import Problem
from trainer.inference.renders import Renders
from trainer.inference.selection import Selection
from trainer.inference.training_settings import InferenceSettings
from trainer.inference.trunk import presence_of
from trainer.inference.variables import Variables, variables_of
from trainer.randomness import Purpose, generator, torch_generator

#: Samples of each reading's posterior.
SAMPLES = 64
#: One in this many renders is held out for the calibration.
KEPT_BACK = 6
#: Images or objects in a batch, and the learning rate's peak in the first round and in later ones.
BATCH, FIRST_RATE, LATER_RATE = 32, 3e-3, 2e-3
#: `InferenceSettings.epochs` assumes this many renders in a round; smaller rounds get up to this factor more passes.
FULL, MOST_REPEATED = 3000, 3
#: The rounds end when the population's divergence from the last round's is smaller, in nats for each number.
STAYS = 0.03
#: Largest number of renders that measure the population's bias. A round's number of renders limits it too.
CORRECTED_BY = 2000


@dataclass
class Rounds:
    """The state of a stage's rounds; `infer_round` adds a round.

    Attributes:
        stage: number of the stage.
        estimator: the estimator after the last round.
        proposals: the proposals of each round, by kind. The last element is for the next round.
        renders: the renders of each round.
        fits: the fits of the last round, by kind.
        done: whether the population no longer changes, or no round is left.
    """

    stage: int
    estimator: Estimator
    proposals: list[dict[str, Population]]
    renders: list[Renders] = field(default_factory=list)
    fits: dict[str, Fit] = field(default_factory=dict)
    done: bool = False

    @property
    def populations(self) -> dict[str, Population]:
        """Return the populations of the last round."""
        return {kind: fit.population for kind, fit in self.fits.items()}

    @property
    def unread(self) -> list[str]:
        """Return the kinds that the estimator cannot read."""
        read = {kind.kind for kind in (*self.estimator.layout.kinds, *self.estimator.repeating)}
        return [kind for kind in self.proposals[0] if kind not in read]

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the rounds as JSON and tensors."""
        proposals = [{kind: each.to_json() for kind, each in proposal.items()} for proposal in self.proposals]
        fits = {kind: fit.to_json() for kind, fit in self.fits.items()}
        tensors = {f"estimator.{name}": value for name, value in self.estimator.state_dict().items()}
        for number, renders in enumerate(self.renders):
            tensors |= renders.state(f"round{number}")
        state = {
            "stage": self.stage,
            "proposals": proposals,
            "fits": fits,
            "rounds": len(self.renders),
            "done": self.done,
        }
        return state, tensors

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Restore a state of the same stage."""
        self.done = state["done"]
        kinds = {kind: proposal.variables for kind, proposal in self.proposals[0].items()}
        self.proposals = [
            {kind: Population.from_json(kinds[kind], each) for kind, each in proposal.items()}
            for proposal in state["proposals"]
        ]
        self.fits = {kind: Fit.from_json(kinds[kind], each) for kind, each in state["fits"].items()}
        self.renders = [Renders.from_state(f"round{number}", tensors) for number in range(state["rounds"])]
        own = {
            name.removeprefix("estimator."): value for name, value in tensors.items() if name.startswith("estimator.")
        }
        self.estimator.load_state_dict(own)


def begin(problem: Problem, stage: int, before: Mapping[str, Population]) -> Rounds:
    """Return the state before the first round of a stage.

    Args:
        before: populations of earlier stages. The rounds start from those with the same variables.
    """
    active = {problem.encoding.mutable[place] for place in problem.active(stage)}
    redrawn = {(kind, choice.name) for kind, choice in (problem.encoding.choices[p] for p in problem.redrawn(stage))}
    names = {(kind, spec.name) for kind, spec in active} | redrawn
    variables = variables_of(problem.grammar, problem.looked_at, names)
    if not problem.settings.inference.context:
        variables = {
            kind: replace(each, factors=tuple(factor for factor in each.factors if factor.mutable))
            for kind, each in variables.items()
        }
    detected = problem.detected(variables)
    repeating = tuple(each for kind, each in variables.items() if kind in detected)
    single = tuple(each for kind, each in variables.items() if kind not in (*detected, *problem.repeated))
    settings = problem.renderer.settings
    size = settings.height_px, settings.width_px
    draws = torch_generator(problem.seed, Purpose.SIMULATION, 1, stage)
    estimator = Estimator(Layout(single), size, draws, repeating).to(problem.device)
    options = problem.settings.inference
    first = {
        kind: before[kind].widened(options.widening, options.least_width, options.background)
        if kind in before and before[kind].variables == each
        else Population.uniform(each)
        if each in (*single, *repeating)
        else Population.prior(each)
        for kind, each in variables.items()
    }
    return Rounds(stage, estimator, [first])


def infer_round(problem: Problem, rounds: Rounds) -> None:
    """Simulate, train the estimator, and find the population: one round."""
    options, number, stage = problem.settings.inference, len(rounds.renders), rounds.stage
    of = f"(round {number + 1} of {options.rounds})"
    rounds.renders.append(simulate(problem, rounds, options.simulations, f"simulate {of}"))
    every = Renders.joined(rounds.renders)
    appearance = problem.appearance
    rounds.estimator.fit(
        every,
        Course(passes_of(options, number), BATCH, LATER_RATE if number else FIRST_RATE),
        torch_generator(problem.seed, Purpose.SIMULATION, 3, stage, number),
        appearance,
        problem.progress.step(f"train the estimator {of}"),
    )
    last = rounds.renders[-1]
    kept = last.of(np.flatnonzero(last.kept_back))
    rounds.estimator.calibrate(kept, appearance, generator(problem.seed, Purpose.SIMULATION, 4, stage, number))
    problem.progress.step(f"find the population {of}")
    before, rounds.fits = rounds.populations, explain(problem, rounds, problem.target)
    rounds.done = number + 1 >= options.rounds or _stays(before, rounds.populations)
    if rounds.done:
        correct(problem, rounds)
    rounds.proposals.append({kind: _proposal(fit, options) for kind, fit in rounds.fits.items()})


def passes_of(options: InferenceSettings, number: int) -> int:
    """Return the passes of a round over all renders. Fewer renders get more passes, to keep the number of steps."""
    passes = options.epochs[min(number, len(options.epochs) - 1)]
    return round(passes * min(max(FULL / options.simulations, 1), MOST_REPEATED))


def correct(problem: Problem, rounds: Rounds) -> None:
    """Correct the populations for the bias of the readings, measured on renders of the populations (`correction`)."""
    number, stage = len(rounds.renders) - 1, rounds.stage
    count = min(CORRECTED_BY, problem.settings.inference.simulations)
    prior = problem.scenes(Purpose.SIMULATION, count, 10, stage, number)
    rng = generator(problem.seed, Purpose.SIMULATION, 11, stage, number)
    without = {kind: replace(each, background=0.0) for kind, each in rounds.populations.items()}
    scenes = drawn_from(problem, without, prior, rng)
    images = problem.images(scenes, Purpose.SIMULATION, 100 * stage + number + 50, "check the population")
    images = problem.appearance(images, rng)
    for kind, readings in read(problem, rounds, images, 12).items():
        fit, variables = rounds.fits[kind], rounds.populations[kind].variables
        nodes = [(scene, node) for scene in scenes for node in scene.nodes if node.kind == kind]
        numbers = np.array([variables.values_of(node) for _, node in nodes]).reshape(len(nodes), -1)
        labels = np.array([variables.categories_of(scene, node) for scene, node in nodes], dtype=np.int64)
        rounds.fits[kind] = corrected(
            fit, Population.prior(variables), numbers, labels.reshape(len(nodes), -1), readings
        )


def _stays(before: Mapping[str, Population], after: Mapping[str, Population]) -> bool:
    """Return whether the populations have changed by less than `STAYS`."""
    if before.keys() != after.keys():
        return False
    rng = np.random.default_rng(0)  # Common random numbers: the answer is a function of the populations.
    return all(
        divergence(before[kind], each, rng) < STAYS * max(1, len(each.variables.numbers))
        for kind, each in after.items()
    )


def simulate(problem: Problem, rounds: Rounds, count: int, step: str) -> Renders:
    """Render scenes drawn from the last proposal."""
    number, stage = len(rounds.renders), rounds.stage
    prior = problem.scenes(Purpose.SIMULATION, count, 6, stage, number)
    rng = generator(problem.seed, Purpose.SIMULATION, 5, stage, number)
    scenes = drawn_from(problem, rounds.proposals[-1], prior, rng)
    images, masks = problem.masked(scenes, Purpose.SIMULATION, 100 * stage + number, step)
    layout = rounds.estimator.layout
    presence = presence_of(scenes, masks, [kind.kind for kind in layout.kinds])
    objects = objects_of(rounds.estimator.repeating, scenes, masks)
    return Renders(images, *layout.truth(scenes), np.arange(count) % KEPT_BACK == 0, presence, objects)


def drawn_from(
    problem: Problem, populations: Mapping[str, Population], scenes: Sequence[SceneGraph], rng: np.random.Generator
) -> list[SceneGraph]:
    """Return the scenes after drawing the mutable variables of their nodes from populations, given the context."""
    values: list[dict[tuple[int, str], float]] = [{} for _ in scenes]
    choices: list[dict[tuple[int, str], int]] = [{} for _ in scenes]
    for kind, population in populations.items():
        variables = population.variables
        at = [(s, i) for s, scene in enumerate(scenes) for i, node in enumerate(scene.nodes) if node.kind == kind]
        if not at:
            continue
        context = [variables.categories_of(scenes[s], scenes[s].nodes[i]) for s, i in at]
        numbers, categories = population.sample(np.array(context, dtype=np.int64).reshape(len(at), -1), rng)
        for (s, i), row, labels in zip(at, numbers, categories, strict=True):
            for number, value in zip(variables.numbers, row, strict=True):
                values[s][i, number.name] = value
            for factor, label in zip(variables.factors, labels, strict=True):
                if factor.mutable:
                    choices[s][i, factor.name] = int(label)
    changed = []
    for scene, numbers_of, choices_of in zip(scenes, values, choices, strict=True):
        drawn = scene
        if choices_of:
            wanted = [
                choices_of.get((item.node, item.spec.name), scene.nodes[item.node].choices[item.spec.name])
                for item in scene.choices
            ]
            drawn = problem.grammar.with_choices(scene, wanted)
        row = [numbers_of.get((m.node, m.name), drawn.nodes[m.node].values[m.name]) for m in drawn.mutable]
        changed.append(drawn.with_values(np.array(row)))
    return changed


def read(problem: Problem, rounds: Rounds, images: np.ndarray, stream: int) -> dict[str, Readings]:
    """Return the present estimator's readings of images, by kind.

    Args:
        stream: number of the random stream for the samples.
    """
    number, stage = len(rounds.renders) - 1, rounds.stage
    draws = torch_generator(problem.seed, Purpose.SIMULATION, stream, stage, number)
    estimator, found = rounds.estimator, {}
    if estimator.layout.kinds:
        numbers, categories = estimator.sample(images, SAMPLES, draws)
        for variables, own, factors in estimator.layout.slices():
            values, labels = variables.inside(numbers[..., own]), categories[..., factors]
            log = _log_proposal(rounds, variables, values, labels)
            found[variables.kind] = Readings(values, labels, log, np.ones(len(images)))
    if estimator.objects is not None:
        detections, posteriors = estimator.objects.read(images)
        weights, selections = estimator.objects.true(detections), _selections(rounds, problem, len(images))
        for k, (layout, posterior) in enumerate(zip(estimator.objects.layouts, posteriors, strict=True)):
            [variables] = layout.kinds
            values, labels = layout.in_their_units(*posterior.sample(SAMPLES, draws))
            values = variables.inside(values)
            log = _log_proposal(rounds, variables, values, labels)
            own = detections.kinds == k
            found[variables.kind] = Readings(values, labels, log, weights[own], selections[k])
    return found


def explain(problem: Problem, rounds: Rounds, images: np.ndarray) -> dict[str, Fit]:
    """Return the population that explains the present estimator's readings of images, by kind."""
    number, stage = len(rounds.renders) - 1, rounds.stage
    fits = {}
    for kind, proposal in rounds.proposals[0].items():  # Kinds without readings keep the grammar's distribution.
        prior = Population.prior(proposal.variables)
        fits[kind] = Fit(prior, 0.0, np.zeros(0), np.ones(prior.means.shape))
    for kind, readings in read(problem, rounds, images, 7).items():
        rng = generator(problem.seed, Purpose.SIMULATION, 8, stage, number)
        fits[kind] = deconvolve(readings, fits[kind].population, rng)
    return fits


def _selections(rounds: Rounds, problem: Problem, images: int) -> list[Selection | None]:
    """Return the nodes in held-out renders and which of them the estimator detects, for each repeating kind.

    Args:
        images: number of images that are read.
    """
    every = Renders.joined(rounds.renders)
    kept = every.of(np.flatnonzero(every.kept_back))
    estimator, rng = rounds.estimator, generator(problem.seed, Purpose.SIMULATION, 9, rounds.stage, len(rounds.renders))
    if estimator.objects is None:
        return []
    detections, _ = estimator.objects.read(problem.appearance(kept.images, rng))
    shows = matched(detections, kept.objects)
    detected = np.zeros(len(kept.objects.images), dtype=bool)
    detected[shows[shows >= 0]] = True
    found: list[Selection | None] = []
    for k, variables in enumerate(estimator.repeating):
        own = kept.objects.kinds == k
        numbers = kept.objects.numbers[own][:, : len(variables.numbers)]
        categories = kept.objects.categories[own][:, : len(variables.factors)]
        log = _log_proposal(rounds, variables, numbers, categories)
        selection = Selection(numbers, categories, log, detected[own], len(kept.images), images)
        found.append(selection if own.any() else None)
    return found


def _log_proposal(rounds: Rounds, variables: Variables, numbers: np.ndarray, categories: np.ndarray) -> np.ndarray:
    """Return the log density of nodes under the mixture of all rounds' proposals."""
    sizes = np.array([len(renders.images) for renders in rounds.renders])
    proposals = [proposal[variables.kind] for proposal in rounds.proposals[: len(sizes)]]
    return proposal_log_density(proposals, (sizes / sizes.sum()).tolist(), numbers, categories)


def _proposal(fit: Fit, options: InferenceSettings) -> Population:
    """Return the population as a proposal, wider where readings are less informative; unchanged without readings."""
    if not len(fit.unexplained):
        return fit.population
    return fit.population.widened(options.widening / np.sqrt(fit.information), options.least_width, options.background)
