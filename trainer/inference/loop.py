"""Simulation-based inference of the population, in rounds.

    proposal ← uniform over the ranges
    repeat:  scenes ~ proposal; images ← render                                     (simulate)
             q(attributes, context | image) ← train on all renders so far, calibrate (estimator)
             population ← what explains the target's readings                        (deconvolution)
             proposal ← population, widened

A round is a function of the problem, the seed, and the rounds before it, so a run goes on from any of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.features.appearance import RandomCamera
from trainer.features.descent import Course
from trainer.grammar import SceneGraph
from trainer.inference.deconvolution import Fit, Readings, deconvolve
from trainer.inference.estimator import Estimator, Layout, Renders
from trainer.inference.population import Population, proposal_log_density
from trainer.inference.problem import LOOKED_AT, Problem
from trainer.inference.settings import InferenceSettings
from trainer.inference.trunk import presence_of
from trainer.inference.variables import variables_of
from trainer.randomness import Purpose, generator, torch_generator

#: Samples of each reading's posterior.
SAMPLES = 64
#: One in so many renders is kept back for the calibration.
KEPT_BACK = 6
#: Images or objects in a batch, and the learning rate's peak in the first round and in later ones.
BATCH, FIRST_RATE, LATER_RATE = 32, 3e-3, 2e-3


@dataclass
class Rounds:
    """What the rounds of a stage have found so far; `infer_round` adds one.

    Attributes:
        stage: number of the stage.
        estimator: as the last round has left it.
        proposals: of each round, by kind; the last is that of the round to come.
        renders: of each round.
        fits: of the last round, by kind.
    """

    stage: int
    estimator: Estimator
    proposals: list[dict[str, Population]]
    renders: list[Renders] = field(default_factory=list)
    fits: dict[str, Fit] = field(default_factory=dict)

    @property
    def populations(self) -> dict[str, Population]:
        """The populations of the last round."""
        return {kind: fit.population for kind, fit in self.fits.items()}

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the rounds as JSON and tensors."""
        proposals = [{kind: each.to_json() for kind, each in proposal.items()} for proposal in self.proposals]
        fits = {kind: fit.to_json() for kind, fit in self.fits.items()}
        tensors = {f"estimator.{name}": value for name, value in self.estimator.state_dict().items()}
        for number, renders in enumerate(self.renders):
            for name, array in vars(renders).items():
                tensors[f"round{number}.{name}"] = torch.from_numpy(array)
        return {"stage": self.stage, "proposals": proposals, "fits": fits, "rounds": len(self.renders)}, tensors

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go back to a state of the same stage."""
        kinds = {variables.kind: variables for variables in self.estimator.layout.kinds}
        self.proposals = [
            {kind: Population.from_json(kinds[kind], each) for kind, each in proposal.items()}
            for proposal in state["proposals"]
        ]
        self.fits = {kind: Fit.from_json(kinds[kind], each) for kind, each in state["fits"].items()}
        names = [item.name for item in fields(Renders)]
        self.renders = [
            Renders(*(tensors[f"round{number}.{name}"].numpy() for name in names)) for number in range(state["rounds"])
        ]
        own = {
            name.removeprefix("estimator."): value for name, value in tensors.items() if name.startswith("estimator.")
        }
        self.estimator.load_state_dict(own)


def begin(problem: Problem, stage: int, before: Mapping[str, Population]) -> Rounds:
    """Return the state before the first round of a stage.

    Args:
        before: populations of earlier stages; where they have the same variables, the rounds start from them.
    """
    active = {problem.encoding.mutable[place] for place in problem.active(stage)}
    redrawn = {(kind, choice.name) for kind, choice in (problem.encoding.choices[p] for p in problem.redrawn(stage))}
    names = {(kind, spec.name) for kind, spec in active} | redrawn
    variables = variables_of(problem.grammar, _looked_at(problem), names)
    layout = Layout(tuple(variables.values()))
    settings = problem.renderer.settings
    size = settings.height_px, settings.width_px
    estimator = Estimator(layout, size, torch_generator(problem.seed, Purpose.SIMULATION, 1, stage))
    options = problem.settings.inference
    first = {
        kind: before[kind].widened(options.widening, options.least_width, options.background)
        if kind in before and before[kind].variables == each
        else Population.uniform(each)
        for kind, each in variables.items()
    }
    return Rounds(stage, estimator, [first])


def infer_round(problem: Problem, rounds: Rounds) -> None:
    """Simulate, train the estimator, and find the population: one round."""
    options, number, stage = problem.settings.inference, len(rounds.renders), rounds.stage
    of = f"(round {number + 1} of {options.rounds})"
    rounds.renders.append(simulate(problem, rounds, options.simulations, f"simulate {of}"))
    every = Renders.joined(rounds.renders)
    appearance = RandomCamera().apply
    rounds.estimator.fit(
        every,
        Course(options.epochs[min(number, len(options.epochs) - 1)], BATCH, LATER_RATE if number else FIRST_RATE),
        torch_generator(problem.seed, Purpose.SIMULATION, 3, stage, number),
        appearance,
        problem.progress.step(f"train the estimator {of}"),
    )
    last = rounds.renders[-1]
    kept = last.of(np.flatnonzero(last.kept_back))
    rounds.estimator.calibrate(kept, appearance, generator(problem.seed, Purpose.SIMULATION, 4, stage, number))
    problem.progress.step(f"find the population {of}")
    rounds.fits = explain(problem, rounds, problem.target)
    rounds.proposals.append({kind: _proposal(fit, options) for kind, fit in rounds.fits.items()})


def simulate(problem: Problem, rounds: Rounds, count: int, step: str) -> Renders:
    """Render scenes drawn from the last proposal."""
    number, stage = len(rounds.renders), rounds.stage
    prior = problem.scenes(Purpose.SIMULATION, count, 6, stage, number)
    rng = generator(problem.seed, Purpose.SIMULATION, 5, stage, number)
    scenes = drawn_from(problem, rounds.proposals[-1], prior, rng)
    images, masks = problem.masked(scenes, Purpose.SIMULATION, 100 * stage + number, step)
    layout = rounds.estimator.layout
    presence = presence_of(scenes, masks, [kind.kind for kind in layout.kinds])
    return Renders(images, *layout.truth(scenes), np.arange(count) % KEPT_BACK == 0, presence)


def drawn_from(
    problem: Problem, populations: Mapping[str, Population], scenes: Sequence[SceneGraph], rng: np.random.Generator
) -> list[SceneGraph]:
    """Return the scenes with the mutable variables of their nodes drawn from populations, given their context."""
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


def explain(problem: Problem, rounds: Rounds, images: np.ndarray) -> dict[str, Fit]:
    """Return by kind the population that explains images, read by the estimator as it is now."""
    number, stage = len(rounds.renders) - 1, rounds.stage
    draws = torch_generator(problem.seed, Purpose.SIMULATION, 7, stage, number)
    numbers, categories = rounds.estimator.sample(images, SAMPLES, draws)
    sizes = np.array([len(renders.images) for renders in rounds.renders])
    fits = {}
    for variables, own, factors in rounds.estimator.layout.slices():
        values, labels = variables.inside(numbers[..., own]), categories[..., factors]
        proposals = [proposal[variables.kind] for proposal in rounds.proposals[: number + 1]]
        log = proposal_log_density(proposals, (sizes / sizes.sum()).tolist(), values, labels)
        readings = Readings(values, labels, log, np.ones(len(images)))
        rng = generator(problem.seed, Purpose.SIMULATION, 8, stage, number)
        fits[variables.kind] = deconvolve(readings, Population.prior(variables), rng)
    return fits


def _proposal(fit: Fit, options: InferenceSettings) -> Population:
    """Return the population, the wider the less the readings tell of it."""
    return fit.population.widened(options.widening / np.sqrt(fit.information), options.least_width, options.background)


def _looked_at(problem: Problem) -> list[SceneGraph]:
    return problem.scenes(Purpose.SIMULATION, LOOKED_AT, 0)
