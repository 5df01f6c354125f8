"""The state of a run's learning and its steps; `trainer.train` calls them in order.

Everything here is a function of the problem and its seed.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from trainer.features import FeatureSpace, features_of
from trainer.grammar import SceneGraph
from trainer.inference.estimator import Estimator
from trainer.inference.monitoring import Monitor
from trainer.inference.population import Population
from trainer.inference.pretraining import pretrain
from trainer.inference.problem import Problem
from trainer.inference.rounds import Rounds, begin, infer_round
from trainer.inference.transport import carry
from trainer.inference.variables import Variables
from trainer.metrics.attributes import AttributeStatistics, attribute_statistics
from trainer.model.sampling import transformed
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import Purpose, torch_generator
from trainer.refinement.descent_trial import DescentTrial
from trainer.refinement.judge import Judge, judging_space
from trainer.refinement.matching import DistributionMatching
from trainer.refinement.optimiser import Optimiser
from trainer.refinement.score_function import Baseline
from trainer.refinement.stage_losses import DOING, StepRecord, losses_of, mean_record, step_record
from trainer.refinement.structure_learner import StructureLearner
from trainer.refinement.task_loss import TaskLoss


class Learner:
    """A run's learning state.

    Attributes:
        transformer: G_θ.
        space: the feature space of the present stage.
        stage: the present stage's number.
        epoch: finished epochs, over all stages.
        prepared: whether the present stage's start and features have been found.
        rounds: of the inference of the present stage, while it lasts.
        populations: what has been inferred, by kind.
        findings: what each stage has found: populations, errors of the transport, verdicts.
        structure: the structure learner, of grammars with mutable productions.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.structure = StructureLearner(problem) if problem.grammar.productions else None
        self.transformer = DistributionTransformer(problem.encoding, torch_generator(problem.seed, Purpose.WEIGHTS))
        self._optimiser = Optimiser(self.transformer, problem.settings.learning_rate)
        self.space: FeatureSpace | None = problem.space
        self.stage = 0
        self.epoch = 0
        self.prepared = False
        self.rounds: Rounds | None = None
        self.populations: dict[str, Population] = {}
        self.findings: list[dict[str, Any]] = []
        self._trial = DescentTrial()
        self._epoch_of_stage = 0
        self._baseline = Baseline()
        self._monitor = Monitor(problem)
        problem.check_stages()

    @property
    def average(self) -> DistributionTransformer:
        """Return G_θ with the average of the last steps' weights: the run's result."""
        return self._optimiser.average

    @property
    def finished(self) -> bool:
        """Return whether every stage is done."""
        return self.stage == len(self.problem.settings.stages)

    def pretrain(self) -> dict[str, float]:
        """Train G_θ on the identity; return each attribute's reconstruction error (`trainer.inference.pretraining`)."""
        if not self.problem.encoding.choices:
            return {}  # The structure alone is learned.
        error = pretrain(self.problem, self.transformer)
        self._optimiser.reset_average()
        return error

    def prepare(self) -> None:
        """Do the next part of the preparation of the present stage; `prepared` tells whether it was the last.

        The preparation finds where to start, and in which features distributions are compared. Inference has a part
        for each round; a run goes on from any of them.
        """
        if self.structure is not None and not self.structure.found:
            self.structure.infer()
            self.problem = self.structure.problem
            return
        if not self.problem.encoding.choices:
            self.space = self.space or judging_space(self.problem)
            self.prepared = True
            return
        objects = None if self.rounds is None else self.rounds.estimator.objects
        self.transformer.learn_only(self.problem.active(self.stage), self.problem.redrawn(self.stage))
        matches = "mmd" in self.problem.settings.stages[self.stage].losses
        new = self.problem.joins(self.stage) or not self.findings
        if matches and new and self.problem.infers and not self._infer():
            return
        self._optimiser.restart()
        if self.structure is not None and self.stage == 0:
            self.structure.recalibrate(self._changed, objects)
            self.problem = self.structure.problem
        self.prepared = True

    def _changed(self, scenes: Sequence[SceneGraph]) -> list[SceneGraph]:
        """Return scenes of the prior as the averaged weights change them."""
        return transformed(self.average, scenes)

    def _infer(self) -> bool:
        """Infer the population by one round more, or let G_θ learn it; return whether all is done."""
        if self.rounds is None:
            self.rounds = begin(self.problem, self.stage, self.populations)
            for kind in self.rounds.unread:
                self.problem.progress.note(
                    f"{kind} is not read off images: scenes have several of it and it has no class, so descent alone "
                    "changes it"
                )
        if not self.rounds.estimator.reads:
            self.rounds, self.space = None, self.space or judging_space(self.problem)
            return True
        if not self.rounds.done:
            infer_round(self.problem, self.rounds)
            return False
        self.populations = {**self.populations, **self.rounds.populations}
        errors = carry(self.problem, self.transformer, self.populations)
        _, prior, _ = self.statistics()
        self._optimiser.reset_average()
        learned = self.statistics()[2]
        judge = self._judge
        self.findings.append(
            {
                "stage": self.problem.settings.stages[self.stage].title,
                "population": [line for each in self.populations.values() for line in each.lines()],
                "populations": {kind: each.to_json() for kind, each in self.populations.items()},
                "counts": {kind: asdict(fit.count) for kind, fit in self.rounds.fits.items() if fit.count is not None},
                "transport_error": errors,
                "verdict": None if judge is None else judge.verdict(prior, learned, self.rounds.fits),
            }
        )
        for line in self.findings[-1]["population"]:
            self.problem.progress.note(line)
        for kind, count in self.findings[-1]["counts"].items():
            self.problem.progress.note(f"{kind}: {count['value']:.3g} ± {count['error']:.2g} in an image of the target")
        if self.problem.space is None:
            self.space = self.rounds.estimator.requires_grad_(False)
        self.rounds = None
        self._trial.begin(self.transformer)
        return True

    def _ends(self, *, last: bool) -> bool:
        """Return whether the stage ends after this epoch; record whether descent after an inference is kept.

        Args:
            last: whether this is the stage's last epoch.
        """
        ends, found = self._trial.after_epoch(
            self._epoch_of_stage, self.average, lambda: self.statistics()[1:], self._judge, last=last
        )
        if found is not None:
            self.findings[-1]["descent"] = found
            self.problem.progress.note(
                "descent has brought images nearer to the target's and is kept"
                if found["kept"]
                else "descent has not brought images nearer to the target's and is dropped"
            )
        return ends

    @cached_property
    def _judge(self) -> Judge | None:
        """Return the judge of the stages; None if the target has too few images."""
        return None if self.problem.held_out is None else Judge(self.problem, self.problem.held_out)

    def epochs(self) -> Iterator[dict[str, Any]]:
        """Descend on the present stage's losses; yield the metrics of each epoch, from the present one on.

        Raises:
            RuntimeError: the stage is not prepared.
        """
        if not self.prepared:
            raise RuntimeError("prepare() comes first")
        problem, settings = self.problem, self.problem.settings
        stage = settings.stages[self.stage]
        alone = not problem.encoding.choices  # The structure alone is learned, which needs no steps.
        losses = [] if alone else losses_of(problem, self.stage, self.space, self._baseline)
        epochs = 1 if alone else settings.epochs_of(self.stage)
        total = epochs * settings.steps
        advance = problem.progress.step(stage.name or DOING[tuple(sorted(stage.losses))])
        target = features_of(self._space(), problem.target) if "mmd" in stage.losses else None
        before = {} if target is None else self._monitor.prior(self.statistics()[1], self._space(), target)
        number = self.stage
        while self.stage == number:
            began_s, stats = time.monotonic(), problem.renderer.pool.stats
            records = []
            first = self._epoch_of_stage * settings.steps
            for step in range(first, first if alone else first + settings.steps):
                records.append(self._step(losses, step, total))
                advance(step + 1, total)
            self._epoch_of_stage += 1
            self.epoch += 1
            ends = self._ends(last=self._epoch_of_stage == epochs)
            if ends and self.structure is not None and self.stage == 0 and "mmd" in stage.losses:
                self.structure.descend(self._space(), self._changed, self._judge)
                self.problem = self.structure.problem
            seconds = time.monotonic() - began_s
            after = problem.renderer.pool.stats
            metrics: dict[str, Any] = {
                "epoch": self.epoch,
                "stage": stage.title,
                **mean_record(records, problem.names),
                "learning_rate": self._optimiser.learning_rate,
                "seconds": seconds,
                "renders_per_s": (after.renders - stats.renders) / seconds,
                "waiting_share": (after.waited_s - stats.waited_s) / seconds,
                "workers": after.workers_up,
                **self._monitor.audits(),
                **before,
            }
            metrics |= self._monitor.images(self.statistics()[2], self.epoch, self.space, target)
            shown = {name: metrics[name] for name in ("mmd", "score") if name in metrics}
            problem.progress.figures(**shown)
            if ends:
                self._next_stage()
            yield metrics

    def statistics(self) -> tuple[list[AttributeStatistics], list[SceneGraph], list[SceneGraph]]:
        """Attributes that the averaged weights yield, on the same scenes at each call; the prior's scenes and these."""
        problem = self.problem if self.structure is None else self.structure.prior
        scenes = problem.scenes(Purpose.MONITOR, self.problem.settings.monitor_scenes)
        learned = self._changed(self.unchanged())
        return attribute_statistics(self.problem.encoding, learned), scenes, learned

    def unchanged(self) -> list[SceneGraph]:
        """Return the scenes that G_θ changes in `statistics`: attributes of the prior, structure as learned."""
        return self.problem.scenes(Purpose.MONITOR, self.problem.settings.monitor_scenes)

    def state(self) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
        """Return everything that changes during training, as JSON and tensors."""
        tensors = {
            "transformer": self.transformer.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimiser.state(),
        }
        state: dict[str, Any] = {
            "epoch": self.epoch,
            "stage": self.stage,
            "epoch_of_stage": self._epoch_of_stage,
            "prepared": self.prepared,
            "baseline": self._baseline.value,
            "findings": self.findings,
            "variables": {kind: each.variables.to_json() for kind, each in self.populations.items()},
            "populations": {kind: each.to_json() for kind, each in self.populations.items()},
        }
        if self.structure is not None:
            state["structure"] = self.structure.state()
        if self._trial.inferred is not None:
            tensors["inferred"] = self._trial.inferred
        if self.rounds is not None:
            state["rounds"], tensors["rounds"] = self.rounds.state()
        if isinstance(self.space, Estimator):
            tensors["features"] = self.space.state_dict()
            state["features"] = self.space.plan()
        return state, tensors

    def restore(self, state: dict[str, Any], tensors: dict[str, dict[str, Tensor]]) -> None:
        """Restore a state."""
        self.epoch, self.stage, self.prepared = state["epoch"], state["stage"], state["prepared"]
        self._epoch_of_stage = state["epoch_of_stage"]
        self._baseline.value = state["baseline"]
        self._trial.inferred = tensors.get("inferred")
        if self.structure is not None:
            self.structure.restore(state["structure"])
            self.problem = self.structure.problem
        self.findings = state.get("findings", [])
        self.populations = {
            kind: Population.from_json(Variables.from_json(state["variables"][kind]), each)
            for kind, each in state.get("populations", {}).items()
        }
        if "rounds" in state:
            self.rounds = begin(self.problem, self.stage, self.populations)
            self.rounds.restore(state["rounds"], tensors["rounds"])
        self.transformer.load_state_dict(tensors["transformer"])
        self.average.load_state_dict(tensors["average"])
        self._optimiser.restore(tensors["optimizer"])
        if "features" in tensors:
            self.space = Estimator.restored(state["features"], tensors["features"]).to(self.problem.device)

    def _step(self, losses: list[DistributionMatching | TaskLoss], step: int, total: int) -> StepRecord:
        """Take one step of gradient descent; return its record."""
        offset = 1_000_000 * self.stage  # Every stage has its own scenes.
        estimates = [loss(self.transformer, offset + step) for loss in losses]
        self._optimiser.step(torch.stack([estimate.loss for estimate in estimates]).sum(), step, total)
        return step_record(estimates, len(self.problem.names))

    def _next_stage(self) -> None:
        self.stage += 1
        self._epoch_of_stage = 0
        self.prepared = False
        # The next stage goes on from what this one yields.
        self.transformer.load_state_dict(self.average.state_dict())

    def _space(self) -> FeatureSpace:
        if self.space is None:
            raise RuntimeError("prepare() finds the features")
        return self.space
