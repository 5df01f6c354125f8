"""The records of a run while it learns: metrics, distributions, pictures, checkpoints and the summary."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from trainer.datasets.fitting import chosen
from trainer.features import features_of
from trainer.grammar import SceneGraph
from trainer.grammar.productions import Structure
from trainer.metrics.attributes import AttributeStatistics, attribute_statistics, prior_statistics
from trainer.metrics.choices import (
    ChoiceStatistics,
    choice_statistics,
    learned_choices,
    prior_choices,
    production_statistics,
)
from trainer.metrics.counts import count_statistics
from trainer.metrics.mmd import MMD, mmd_floor
from trainer.randomness import EvaluationStream, Purpose, generator
from trainer.refinement.learner import Learner
from trainer.runs.folder import Run
from trainer.runs.histories import attribute_histories
from trainer.runs.notes import notes as run_notes
from trainer.runs.report.contact_sheets import paired_sheet
from trainer.runs.tensorboard import EventLog

#: Images per row in the picture of an epoch. The target's images are spread evenly over the target.
PICTURED = 16
#: Maximum number of target images for the floor of MMD², and minimum in each half.
MOST_IMAGES, FEWEST_HALF = 1_000, 4


class Timer:
    """A stopwatch that adds up seconds by stage."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self.seconds = dict(seconds)
        self._last_s = time.monotonic()

    def lap(self, stage: str) -> None:
        """Add the time since the last lap to a stage."""
        now_s = time.monotonic()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now_s - self._last_s
        self._last_s = now_s


