"""The learning state of a run and the stages that change it; `trainer.train` puts them in order.

Everything here is a function of the grammar, the settings, the target images and the seed.
"""

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.features import FeatureSpace, features_of
from trainer.features.pyramid import PixelPyramid
from trainer.features.simulator import SimulatorFeatures, Window
from trainer.grammar import Grammar, SceneGraph
from trainer.learning.search import find_valleys
from trainer.learning.settings import TrainingSettings
from trainer.losses.mmd import MMD
from trainer.model.encoding import Encoding, GraphBatch, with_values
from trainer.model.transformer import DistributionTransformer
from trainer.progress import Progress, Silent
from trainer.randomness import Purpose, generator, integer, torch_generator
from trainer.rendering import Renderer
from trainer.run import Json
from trainer.statistics import AttributeStatistics, attribute_statistics

#: Fraction of all steps that the average of the weights reaches back over (Polyak & Juditsky, 1992).
AVERAGED = 0.2
#: By how much the search may have missed a valley's bottom, as a fraction of the features' window.
MISSED = 0.4
#: The learning rate's last value, as a fraction of its first.
FINAL_LEARNING_RATE = 0.05


@dataclass
class Learner:
    """A run's learning state and the stages that change it."""

    grammar: Grammar
    settings: TrainingSettings
    seed: int
    renderer: Renderer
    #: 8-bit images of the target, [M, H, W, 3].
    target: np.ndarray
    progress: Progress = field(default_factory=Silent)
    #: InceptionV3's lower layers, if that is the feature space; None: learn one from the simulator.
    inception: FeatureSpace | None = None

    def __post_init__(self) -> None:
        self.encoding = Encoding(self.grammar)
        self.transformer = DistributionTransformer(self.encoding, torch_generator(self.seed, Purpose.WEIGHTS))
        #: The average of the last steps' weights: what the run yields.
        self.average = copy.deepcopy(self.transformer)
        self.optimizer = torch.optim.Adam(self.transformer.parameters(), lr=self.settings.learning_rate)
        self.space: FeatureSpace | None = self.inception
        self.epoch = 0
        self._warned = False

    def pretrain(self) -> dict[str, float]:
        """G_θ learns the identity by cross-entropy and L1; returns each attribute's reconstruction error.

        The error is the mean absolute one on fresh scenes, as a fraction of the attribute's range, by "kind.name".
        """
        steps = self.settings.pretraining_steps
        advance = self.progress.stage("learn the identity")
        optimizer = torch.optim.Adam(self.transformer.parameters(), lr=1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
        for step in range(steps):
            batch = self.encoding.encode(self._scenes(Purpose.PRETRAINING, self.settings.batch, step))
            loss = self.transformer.reconstruct(batch).loss(batch, self.encoding)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            advance(step + 1, steps)
        self.average.load_state_dict(self.transformer.state_dict())
        return reconstruction_error(self.transformer, self._scenes(Purpose.PRETRAINING, 512, steps))

    def place(self) -> None:
        """The global stage: sets the transformer's shift to the best one found over the whole ranges."""
        settings = self.settings
        if settings.search_first == 0:
            return
        scenes = self._scenes(Purpose.SEARCH, settings.search_scenes)
        batch = self.encoding.encode(scenes)
        pyramid = PixelPyramid()
        mmd = MMD(features_of(pyramid, self.target))

        def score(shift: np.ndarray) -> float:
            images = self.renderer.images(self._changed(scenes, batch, shift), integer(self.seed, Purpose.SEARCH))
            return mmd(features_of(pyramid, images)).item()

        valleys, _ = find_valleys(
            self.encoding,
            score,
            generator(self.seed, Purpose.SEARCH, 1),
            first=settings.search_first,
            later=settings.search_later,
            generations=settings.search_generations,
            progress=self.progress.stage("search the start"),
        )
        chosen = self._likeliest(valleys) if len(valleys) > 1 else 0
        self.transformer.shift.copy_(torch.from_numpy(valleys[chosen]))
        self.average.load_state_dict(self.transformer.state_dict())

    def _likeliest(self, valleys: list[np.ndarray]) -> int:
        """Which valley the target's images come from.

        The MMD of valleys that are not yet descended says more of how well they were hit than of which one is right.
        So a network learns from renders scattered around each valley to tell them apart, and votes on the target's
        images (model choice by a classifier, as in approximate Bayesian computation: Pudlo et al., 2016).
        """
        images, labels = [], []
        for index, shift in enumerate(valleys):
            scenes = self._scenes(Purpose.VALLEYS, self.settings.valley_images, index)
            window = self._window(scenes, shift).narrowed(MISSED)
            images.append(self._scattered(scenes, window, Purpose.VALLEYS, index, f"render valley {index + 1}")[0])
            labels += [index] * len(scenes)
        network = self._network(len(valleys), Purpose.VALLEYS)
        network.fit(
            np.concatenate(images),
            np.array(labels, dtype=np.int64),
            self.settings.feature_epochs,
            torch_generator(self.seed, Purpose.VALLEYS, len(valleys)),
            self.progress.stage("choose the valley"),
            F.cross_entropy,
        )
        return int(features_of(network, self.target).softmax(1).mean(0).argmax())

    def learn_features(self) -> None:
        """Trains the simulator's feature space around the present scenes, unless another space was given."""
        if self.inception is not None:
            return
        scenes = self._scenes(Purpose.FEATURES, self.settings.feature_images)
        images, targets = self._scattered(scenes, self._window(scenes), Purpose.FEATURES, 0, "render for the features")
        space = self._network(len(self.encoding.mutable), Purpose.FEATURES)
        space.fit(
            images,
            targets,
            self.settings.feature_epochs,
            torch_generator(self.seed, Purpose.FEATURES, 3),
            self.progress.stage("learn the features"),
        )
        self.space = space

    def _window(self, scenes: Sequence[SceneGraph], shift: np.ndarray | None = None) -> Window:
        """The window around what the transformer makes of scenes."""
        return Window.around(self.encoding, self._changed(scenes, self.encoding.encode(scenes), shift))

    def _scattered(
        self, scenes: Sequence[SceneGraph], window: Window, purpose: Purpose, index: int, stage: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Images of scenes scattered over a window, and where in it they lie."""
        rng = generator(self.seed, purpose, index, 1)
        scattered = [window.scatter(self.encoding, scene, rng) for scene in scenes]
        advance = self.progress.stage(stage)
        images = []
        for first in range(0, len(scattered), 256):
            part = scattered[first : first + 256]
            images.append(self.renderer.images(part, integer(self.seed, purpose, index, first)))
            advance(first + len(part), len(scattered))
        return np.concatenate(images), np.stack([window.targets(self.encoding, scene) for scene in scattered])

    def epochs(self) -> Iterator[Json]:
        """Descends the MMD; yields the metrics of each epoch, from the present one on."""
        if self.space is None:
            raise RuntimeError("learn_features() comes first")
        settings = self.settings
        mmd = MMD(features_of(self.space, self.target))
        total = settings.epochs * settings.steps
        advance = self.progress.stage("match the distributions")
        while self.epoch < settings.epochs:
            began_s, stats = time.monotonic(), self.renderer.pool.stats
            losses, norms = [], []
            for step in range(self.epoch * settings.steps, (self.epoch + 1) * settings.steps):
                loss, norm = self._step(mmd, step, total)
                losses.append(loss)
                norms.append(norm)
                advance(step + 1, total)
            self.epoch += 1
            seconds = time.monotonic() - began_s
            after = self.renderer.pool.stats
            metrics: Json = {
                "epoch": self.epoch,
                "mmd": float(np.mean(losses)),
                "gradient_norms": dict(zip(self._names(), np.mean(norms, axis=0).tolist(), strict=True)),
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "seconds": seconds,
                "renders_per_s": (after.renders - stats.renders) / seconds,
                "waiting_share": (after.waited_s - stats.waited_s) / seconds,
                "workers": after.workers_up,
                **self._audit(),
            }
            self.progress.figures(
                mmd=metrics["mmd"], renders_per_s=metrics["renders_per_s"], workers=metrics["workers"]
            )
            yield metrics

    def shift(self) -> dict[str, float]:
        """What the global stage has found, by "kind.name", in the attributes' units."""
        return dict(zip(self._names(), self.transformer.shift.tolist(), strict=True))

    def statistics(self) -> tuple[list[AttributeStatistics], list[SceneGraph], list[SceneGraph]]:
        """Attributes that the averaged weights yield, on the same scenes at each call; the scenes before and after."""
        scenes = self._scenes(Purpose.MONITOR, self.settings.monitor_scenes)
        learned = transformed(self.average, scenes)
        return attribute_statistics(self.encoding, learned), scenes, learned

    def state(self) -> tuple[Json, dict[str, dict[str, Tensor]]]:
        """All that changes during training, as JSON and tensors."""
        optimizer = self.optimizer.state_dict()
        tensors = {
            "transformer": self.transformer.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": {
                f"{index}.{key}": value for index, entry in optimizer["state"].items() for key, value in entry.items()
            },
        }
        if isinstance(self.space, SimulatorFeatures):
            tensors["features"] = self.space.state_dict()
        return {"epoch": self.epoch}, tensors

    def restore(self, state: Json, tensors: dict[str, dict[str, Tensor]]) -> None:
        """Goes back to a state; the stages before the epochs are then done."""
        self.epoch = state["epoch"]
        self.transformer.load_state_dict(tensors["transformer"])
        self.average.load_state_dict(tensors["average"])
        entries: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors["optimizer"].items():
            index, key = name.split(".", 1)
            entries.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict({"state": entries, "param_groups": self.optimizer.state_dict()["param_groups"]})
        if "features" in tensors:
            space = self._network(len(self.encoding.mutable), Purpose.FEATURES)
            space.load_state_dict(tensors["features"])
            space.freeze()
            self.space = space

    def _step(self, mmd: MMD, step: int, total: int) -> tuple[float, list[float]]:
        """One step of gradient descent; returns MMD² and the norm of its gradient per mutable attribute of a kind."""
        self.optimizer.param_groups[0]["lr"] = self.settings.learning_rate * _cosine(step / total)
        scenes = self._scenes(Purpose.STEP, self.settings.batch, step)
        batch = self.encoding.encode(scenes)
        values = self.transformer(batch)
        values.retain_grad()
        seed = integer(self.seed, Purpose.STEP, step)
        images = self.renderer.differentiable(values, scenes, seed, self.settings.probing)
        loss = mmd(self.space(images))  # type: ignore[misc]  # epochs() has checked it
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        weight = 1 / min(step + 1, max(1, math.ceil(AVERAGED * total)))
        with torch.no_grad():
            for mean, parameter in zip(self.average.parameters(), self.transformer.parameters(), strict=True):
                mean.lerp_(parameter, weight)
            self.average.shift.copy_(self.transformer.shift)
        norms = [values.grad[batch.places == place].norm().item() for place in range(len(self.encoding.mutable))]
        return loss.item(), norms

    def _scenes(self, purpose: Purpose, count: int, *indices: int) -> list[SceneGraph]:
        rng = generator(self.seed, purpose, *indices)
        return [self.grammar.sample(rng) for _ in range(count)]

    def _changed(
        self, scenes: Sequence[SceneGraph], batch: GraphBatch, shift: np.ndarray | None = None
    ) -> list[SceneGraph]:
        """The scenes as the transformer changes them, with another shift where one is given."""
        with torch.no_grad():
            if shift is not None:
                self.transformer.shift.copy_(torch.from_numpy(shift))
            return with_values(scenes, self.transformer(batch))

    def _network(self, outputs: int, purpose: Purpose) -> SimulatorFeatures:
        size = (self.renderer.settings.height_px, self.renderer.settings.width_px)
        return SimulatorFeatures(outputs, size, torch_generator(self.seed, purpose, 4))

    def _audit(self) -> Json:
        """What the audits of an epoch have found; nothing if there were none. Warns once."""
        found = self.renderer.audits.take()
        if found is None:
            return {}
        if found.warning is not None and not self._warned:
            self._warned = True
            self.progress.note(found.warning)
        total = found.total
        return {
            "audit": {"cosine": total.cosine, "norm_ratio": total.norm_ratio, "columns": total.count},
            "audit_worst": found.worst,
        }

    def _names(self) -> list[str]:
        return [f"{kind}.{spec.name}" for kind, spec in self.encoding.mutable]


def transformed(transformer: DistributionTransformer, scenes: Sequence[SceneGraph]) -> list[SceneGraph]:
    """G_θ(s) for each scene s."""
    batch = transformer.encoding.encode(scenes)
    with torch.no_grad():
        return with_values(scenes, transformer(batch))


def reconstruction_error(transformer: DistributionTransformer, scenes: Sequence[SceneGraph]) -> dict[str, float]:
    """Mean absolute difference between G_θ(s) and s per "kind.name", as a fraction of the attribute's range."""
    encoding = transformer.encoding
    batch = encoding.encode(scenes)
    with torch.no_grad():
        difference = transformer(batch) - batch.values
    errors = {}
    for place, (kind, spec) in enumerate(encoding.mutable):
        part = difference[batch.places == place]
        if spec.is_angle:
            part = (part + 180) % 360 - 180
        errors[f"{kind}.{spec.name}"] = (part.abs().mean() / (spec.high - spec.low)).item() if len(part) else 0.0
    return errors


def _cosine(progress: float) -> float:
    """From 1 at 0 to FINAL_LEARNING_RATE at 1."""
    return FINAL_LEARNING_RATE + (1 - FINAL_LEARNING_RATE) * (1 + math.cos(math.pi * progress)) / 2
