"""Learning of a structure: inference, recalibration with the learned attributes, refinement by descent."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trainer.features import FeatureSpace
from trainer.grammar import SceneGraph
from trainer.grammar.productions import Structure
from trainer.inference.object_reader import ObjectReader
from trainer.inference.problem import Problem
from trainer.inference.structure_deconvolution import StructureFit
from trainer.inference.structure_rounds import StructureRounds
from trainer.randomness import Purpose
from trainer.refinement.judge import Judge
from trainer.refinement.structure_descent import descend_structure

#: Changes scenes of the prior as the run has learned it.
Change = Callable[[Sequence[SceneGraph]], list[SceneGraph]]


class StructureLearner:
    """Learns the mutable productions of a grammar.

    Attributes:
        prior: the problem with the grammar's own structure.
        problem: the problem with the structure as it is known so far.
        found: whether the first structure has been found.
        fit: the last inference.
        descent: what the descent has led to: whether it was kept, and by how much it improved MMD² at least.
    """

    def __init__(self, problem: Problem) -> None:
        self.prior = self.problem = problem
        self.found = False
        self.fit: StructureFit | None = None
        self.descent: dict[str, Any] | None = None
        self._rounds: StructureRounds | None = None

    @property
    def structure(self) -> Structure:
        """The structure as it is known so far."""
        return self.problem.grammar.structure

    def infer(self) -> None:
        """Find the structure that explains the target's images; with `start: prior` it stays the prior's."""
        if self.prior.settings.start != "prior":
            self._rounds = StructureRounds(self.prior)
            self._accept(self._rounds.run())
        self.found = True

    def recalibrate(self, change: Change, objects: ObjectReader | None) -> None:
        """Find the structure again, now that attributes are known.

        Args:
            change: what is learned of attributes.
            objects: the detector of the attributes' estimator, if it has one.
        """
        if self.prior.settings.start == "prior" or not self.prior.encoding.choices:
            return
        if self._rounds is None:  # The run has been resumed in between.
            self._rounds = StructureRounds(self.prior)
            self._rounds.run()
        self._accept(self._rounds.recalibrated(change, self.structure, objects))

    def descend(self, space: FeatureSpace, change: Change, judge: Judge | None) -> None:
        """Refine the structure by the score function; after an inference only if held-out images say that it helps.

        Args:
            space: the features in which MMD² is measured.
            change: what is learned of attributes.
            judge: None: there are too few images to judge by, and after an inference nothing is tried.
        """
        inferred = self.prior.settings.start != "prior"
        if inferred and judge is None:
            return
        before = self.structure
        after = descend_structure(self.problem, self.prior.grammar, before, space, change)
        if inferred and judge is not None:
            found = judge.improves(*(change(self._scenes(each)) for each in (before, after)))
            self.descent = found
            kept = found["kept"]
            text = "has brought images nearer to the target's and is kept" if kept else "brings no gain and is dropped"
            self.problem.progress.note(f"descent of the structure {text}")
            if not kept:
                return
        self._use(after)

    def _scenes(self, structure: Structure) -> list[SceneGraph]:
        problem = replace(self.prior, grammar=self.prior.grammar.with_structure(structure))
        return problem.scenes(Purpose.MONITOR, problem.settings.monitor_scenes)

    def summary(self) -> dict[str, Any]:
        """Return the entries of a run's summary about the structure."""
        return {
            "structure": self.structure.to_json(),
            "structure_errors": None
            if self.fit is None
            else {name: list(row) for name, row in self.fit.errors.items()},
            "structure_lines": self.structure.lines(self.prior.grammar.productions),
            "structure_descent": self.descent,
        }

    def state(self) -> dict[str, Any]:
        """Return the state as JSON."""
        return {
            "found": self.found,
            "structure": self.structure.to_json(),
            "fit": None if self.fit is None else self.fit.to_json(),
            "descent": self.descent,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        self.found, self.descent = state["found"], state["descent"]
        self.fit = None if state["fit"] is None else StructureFit.from_json(state["fit"])
        self._use(Structure.from_json(state["structure"]))

    def _accept(self, fit: StructureFit) -> None:
        self.fit = fit
        self._use(fit.structure)
        for line in fit.structure.lines(self.prior.grammar.productions):
            self.prior.progress.note(line)

    def _use(self, structure: Structure) -> None:
        self.problem = replace(self.prior, grammar=self.prior.grammar.with_structure(structure))
