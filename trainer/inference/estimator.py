"""The amortised estimator: a network that predicts the posterior q(attributes, context | image).

Kinds that occur exactly once in every scene are read jointly off the whole image. Kinds that may repeat are detected
first (`trainer.inference.object_reader`). The estimator is trained on renders of known scenes by maximum likelihood
(neural posterior estimation; Papamakarios & Murray, Fast ε-free Inference, NeurIPS 2016). Held-out renders calibrate
it: its spreads are scaled to its errors on them.
"""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.device import device_of, upload
from trainer.errors import InputError
from trainer.features import to_tensor
from trainer.features.appearance import Appearance, unchanged
from trainer.features.descent import Course, descend
from trainer.features.resizing import resized
from trainer.inference.object_reader import ObjectReader
from trainer.inference.posterior import HIDDEN, DensityHead, Layout, Posterior
from trainer.inference.renders import Renders
from trainer.inference.trunk import Trunk
from trainer.inference.variables import Variables
from trainer.progress import Advance, ignore

#: Weight of the loss of the kinds' presence maps; that of numbers is 1.
PRESENCE = 2.0
#: Fraction of the first training that uses the true presence maps (teacher forcing).
TAUGHT = 0.5
#: Appearances of each render in training.
VIEWS = 3
#: Images in a batch for objects, and the learning rate for objects over that for whole images.
OBJECT_BATCH, OBJECT_RATE = 12, 0.7