@dataclass
class RunLog:
    """Writes the files of a run."""

    run: Run
    learner: Learner
    target_scenes: list[SceneGraph]
    timer: Timer
    #: Results of the stages before the epochs; stored in the checkpoint and the summary.
    facts: dict[str, Any]
    #: Images rendered before the run was resumed.
    renders: int = 0
    #: Probabilities of the grammar's mutable productions in a synthetic target.
    target_structure: Structure | None = None

    def __post_init__(self) -> None:
        encoding = self.learner.problem.encoding
        self._target_statistics = attribute_statistics(encoding, self.target_scenes)
        structure = self.learner.structure  # The problem's own grammar already has the learned probabilities.
        self._productions = () if structure is None else structure.prior.grammar.productions
        target = {} if self.target_structure is None else self.target_structure.probabilities
        self._target_choices = [
            *choice_statistics(encoding, self.target_scenes),
            *production_statistics(self._productions, target),
        ]
        self._metrics = self._up_to_now("metrics.jsonl")
        self._attributes = self._up_to_now("attributes.jsonl")
        self._events = EventLog(self.run.folder)

    def prior(self) -> None:
        """Record the distributions of the prior and the target, and the first picture."""
        _, scenes, _ = self.learner.statistics()
        encoding = self.learner.problem.encoding
        prior = prior_statistics(encoding, scenes), self._prior_choices()
        self._attributes = [
            _attributes("prior", None, *prior),
            _attributes("target", None, self._target_statistics, self._target_choices),
        ]
        self._sheet(0, scenes, scenes)

    def epoch(self, metrics: dict[str, Any]) -> None:
        """Record an epoch: metrics, distributions, picture, and, at the end of a stage, the weights."""
        learned, before, after = self.learner.statistics()
        self._metrics.append(metrics)
        choices = self._learned_choices()
        self._attributes.append(_attributes("learned", metrics["epoch"], learned, choices))
        self.run.write_records("metrics.jsonl", self._metrics)
        self.run.write_records("attributes.jsonl", self._attributes)
        self._events.epoch(metrics, learned, self._sheet(metrics["epoch"], before, after))
        if not self.learner.prepared:  # This was the last epoch of a stage; the next stage has not begun.
            self.run.save_stage(self.learner.stage, self.learner.average.state_dict())

    def checkpoint(self) -> None:
        """Write a checkpoint from which the run can resume."""
        state, tensors = self.learner.state()
        self.run.write_records("attributes.jsonl", self._attributes)
        facts: dict[str, Any] = {"seconds": self.timer.seconds, "renders": self._all_renders(), "facts": self.facts}
        self.run.save_checkpoint({**state, **facts}, tensors)

    def summary(self) -> None:
        """Write summary.json."""
        learned, before, after = self.learner.statistics()
        encoding = self.learner.problem.encoding
        prior = prior_statistics(encoding, before)
        choices = {
            "prior": self._prior_choices(),
            "learned": self._learned_choices(),
            "target": self._target_choices,
        }
        counts = {"prior": before, "learned": after, "target": self.target_scenes}
        self.run.update_summary(
            {
                "attributes": {
                    "prior": [item.outline() for item in prior],
                    "learned": [item.outline() for item in learned],
                    "target": [item.outline() for item in self._target_statistics],
                },
                "choices": {name: [item.to_json() for item in items] for name, items in choices.items()},
                "counts": {of: [item.to_json() for item in count_statistics(each)] for of, each in counts.items()},
                **self.facts,
                **self._floor(),
                "target_images": len(self.learner.problem.target),
                "monitor_images": self.learner.problem.settings.monitor_images,
                **_inferred(self.learner.findings),
                **({} if self.learner.structure is None else self.learner.structure.summary()),
                "mmd": [record["mmd"] for record in self._metrics if "mmd" in record],
                "mmd_prior": [record["mmd_prior"] for record in self._metrics if "mmd_prior" in record][-1:],
                "features": self.learner.space.name if self.learner.space else None,
                "seconds": {"total": sum(self.timer.seconds.values()), **self.timer.seconds},
                "renders": self._all_renders(),
                "workers": self.learner.problem.renderer.pool.stats.workers_up,
                "threads": torch.get_num_threads(),
            }
        )
        notes = run_notes(self.run.summary, self._metrics, attribute_histories(self.run))
        self.run.update_summary({"notes": [*self.facts.get("notes", ()), *notes]})
        self._events.close()

    def _prior_choices(self) -> list[ChoiceStatistics]:
        own = {each.name: each.probabilities for each in self._productions}
        prior = prior_choices(self.learner.problem.encoding)
        return [*prior, *production_statistics(self._productions, own)]

    def _learned_choices(self) -> list[ChoiceStatistics]:
        learned = self.learner.problem.grammar.structure.probabilities
        found = learned_choices(self.learner.average, self.learner.unchanged())
        return [*found, *production_statistics(self._productions, learned)]

    def _floor(self) -> dict[str, Any]:
        """Return MMD² of the target against itself in the run's feature space, if it has one."""
        space, problem = self.learner.space, self.learner.problem
        if space is None or len(problem.target) < 2 * FEWEST_HALF:
            return {}
        order = generator(problem.seed, Purpose.EVALUATION, EvaluationStream.FLOOR)
        images = problem.target[order.permutation(len(problem.target))[:MOST_IMAGES]]
        floor = mmd_floor(MMD(features_of(space, images), space.layers), order)
        return {"mmd_floor": {"mean": floor.mean, "upper": floor.upper}}

    def _sheet(self, epoch: int, before: list[SceneGraph], after: list[SceneGraph]) -> Image.Image:
        images = self.learner.problem.renderer.images
        rows = [("Prior", images(before[:PICTURED], 0))]
        if epoch:
            rows.append(("Learned", images(after[:PICTURED], 0)))
        target = self.learner.problem.target
        sheet = paired_sheet([*rows, ("Target", target[chosen(len(target), PICTURED)])])
        sheet.save(self.run.folder / "samples" / f"epoch-{epoch:03d}.png")
        return sheet

    def _all_renders(self) -> int:
        return self.renders + self.learner.problem.renderer.pool.stats.renders

    def _up_to_now(self, name: str) -> list[dict[str, Any]]:
        """Return the records up to the checkpoint's epoch; a killed run may have written later ones."""
        return [record for record in self.run.records(name) if (record["epoch"] or 0) <= self.learner.epoch]


def _inferred(findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the results of the stages' inferences, and the last verdict."""
    if not findings:
        return {}
    last = findings[-1]
    verdict = last.get("descent", {}).get("verdict") or last["verdict"]
    return {"inference": findings, "population": last["population"], **({"verdict": verdict} if verdict else {})}


def _attributes(
    of: str, epoch: int | None, statistics: list[AttributeStatistics], choices: list[ChoiceStatistics]
) -> dict[str, Any]:
    return {
        "of": of,
        "epoch": epoch,
        "attributes": [item.to_json() for item in statistics],
        "choices": [item.to_json() for item in choices],
    }
