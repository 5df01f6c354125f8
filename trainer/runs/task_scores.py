"""Scores of the task network, trained on each model's data, on labelled target images, or on both in sequence.

The rows of an evaluation: "prior"; earlier stages by their number; "learned"; "translated", the learned images with
translated appearance; "real", trained on the target's labelled images alone (the ceiling). After fine-tuning on n of
these: the same models, and "target", trained on the n alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from trainer.features.image_distances import MOST_IMAGES
from trainer.grammar import Grammar
from trainer.metrics.layout import Layout, layout_of_labels
from trainer.metrics.prediction_powered import FEWEST, prediction_powered_mean
from trainer.metrics.scene_distances import scenes_of
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import EvaluationStream, Purpose, generator, integer
from trainer.runs.evaluation_data import DataSets, LabelledImages, TargetImages
from trainer.tasks import CountsObjects, Results, Scores
from trainer.tasks.bootstrap import bootstrap, gap_closed, gaps_closed, interval
from trainer.translation import Translator


@dataclass(frozen=True)
class DataModel:
    """A source of data; without a transformer it is the prior.

    Attributes:
        grammar: grammar with the learned structure from which scenes are drawn; None: the prior's.
        translator: changes the appearance of the images.
    """

    title: str
    transformer: DistributionTransformer | None
    grammar: Grammar | None = None
    translator: Translator | None = None


@dataclass
class Measured:
    """Of each model: images uint8 [N, H, W, 3], positions of its objects, and results before and after fine-tuning.

    There is a result for each network. Counts are known where the task network counts objects.
    """

    images: dict[str, np.ndarray] = field(default_factory=dict)
    places: dict[str, Layout] = field(default_factory=dict)
    results: dict[str, list[Results]] = field(default_factory=dict)
    tuned: dict[str, list[Results]] = field(default_factory=dict)
    #: Mean number of objects in an image by class: of each model's data by its labels, and of the photographs.
    counts: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """The networks, their training data and their test data.

    Attributes:
        count: rendered images of each model.
        networks: number of networks that are trained on the same images.
        real: labelled images of the target that the ceiling is trained on.
        tuning: labelled images of the target that trained networks continue on.
        unlabelled: photographs of the target outside the test set, uint8 [N, H, W, 3]; their mean counts are estimated.
    """

    data: DataSets
    test: TargetImages
    count: int
    networks: int
    real: LabelledImages | None = None
    tuning: LabelledImages | None = None
    unlabelled: np.ndarray | None = None

    def run(self, models: Mapping[str, DataModel]) -> Measured:
        """Render each model's data; train and score networks on it if the test images have labels."""
        found, data = Measured(), self.data
        for name, model in models.items():
            # All stages change the same scenes.
            purpose = EvaluationStream.PRIOR if model.transformer is None else EvaluationStream.LEARNED
            rng = generator(data.seed, Purpose.EVALUATION, purpose)
            grammar, of = model.grammar or data.grammar, f"{model.title} data"
            scenes = scenes_of(grammar, self.count, rng, model.transformer)
            if self.test.labels is None:
                found.images[name] = data.images(of, scenes, self.count, purpose, model.translator)
                continue
            images, labels = data.labelled(of, scenes, self.count, purpose, model.translator)
            for index in range(self.networks):
                trained = self._trained(images, labels, purpose, index, of)
                found.results.setdefault(name, []).append(self._tested(trained))
                if name == "learned" and index == 0 and self.unlabelled is not None:
                    found.counts["photographs"] = self._counted(trained, self.unlabelled)
                if self.tuning is not None:
                    found.tuned.setdefault(name, []).append(self._tuned(trained, index, f"after {of}"))
            if isinstance(data.network, CountsObjects):
                means = data.network.label_counts(labels).mean(0).tolist()
                found.counts[name] = dict(zip(data.network.count_classes, means, strict=True))
            found.images[name], found.places[name] = images[:MOST_IMAGES], layout_of_labels(labels)
        for index in range(self.networks):
            if self.tuning is not None:
                images, labels = self.tuning
                trained = self._trained(
                    images, labels, EvaluationStream.VALIDATION, index, "labelled images of the target, alone"
                )
                found.tuned.setdefault("target", []).append(self._tested(trained))
            if self.real is not None:
                images, labels = self.real.repeated(self.count)
                trained = self._trained(
                    images, labels, EvaluationStream.REAL, index, "all labelled images of the target"
                )
                found.results.setdefault("real", []).append(self._tested(trained))
        return found

    def _trained(self, images: np.ndarray, labels: Sequence[Any], purpose: int, index: int, of: str) -> Any:
        network = self.data.network
        advance = self.data.progress.step(f"train the {network.name} on {of}{_which(index)}")
        return network.train(images, labels, _network_seed(self.data.seed, purpose, index), advance)

    def _counted(self, model: Any, unlabelled: np.ndarray) -> dict[str, Any]:
        """Return the mean count of each class in the photographs, corrected by the labelled test images."""
        network, labels = self.data.network, self.test.labels
        if not isinstance(network, CountsObjects) or labels is None or len(labels) < FEWEST or len(unlabelled) < 2:
            return {}
        true, predicted = network.label_counts(labels), network.counts(model, self.test.images)
        others = network.counts(model, unlabelled)
        return {
            name: asdict(prediction_powered_mean(true[:, k], predicted[:, k], others[:, k]))
            | {"labelled": len(labels), "unlabelled": len(unlabelled)}
            for k, name in enumerate(network.count_classes)
        }

    def _tested(self, model: Any) -> Results:
        results = self.data.network.test(model, self.test.images, self.test.labels or [])
        scores = results.scores()
        self.data.progress.figures(**{scores.primary: scores.value})
        return results

    def _tuned(self, model: Any, index: int, of: str) -> Results:
        """Return the results of a network after further training on the tuning images."""
        images, labels = self.tuning or LabelledImages(np.empty(0), [])
        network = self.data.network
        title = f"train the {network.name} on labelled images of the target, {of}{_which(index)}"
        advance = self.data.progress.step(title)
        seed = _network_seed(self.data.seed, EvaluationStream.VALIDATION, index)
        return self._tested(network.fine_tune(model, images, labels, seed, advance))


