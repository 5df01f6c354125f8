"""Targets of an experiment: sources of X_R, the images to match, and of V, a few labelled ones."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from trainer.datasets.class_names import ClassNames
from trainer.datasets.fitting import Fit, FitRule, chosen, fitted_images, fitted_labels
from trainer.datasets.readers import ImageDataset, open_dataset
from trainer.grammar import Grammar, SceneGraph

#: Photographs whose shapes are compared with the frame for a note.
_LOOKED_AT = 50
#: Shares of an image's area, and relative differences of scale, that are below notice.
_NOTICED = 0.01

#: Renders scenes of a grammar as uint8 images [N, H, W, 3].
RenderImages = Callable[[Grammar, Sequence[SceneGraph]], np.ndarray]
#: The same, with a label of the experiment's task for each image.
RenderLabelled = Callable[[Grammar, Iterable[SceneGraph]], tuple[np.ndarray, list[Any]]]


@dataclass(frozen=True)
class Labelling:
    """How images of a target get their labels.

    Attributes:
        task: the kind of labels of photographs; see `trainer.datasets.fitting.fitted_labels`.
        classes: the grammar's classes; labels of datasets are matched by name.
        render: renders scenes with their labels.
        label_photo: turns a label of that kind into one of the task.
    """

    task: str
    classes: tuple[str, ...]
    render: RenderLabelled
    label_photo: Callable[[Any], Any]


class Target(Protocol):
    """A distribution of images to match.

    The images of a synthetic target are rendered from scenes that are drawn from a grammar, so everything about them
    is known. Photographs are read from a dataset, and their scenes are unknown.
    """

    @property
    def count(self) -> int:
        """Number of images in X_R; of photographs at most."""

    @property
    def grammar(self) -> Grammar | None:
        """The grammar that the scenes of X_R and V are drawn from; None for photographs."""

    @property
    def evaluation(self) -> Grammar | None:
        """The grammar of the scenes that evaluation tests on; None for photographs."""

    def images(
        self, rng: np.random.Generator, render: RenderImages, count: int | None = None
    ) -> tuple[np.ndarray, list[SceneGraph]]:
        """Return X_R, uint8 [M, H, W, 3], and the scenes behind the images; photographs have none.

        Args:
            rng: draws the scenes.
            count: number of images, at most `self.count` of photographs; None: `self.count`.

        Raises:
            InputError: an image is missing or damaged.
        """

    def labelled(self, rng: np.random.Generator, labelling: Labelling, count: int) -> tuple[np.ndarray, list[Any]]:
        """Return V: `count` images (of photographs at most), uint8 [N, H, W, 3], and their labels.

        Raises:
            InputError: an image is missing or damaged, or has no label for the task.
        """

    def unseen(
        self, rng: np.random.Generator, labelling: Labelling, count: int, *, spared: int = 0
    ) -> tuple[np.ndarray, list[Any]]:
        """Return labelled images that evaluation tests on, as `labelled` does.

        Args:
            spared: leaves out the photographs that `labelled` returns for this count.

        Raises:
            InputError: as `labelled`, or no image is left.
        """

    def notes(self, classes: tuple[str, ...]) -> tuple[str, ...]:
        """Return what a user should know of the images and of their classes, one line each.

        Args:
            classes: those of the grammar.

        Raises:
            InputError: an image is missing or damaged.
        """

    def check(self, task: str, classes: tuple[str, ...], labelled: int | None) -> None:
        """Read what `images` and, if `labelled` is given, `labelled` with that count will need.

        Raises:
            InputError: something is missing or damaged.
        """


@dataclass(frozen=True)
class SyntheticTarget:
    """A target of rendered scenes: the experiment's grammar with some of its distributions replaced."""

    grammar: Grammar
    evaluation: Grammar
    count: int

    def images(
        self, rng: np.random.Generator, render: RenderImages, count: int | None = None
    ) -> tuple[np.ndarray, list[SceneGraph]]:
        scenes = [self.grammar.sample(rng) for _ in range(count or self.count)]
        return render(self.grammar, scenes), scenes

    def labelled(self, rng: np.random.Generator, labelling: Labelling, count: int) -> tuple[np.ndarray, list[Any]]:
        return labelling.render(self.grammar, (self.grammar.sample(rng) for _ in range(count)))

    def unseen(
        self, rng: np.random.Generator, labelling: Labelling, count: int, *, spared: int = 0
    ) -> tuple[np.ndarray, list[Any]]:
        del spared  # Every scene is a new one.
        return labelling.render(self.evaluation, (self.evaluation.sample(rng) for _ in range(count)))

    def notes(self, classes: tuple[str, ...]) -> tuple[str, ...]:
        del classes
        return ()

    def check(self, task: str, classes: tuple[str, ...], labelled: int | None) -> None:
        del task, classes, labelled
        for grammar in (self.grammar, self.evaluation):
            for asset_set in grammar.asset_sets.values():
                asset_set.data(0)


