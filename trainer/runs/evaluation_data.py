"""The labelled images that an evaluation needs: rendered ones, and those of the target."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from metasim.v1 import render_pb2 as pb

from trainer.datasets.fitting import chosen
from trainer.errors import InputError
from trainer.experiments import Experiment, Labelling, Target
from trainer.experiments.target import PhotographTarget
from trainer.grammar import Grammar, SceneGraph
from trainer.progress import Progress
from trainer.randomness import EvaluationStream, Purpose, generator, integer
from trainer.rendering import Renderer
from trainer.tasks import TaskNetwork
from trainer.tasks.labelling import labelled
from trainer.translation import Translator
from trainer.translation.buffers import OUTPUTS, translated_frame

_MOST_PHOTOS = 1_000_000
_CHUNK = 512  # Scenes that are rendered at a time


@dataclass(frozen=True)
class TargetImages:
    """Target images, uint8 [N, H, W, 3], and their labels; None without labels, with the reason in `unlabelled`."""

    images: np.ndarray
    labels: list[Any] | None
    unlabelled: str = ""


class LabelledImages(NamedTuple):
    """Images uint8 [N, H, W, 3] and their labels."""

    images: np.ndarray
    labels: list[Any]

    def repeated(self, count: int) -> "LabelledImages":
        """Return the images, repeated until there are at least `count`.

        A network thus takes as many steps on a few photographs as on many renders.
        """
        index = np.arange(max(count, len(self.images))) % len(self.images)
        return LabelledImages(self.images[index], [self.labels[number] for number in index])


@dataclass(frozen=True)
class DataSets:
    """Renders datasets of a grammar."""

    grammar: Grammar
    renderer: Renderer
    network: TaskNetwork[Any, Any]
    seed: int
    progress: Progress

    def of(self, grammar: Grammar) -> "DataSets":
        """Return the renderer of another grammar."""
        return replace(self, grammar=grammar, renderer=Renderer(self.renderer.pool, grammar))

    def labelled(
        self, of: str, scenes: Iterable[SceneGraph], count: int, purpose: int, translator: Translator | None = None
    ) -> tuple[np.ndarray, list[Any]]:
        """Return images and labels of `count` scenes."""
        advance = self.progress.step(f"render {of}")
        return labelled(
            self.renderer,
            self.network,
            scenes,
            integer(self.seed, Purpose.EVALUATION, purpose),
            lambda done: advance(done, count),
            **self._appearance(translator),
        )

    def images(
        self, of: str, scenes: Iterable[SceneGraph], count: int, purpose: int, translator: Translator | None = None
    ) -> np.ndarray:
        """Return images of `count` scenes."""
        advance = self.progress.step(f"render {of}")
        noise = integer(self.seed, Purpose.EVALUATION, purpose)
        source, images, done = iter(scenes), [], 0
        while part := list(islice(source, _CHUNK)):
            if translator is None:
                images.append(self.renderer.images(part, noise + done))
            else:
                given = self._appearance(translator)
                frames = self.renderer.render(part, noise + done, (pb.OUTPUT_IMAGE_U8, *given["outputs"]))
                images.append(np.stack([given["image_of"](frame) for frame in frames]))
            done += len(part)
            advance(done, count)
        return np.concatenate(images)

    def _appearance(self, translator: Translator | None) -> dict[str, Any]:
        """Return the arguments of `trainer.tasks.labelling.labelled` that translate images."""
        if translator is None:
            return {}
        return {
            "outputs": OUTPUTS if translator.uses_buffers else (),
            "image_of": partial(translated_frame, translator, classes=self.grammar.classes),
        }


@dataclass(frozen=True)
class EvaluationImages:
    """The labelled images of an evaluation that come from the target."""

    target: Target
    data: DataSets
    #: Folders that replace the target's own images.
    test_photos: PhotographTarget | None
    validation_photos: PhotographTarget | None

    @classmethod
    def of(
        cls, experiment: Experiment, test: Path | None, validation: Path | None, data: DataSets
    ) -> "EvaluationImages":
        """Return the images of an experiment's target, or of folders.

        Raises:
            InputError: the experiment has no target.
        """
        if experiment.target is None:
            raise InputError(f"{experiment.path} has no target, so there is nothing to evaluate on")
        photos = [None if folder is None else photographs_of(experiment, folder) for folder in (test, validation)]
        return cls(experiment.target, data, *photos)

    def test(self, count: int, spared: int) -> TargetImages:
        """Return the test images of all networks.

        Args:
            count: the largest number of images.
            spared: excludes the target's photographs that `validation` returns for this count.

        Raises:
            InputError: an image cannot be read, or a folder of test images has no labels.
        """
        self.data.progress.step("read the test images")
        rng = generator(self.data.seed, Purpose.EVALUATION, EvaluationStream.TEST)
        labelling = self._labelling(count, "the test images", EvaluationStream.TEST)
        if self.test_photos is not None:
            return TargetImages(*self.test_photos.unseen(rng, labelling, count))
        if self.validation_photos is not None:
            spared = 0
        try:
            return TargetImages(*self.target.unseen(rng, labelling, count, spared=spared))
        except InputError as error:
            if spared or self.target.evaluation is not None:
                raise
            self.data.progress.note(f"{self.data.network.name} is not scored: {error}")
            images, _ = self.target.images(rng, self._rendered)
            return TargetImages(images[chosen(len(images), count)], None, str(error))

    def validation(self, count: int) -> LabelledImages:
        """Return V, labelled images of the target; of a synthetic target, the first images of the task loss.

        Raises:
            InputError: an image cannot be read, or has no label.
        """
        labelling = self._labelling(count, "labelled images of the target", EvaluationStream.VALIDATION)
        rng = generator(self.data.seed, Purpose.VALIDATION)
        return LabelledImages(*(self.validation_photos or self.target).labelled(rng, labelling, count))

    def real(self, count: int, *, wanted: bool | None) -> LabelledImages | None:
        """Return labelled images of the target to train on: `count` of a synthetic one, all of photographs.

        Args:
            wanted: None: yes if there are photographs outside the test set.

        Raises:
            InputError: images are wanted, but there are none.
        """
        if wanted is False or (wanted is None and self.target.grammar is not None and self.validation_photos is None):
            return None
        if self.validation_photos is not None or self.target.grammar is not None:
            return self.validation(count)
        if self.test_photos is None:
            if wanted:
                raise InputError(
                    "--real needs labelled photographs outside the test set: name test images with --test, or others "
                    "to train on with --validation"
                )
            return None
        try:
            return self.validation(self.target.count)
        except InputError as error:
            if wanted:
                raise
            self.data.progress.note(f"there is no row for real images: {error}")
            return None

    def unlabelled(self) -> np.ndarray | None:
        """Return the target's photographs without their labels, uint8 [N, H, W, 3]; None for a synthetic target.

        Raises:
            InputError: an image cannot be read.
        """
        if self.target.grammar is not None:
            return None
        rng = generator(self.data.seed, Purpose.EVALUATION, EvaluationStream.TEST)
        return self.target.images(rng, self._rendered)[0]

    def _labelling(self, count: int, of: str, purpose: int) -> Labelling:
        def render(grammar: Grammar, scenes: Iterable[SceneGraph]) -> tuple[np.ndarray, list[Any]]:
            return self.data.of(grammar).labelled(of, scenes, count, purpose)

        network = self.data.network
        return Labelling(network.photo_labels, self.data.grammar.classes, render, network.label_photo)

    def _rendered(self, grammar: Grammar, scenes: Sequence[SceneGraph]) -> np.ndarray:
        return self.data.of(grammar).images("the test images", scenes, len(scenes), EvaluationStream.TEST)


def photographs_of(experiment: Experiment, folder: Path) -> PhotographTarget:
    """Return the photographs of a folder, fitted to the grammar's size like the target's."""
    if isinstance(experiment.target, PhotographTarget):
        return replace(experiment.target, folder=folder, layout=None)
    render = experiment.grammar.render
    return PhotographTarget(folder, None, _MOST_PHOTOS, render.width_px, render.height_px)
