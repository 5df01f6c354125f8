"""Inference of the structure from images, in rounds.

    proposal ← uniform over the categories of every production
    repeat:  scenes ~ proposal, attributes ~ prior or uniform over their ranges; images ← render
             counts | image ← train on all renders so far; errors of the readings on held-out renders
             structure ← deconvolution of the target's readings   (trainer.inference.structure_deconvolution)
             proposal ← structure, mixed with the uniform one

Attributes are not known yet. So half of the scenes keep the prior's attributes, and the others draw them uniformly.
Once the attributes have been learned, `recalibrated` finds the structure again, with errors that are measured on scenes
with learned attributes. The detections of the attributes' estimator are then a second reading of the counts.
"""

from collections.abc import Callable, Sequence

import numpy as np

from trainer.features.descent import Course
from trainer.grammar import Grammar, SceneGraph
from trainer.grammar.nodes import MODE
from trainer.grammar.productions import Structure
from trainer.inference.count_channels import channels_of
from trainer.inference.count_likelihood import CountLikelihood
from trainer.inference.count_reader import CountReader, CountRenders
from trainer.inference.object_reader import ObjectReader
from trainer.inference.population import Population
from trainer.inference.problem import LOOKED_AT, Problem
from trainer.inference.rounds import drawn_from
from trainer.inference.structure_deconvolution import StructureFit, explain
from trainer.inference.variables import variables_of
from trainer.randomness import Purpose, generator, torch_generator

#: Number of rounds, passes of each over the renders so far, and passes of the recalibration.
ROUNDS, PASSES, LAST_PASSES = 2, (10, 5), 3
#: One in this many renders is held out, to estimate the errors of readings.
KEPT_BACK = 4
#: Uniform fraction of a later proposal.
WIDE = 0.3
#: Images in a batch, and the learning rate's peak in the first round and in later ones.
BATCH, FIRST_RATE, LATER_RATE = 32, 4e-3, 2e-3

#: Changes scenes of the prior as the run has learned it.
Change = Callable[[Sequence[SceneGraph]], list[SceneGraph]]


class StructureRounds:
    """Finds the structure of a problem.

    Attributes:
        reader: the network after the last round.
        fit: the fit of the last round.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem, self._grammar = problem, problem.grammar
        wide = self._grammar.with_structure(Structure.uniform(self._grammar.productions))
        looked_at = _sampled(wide, generator(problem.seed, Purpose.STRUCTURE, 0), LOOKED_AT)
        self.channels = channels_of(self._grammar, looked_at)
        settings = problem.renderer.settings
        size = settings.height_px, settings.width_px
        self.reader = CountReader(self.channels, size, torch_generator(problem.seed, Purpose.STRUCTURE, 1))
        self.reader.to(problem.device)
        self.fit: StructureFit | None = None
        self._objects: ObjectReader | None = None
        self._renders: list[CountRenders] = []

    def run(self) -> StructureFit:
        """Return the structure that explains the target's images while attributes are unknown."""
        wide = Structure.uniform(self._grammar.productions)
        proposal = wide
        for number in range(ROUNDS):
            fit = self._round(number, proposal, self._scattered, PASSES[number], f"(round {number + 1} of {ROUNDS})")
            proposal = fit.structure.mixed(wide, WIDE)
        return self._found()

    def recalibrated(self, change: Change, structure: Structure, objects: ObjectReader | None) -> StructureFit:
        """Return the structure that explains the target's images, given the learned attributes.

        Args:
            change: applies the learned attributes to scenes.
            structure: the structure that was found before.
            objects: the detector of the attributes' estimator, if it has one.
        """
        proposal = structure.mixed(Structure.uniform(self._grammar.productions), WIDE)
        self._objects = objects
        return self._round(ROUNDS, proposal, lambda scenes, _: change(scenes), LAST_PASSES, "(learned attributes)")

    def _found(self) -> StructureFit:
        if self.fit is None:
            raise RuntimeError("no round has been run")
        return self.fit

    def _round(
        self,
        number: int,
        proposal: Structure,
        change: Callable[[list[SceneGraph], np.random.Generator], list[SceneGraph]],
        passes: int,
        of: str,
    ) -> StructureFit:
        problem = self._problem
        # Images of a synthetic target come from the same renderer.
        appearance = problem.appearance
        count = problem.settings.inference.simulations // 2  # Counts take fewer renders than attributes.
        prior = _sampled(
            self._grammar.with_structure(proposal), generator(problem.seed, Purpose.STRUCTURE, 2, number), count
        )
        scenes = change(prior, generator(problem.seed, Purpose.STRUCTURE, 3, number))
        images, masks = problem.masked(scenes, Purpose.STRUCTURE, number, f"simulate structures {of}")
        kept_back = np.arange(count) % KEPT_BACK == 0
        self._renders.append(CountRenders.of(scenes, images, masks, self.channels, kept_back))
        self.reader.fit(
            CountRenders.joined(self._renders),
            Course(passes, BATCH, LATER_RATE if number else FIRST_RATE),
            torch_generator(problem.seed, Purpose.STRUCTURE, 4, number),
            appearance,
            problem.progress.step(f"train the counting network {of}"),
        )
        problem.progress.step(f"find the structure {of}")
        kept = self._renders[-1].of_index(np.flatnonzero(kept_back))
        rng = generator(problem.seed, Purpose.STRUCTURE, 5, number)
        channels, readings = self._read(problem.target)
        errors = CountLikelihood.of(kept.counts, self._read(appearance(kept.images, rng))[1], channels)
        rng = generator(problem.seed, Purpose.STRUCTURE, 6, number)
        self.fit = explain(
            self._grammar, self.channels, lambda counts: errors.log_likelihood(readings, counts), len(readings), rng
        )
        return self.fit

    def _read(self, images: np.ndarray) -> tuple[list[int], np.ndarray]:
        """Return the channel [D] of each reading, and the readings [N, D] of 8-bit images [N, H, W, 3]."""
        channels, readings = list(range(len(self.channels))), self.reader.read(images)
        if self._objects is None:
            return channels, readings
        kinds = [variables.kind for variables in self._objects.kinds]
        detected = [(j, kinds.index(c.kind)) for j, c in enumerate(self.channels) if not c.parent and c.kind in kinds]
        found = self._objects.counts(images)[:, [kind for _, kind in detected]]
        return [*channels, *(channel for channel, _ in detected)], np.hstack([readings, found])

    def _scattered(self, scenes: list[SceneGraph], rng: np.random.Generator) -> list[SceneGraph]:
        """Return the scenes; every second one gets mutable attributes that are uniform over their ranges."""
        problem = self._problem
        names = [(kind, spec.name) for kind, spec in problem.encoding.mutable]
        names += [(kind, choice.name) for kind, choice in problem.encoding.choices if choice.name != MODE.name]
        variables = variables_of(self._grammar, scenes[:LOOKED_AT], names)
        wide = {kind: Population.uniform(each) for kind, each in variables.items()}
        moved = drawn_from(problem, wide, scenes[1::2], rng)
        found = list(scenes)
        found[1::2] = moved
        return found


def _sampled(grammar: Grammar, rng: np.random.Generator, count: int) -> list[SceneGraph]:
    return [grammar.sample(rng) for _ in range(count)]