@dataclass(frozen=True)
class PhotographTarget:
    """A target of real images, brought to the size that the grammar renders; see `trainer.datasets.fitting`."""

    folder: Path
    #: One of `trainer.datasets.readers.KINDS`; None: the reader recognises it by the files.
    layout: str | None
    count: int
    width_px: int
    height_px: int
    #: How images of another shape come to this size.
    fit: FitRule = "crop"
    #: Names of the dataset's classes and the grammar's classes that they stand for; others are matched by name.
    classes: Mapping[str, str] = field(default_factory=dict)

    grammar = None
    evaluation = None

    @cached_property
    def dataset(self) -> ImageDataset:
        """The dataset, opened at its first use: a finished run can be used where the images are not.

        Raises:
            InputError: see `open_dataset`.
        """
        return open_dataset(self.folder, self.layout)

    @cached_property
    def _images(self) -> np.ndarray:
        return fitted_images(self.dataset, self.width_px, self.height_px, self.count, self.fit)

    def images(
        self,
        rng: np.random.Generator | None = None,
        render: RenderImages | None = None,
        count: int | None = None,
    ) -> tuple[np.ndarray, list[SceneGraph]]:
        del rng, render
        return self._images[chosen(len(self._images), count)], []

    def labelled(
        self, rng: np.random.Generator | None, labelling: Labelling, count: int | None
    ) -> tuple[np.ndarray, list[Any]]:
        return self.unseen(rng, labelling, count)

    def unseen(
        self, rng: np.random.Generator | None, labelling: Labelling, count: int | None, *, spared: int = 0
    ) -> tuple[np.ndarray, list[Any]]:
        del rng
        images, given = self._labels(labelling.task, labelling.classes, count, spared)
        return images, [labelling.label_photo(each) for each in given]

    def given(self, task: str, classes: tuple[str, ...]) -> list[Any]:
        """Return the labels of all photographs, as `trainer.datasets.fitting.fitted_labels` gives them for a task.

        Raises:
            InputError: an image is missing or damaged, or has no label for the task.
        """
        return self._labels(task, classes, None, 0)[1]

    def notes(self, classes: tuple[str, ...]) -> tuple[str, ...]:
        note = ClassNames.of(self.dataset, classes, self.classes).note()
        return tuple(each for each in (self._shape_note(), note) if each)

    def _shape_note(self) -> str | None:
        """How many of the first images have another shape than the frame, and what becomes of them."""
        images = [self.dataset.example(index).image for index in chosen(len(self.dataset), _LOOKED_AT)]
        fits = [Fit.of(image, self.width_px, self.height_px, self.fit) for image in images]
        others = [(image, fit) for image, fit in zip(images, fits, strict=True) if _changed_shape(image, fit, self.fit)]
        if not others:
            return None
        lost = 1 - float(np.mean([fit.kept(image) for image, fit in others]))
        portrait = sum(image.shape[0] > image.shape[1] for image in images)
        mixed = f", {portrait} of them upright" if 0 < portrait < len(images) else ""
        effect = {
            "crop": f"cropped: {lost:.0%} of their area is lost on average; target.fit=pad keeps it",
            "pad": "padded with their mean colour",
            "resize": "resized by axis: their objects change shape",
        }[self.fit]
        frame = f"{self.width_px} x {self.height_px}"
        return f"{len(others)} of {len(images)} target images{mixed} have another shape than {frame} and are {effect}"

    def check(self, task: str, classes: tuple[str, ...], labelled: int | None) -> None:
        _ = self._images
        if labelled is not None:
            self._labels(task, classes, labelled, 0)

    def _labels(
        self, task: str, classes: tuple[str, ...], count: int | None, spared: int
    ) -> tuple[np.ndarray, list[Any]]:
        names = ClassNames.of(self.dataset, classes, self.classes)
        return fitted_labels(
            self.dataset,
            self.width_px,
            self.height_px,
            task,
            classes,
            count,
            spared=spared,
            rule=self.fit,
            names=names,
        )


def _changed_shape(image: np.ndarray, fit: Fit, rule: FitRule) -> bool:
    if rule == "crop":
        return fit.kept(image) < 1 - _NOTICED
    height, width = image.shape[:2]
    covered = width * fit.scale_x * height * fit.scale_y / (fit.width_px * fit.height_px)
    return covered < 1 - _NOTICED if rule == "pad" else abs(fit.scale_x / fit.scale_y - 1) > _NOTICED