def summarised(
    results: Mapping[str, Sequence[Results]], names: Sequence[str], seed: int, images: int
) -> dict[str, Any]:
    """Return `scores`, standard `deviations` of several networks, and 95 % `intervals`, by model and score.

    Args:
        names: the models in order; models without results are left out.
        seed: of the bootstrap.
        images: number of test images.
    """
    present = {name: results[name] for name in names if name in results}
    found = summaries({name: [each.scores() for each in every] for name, every in present.items()}, list(present))
    samples = bootstrap(present, images, generator(seed, Purpose.EVALUATION, EvaluationStream.BOOTSTRAP))
    found["intervals"] = {
        name: {score: interval(values) for score, values in of.items()} for name, of in samples.items()
    }
    if "real" in present and "prior" in present:
        metric = present["real"][0].scores().primary
        value = {name: of[metric] for name, of in found["scores"].items()}
        found["gap_closed"] = {
            name: {
                "share": gap_closed(value["prior"], value[name], value["real"]),
                "interval": interval(
                    gaps_closed(samples["prior"][metric], samples[name][metric], samples["real"][metric])
                ),
            }
            for name in present
            if name not in ("prior", "real")
        }
    return found


def summaries(found: Mapping[str, Sequence[Scores]], names: Sequence[str]) -> dict[str, Any]:
    """Return means over networks: `scores` by model and score; with several networks, also standard `deviations`."""
    values = {
        name: {score: [one.values[score] for one in found[name]] for score in found[name][0].values} for name in names
    }
    means = {name: {score: float(np.mean(each)) for score, each in scores.items()} for name, scores in values.items()}
    if len(found[names[0]]) == 1:
        return {"scores": means}
    deviations = {
        name: {score: float(np.std(each, ddof=1)) for score, each in scores.items()} for name, scores in values.items()
    }
    return {"scores": means, "deviations": deviations}


def stage_scores(every: Mapping[str, Any], key: str, name: str) -> dict[str, Any]:
    """Return the entries of `summarised` for one model: `key`, `key_deviations` and so on."""
    found = {key: every["scores"][name], f"{key}_intervals": every["intervals"][name]}
    if "deviations" in every:
        found[f"{key}_deviations"] = every["deviations"][name]
    if name in every.get("gap_closed", {}):
        found[f"{key}_gap_closed"] = every["gap_closed"][name]
    return found


def without_stages(of: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of all models except earlier stages, whose names are numbers."""
    return {name: each for name, each in of.items() if not name.isdigit()}


def _network_seed(seed: int, purpose: int, index: int) -> int:
    """Return the seed of a network. The first network's seed does not depend on the number of networks."""
    return integer(seed, Purpose.TASK_NETWORK, purpose, *([index] if index else []))


def _which(index: int) -> str:
    return f", network {index + 1}" if index else ""