class Estimator(nn.Module):
    """q(attributes, context | image) of the nodes of a layout, and q(… | detection) of those of repeating kinds."""

    trained: Tensor
    log_scales: Tensor
    log_temperature: Tensor

    name = "estimator"
    layers = None

    def __init__(
        self,
        layout: Layout,
        size: tuple[int, int],
        generator: torch.Generator,
        repeating: Sequence[Variables] = (),
    ) -> None:
        """
        Args:
            layout: kinds that occur exactly once in every scene.
            size: height and width of the images, in pixels.
            repeating: kinds that may repeat.
        """
        super().__init__()
        self.layout, self.size = layout, size
        if layout.kinds:
            self.trunk = Trunk(size, len(layout.kinds), generator)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
                self.head = DensityHead(HIDDEN + layout.codes, layout)
                self.reader = nn.Sequential(nn.Linear(self.trunk.features, HIDDEN), nn.ReLU())
                self.points = nn.Linear(HIDDEN, layout.codes)
        self.objects = ObjectReader(repeating, size, generator) if repeating else None
        self.register_buffer("trained", torch.zeros((), dtype=torch.bool))
        self.register_buffer("log_scales", torch.zeros(len(layout.angles)))
        self.register_buffer("log_temperature", torch.zeros(()))

    def read(self, images: Tensor) -> Posterior:
        """Return the uncalibrated posterior of images [N, 3, H, W]."""
        hidden, points, _ = self._seen(images)
        posterior: Posterior = self.head(torch.cat([hidden, points], 1))
        return posterior

    def forward(self, images: Tensor) -> Tensor:
        """Return features of images [N, 3, H, W]: their points [N, codes], and means over the points of detections.

        Images that are larger than those of the training are averaged down to that size.
        """
        images = resized(images, self.size)
        parts = [self._seen(images)[1]] if self.layout.kinds else []
        return torch.cat(parts if self.objects is None else [*parts, self.objects(images)], 1)

    @property
    def reads(self) -> bool:
        """Return whether the estimator reads any kind."""
        return bool(self.layout.kinds or self.repeating)

    @property
    def repeating(self) -> tuple[Variables, ...]:
        """Return the kinds that may repeat."""
        return () if self.objects is None else self.objects.kinds

    def plan(self) -> dict[str, object]:
        """Return the arguments of the constructor, as JSON."""
        return {
            "name": self.name,
            "size": list(self.size),
            "kinds": [kind.to_json() for kind in self.layout.kinds],
            "repeating": [kind.to_json() for kind in self.repeating],
        }

    @classmethod
    def from_plan(cls, plan: Mapping[str, Any]) -> "Estimator":
        """Return an untrained estimator with the same arguments."""
        single, repeating = (
            tuple(Variables.from_json(kind) for kind in plan.get(name, [])) for name in ("kinds", "repeating")
        )
        return cls(Layout(single), tuple(plan["size"]), torch.Generator(), repeating)

    @classmethod
    def restored(cls, plan: Mapping[str, Any] | None, weights: Mapping[str, Tensor]) -> "Estimator":
        """Return the estimator from a run's checkpoint, as a feature space.

        Args:
            plan: the result of `plan`; None: the run has none.

        Raises:
            InputError: an older version wrote the checkpoint.
        """
        older = "an older version of metasim made this run, and its features cannot be read: train again"
        if plan is None or plan.get("name") != cls.name:
            raise InputError(older)
        found = cls.from_plan(plan)
        try:
            found.load_state_dict(dict(weights))
        except RuntimeError as error:  # Other names or shapes of weights.
            raise InputError(older) from error
        return found.requires_grad_(False)

    def fit(
        self,
        renders: Renders,
        course: Course,
        generator: torch.Generator,
        appearance: Appearance,
        progress: Advance = ignore,
    ) -> float:
        """Train on the renders that are not held out; return the last epoch's mean loss."""
        part = renders.of(np.flatnonzero(~renders.kept_back))
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        views = [appearance(part.images, rng) for _ in range(1 if appearance is unchanged else VIEWS)]
        parts = bool(self.layout.kinds) + (self.objects is not None)
        loss, done = 0.0, 0

        def advance(turn: int, passes: int) -> None:
            progress(done + turn, parts * passes)

        if self.layout.kinds:
            loss += self._fit_single(part, views, course, generator, advance)
            done = course.passes
        if self.objects is not None:
            course = Course(course.passes, OBJECT_BATCH, course.learning_rate * OBJECT_RATE)
            loss += self.objects.fit(views, part.objects, course, generator, advance)
        self.trained.fill_(True)
        return loss

    def _fit_single(
        self, part: Renders, views: Sequence[np.ndarray], course: Course, generator: torch.Generator, progress: Advance
    ) -> float:
        device = device_of(self)
        numbers = upload(self.layout.in_units(part.numbers), device)
        categories, presence = upload(part.categories, device), upload(part.presence, device)
        shown = (presence > 0).any(0).any(-1).any(-1)[:, None, None].float()

        steps, total = count(), course.passes * max(1, len(part.images) // course.batch)
        if bool(self.trained):
            total = 0
        else:
            self.trunk.expect(presence)

        def loss_of(index: Tensor) -> Tensor:
            chosen = views[int(torch.randint(len(views), (), generator=generator))]
            there = presence[index].float() / 255
            taught = next(steps) < TAUGHT * total
            hidden, points, seen = self._seen(to_tensor(chosen[index.numpy()], device), there if taught else None)
            posterior = self.head(torch.cat([hidden, points], 1).detach())
            log = posterior.log_prob(self.layout.angles, numbers[index], categories[index])
            presence_loss = F.binary_cross_entropy_with_logits(seen, there, weight=shown)
            return self.layout.loss(points, numbers[index], categories[index]) + PRESENCE * presence_loss - log.mean()

        own = [each for name, each in self.named_parameters() if not name.startswith("objects.")]
        return descend(own, len(part.images), loss_of, course, generator, progress)

    def calibrate(self, renders: Renders, appearance: Appearance, rng: np.random.Generator) -> float:
        """Scale the spreads to the errors on held-out renders; return the mean log-likelihood of these renders."""
        images, likelihood = appearance(renders.images, rng), 0.0
        if self.layout.kinds:
            numbers, categories = self.layout.in_units(renders.numbers), torch.from_numpy(renders.categories)
            scales, temperature, likelihood = self._posterior(images).calibration(self.layout, numbers, categories)
            self.log_scales.copy_(scales)
            self.log_temperature.copy_(temperature)
        if self.objects is not None:
            self.objects.calibrate(images, renders.objects)
        return likelihood

    def posterior(self, images: np.ndarray) -> Posterior:
        """Return the calibrated posterior of 8-bit images [N, H, W, 3]."""
        return self._posterior(images).calibrated(self.log_scales.cpu(), self.log_temperature.cpu())

    def sample(self, images: np.ndarray, count: int, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return numbers [N, count, D], on the grammar's scale, and categories [N, count, F] of 8-bit images."""
        return self.layout.in_their_units(*self.posterior(images).sample(count, generator))

    def _posterior(self, images: np.ndarray, batch: int = 256) -> Posterior:
        """Return the uncalibrated posterior of 8-bit images, on the CPU."""
        device = device_of(self)
        with torch.no_grad():
            parts = [self.read(to_tensor(images[i : i + batch], device)).cpu() for i in range(0, len(images), batch)]
        return Posterior(
            torch.cat([part.log_weights for part in parts]),
            torch.cat([part.means for part in parts]),
            torch.cat([part.precision for part in parts]),
            tuple(torch.cat(each) for each in zip(*(part.log_frequencies for part in parts), strict=True)),
        )

    def _seen(self, images: Tensor, told: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return hidden features [N, HIDDEN], points [N, codes], and logits of the kinds' presence."""
        features, seen = self.trunk(images, told)
        hidden = self.reader(features)
        return hidden, self.points(hidden), seen
