"""What a run writes while it learns: metrics, distributions, pictures, checkpoints and the summary."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from trainer.grammar import SceneGraph
from trainer.metrics.attributes import AttributeStatistics, ChoiceStatistics, attribute_statistics, choice_statistics
from trainer.refinement.learner import Learner
from trainer.runs.folder import Run
from trainer.runs.report.pictures import paired_sheet
from trainer.runs.tensorboard import EventLog

#: Images in a row of the picture of an epoch.
PICTURED = 16


class Timer:
    """Seconds by stage."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self.seconds = dict(seconds)
        self._last_s = time.monotonic()

    def lap(self, stage: str) -> None:
        """Adds the time since the last lap to a stage."""
        now_s = time.monotonic()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now_s - self._last_s
        self._last_s = now_s


@dataclass
class RunLog:
    """Writes what a run leaves behind."""

    run: Run
    learner: Learner
    target_scenes: list[SceneGraph]
    timer: Timer
    #: What the stages before the epochs have found out; goes into the checkpoint and the summary.
    facts: dict[str, Any]
    #: Images rendered before the run was resumed.
    renders: int = 0

    def __post_init__(self) -> None:
        encoding = self.learner.problem.encoding
        self._target_statistics = attribute_statistics(encoding, self.target_scenes)
        self._target_choices = choice_statistics(encoding, self.target_scenes)
        self._metrics = self._up_to_now("metrics.jsonl")
        self._attributes = self._up_to_now("attributes.jsonl")
        self._events = EventLog(self.run.folder)

    def prior(self) -> None:
        """The distributions and pictures to start from."""
        _, scenes, _ = self.learner.statistics()
        encoding = self.learner.problem.encoding
        prior = attribute_statistics(encoding, scenes), choice_statistics(encoding, scenes)
        self._attributes = [
            _attributes("prior", None, *prior),
            _attributes("target", None, self._target_statistics, self._target_choices),
        ]
        self._sheet(0, scenes, scenes)

    def found(self) -> None:
        """What the global part of a stage has found."""
        shifts: dict[str, Any] = {"shift": self.learner.shift()}
        if self.learner.mode_weights():
            shifts["modes"] = self.learner.mode_weights()
        self.facts["search"] = shifts

    def epoch(self, metrics: dict[str, Any]) -> None:
        """One epoch's metrics, distributions and picture, and the weights where it ends a stage."""
        learned, before, after = self.learner.statistics()
        self._metrics.append(metrics)
        choices = choice_statistics(self.learner.problem.encoding, after)
        self._attributes.append(_attributes("learned", metrics["epoch"], learned, choices))
        self.run.write_records("metrics.jsonl", self._metrics)
        self.run.write_records("attributes.jsonl", self._attributes)
        self._events.epoch(metrics, learned, self._sheet(metrics["epoch"], before, after))
        if not self.learner.prepared:  # It was the last epoch of a stage; the next one has not begun.
            self.run.save_stage(self.learner.stage, self.learner.average.state_dict())

    def checkpoint(self) -> None:
        """From here the run can go on."""
        state, tensors = self.learner.state()
        self.run.write_records("attributes.jsonl", self._attributes)
        facts: dict[str, Any] = {"seconds": self.timer.seconds, "renders": self._all_renders(), "facts": self.facts}
        self.run.save_checkpoint({**state, **facts}, tensors)

    def summary(self) -> None:
        """The outcome."""
        learned, before, after = self.learner.statistics()
        encoding = self.learner.problem.encoding
        prior = attribute_statistics(encoding, before)
        choices = {
            "prior": choice_statistics(encoding, before),
            "learned": choice_statistics(encoding, after),
            "target": self._target_choices,
        }
        self.run.update_summary(
            {
                "attributes": {
                    "prior": [item.outline() for item in prior],
                    "learned": [item.outline() for item in learned],
                    "target": [item.outline() for item in self._target_statistics],
                },
                "choices": {name: [item.to_json() for item in items] for name, items in choices.items()},
                **self.facts,
                "mmd": [record["mmd"] for record in self._metrics if "mmd" in record],
                "mmd_prior": [record["mmd_prior"] for record in self._metrics if "mmd_prior" in record][-1:],
                "features": self.learner.space.name if self.learner.space else None,
                "seconds": {"total": sum(self.timer.seconds.values()), **self.timer.seconds},
                "renders": self._all_renders(),
                "workers": self.learner.problem.renderer.pool.stats.workers_up,
                "threads": torch.get_num_threads(),
            }
        )
        self._events.close()

    def _sheet(self, epoch: int, before: list[SceneGraph], after: list[SceneGraph]) -> Image.Image:
        images = self.learner.problem.renderer.images
        rows = [("Prior", images(before[:PICTURED], 0))]
        if epoch:
            rows.append(("Learned", images(after[:PICTURED], 0)))
        sheet = paired_sheet([*rows, ("Target", self.learner.problem.target[:PICTURED])])
        sheet.save(self.run.folder / "samples" / f"epoch-{epoch:03d}.png")
        return sheet

    def _all_renders(self) -> int:
        return self.renders + self.learner.problem.renderer.pool.stats.renders

    def _up_to_now(self, name: str) -> list[dict[str, Any]]:
        """Records of the finished epochs; later ones were written by a run that then was killed."""
        return [record for record in self.run.records(name) if (record["epoch"] or 0) <= self.learner.epoch]


def _attributes(
    of: str, epoch: int | None, statistics: list[AttributeStatistics], choices: list[ChoiceStatistics]
) -> dict[str, Any]:
    return {
        "of": of,
        "epoch": epoch,
        "attributes": [item.to_json() for item in statistics],
        "choices": [item.to_json() for item in choices],
    }
