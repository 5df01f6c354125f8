"""Experiments: a grammar, a target to learn, and the settings to do it with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from trainer.datasets.fitting import fitted_images, fitted_labels
from trainer.datasets.readers import ImageDataset, open_dataset
from trainer.errors import InputError
from trainer.grammar.document import Document
from trainer.grammar.grammar import Grammar
from trainer.grammar.loading import EXPERIMENT_KEYS, NO_OVERRIDES, grammar_of, open_file
from trainer.grammar.overrides import apply_overrides
from trainer.grammar.schema import WorldFile
from trainer.grammar.structure import check_flat
from trainer.grammar.validation import validate_document
from trainer.settings import Settings


@dataclass(frozen=True)
class Target:
    """A synthetic target."""

    grammar: Grammar
    #: What evaluation tests on: the same distributions, with other assets where the experiment says so.
    evaluation: Grammar
    count: int


@dataclass(frozen=True)
class ImageTarget:
    """A target of real images, brought to the size that the grammar renders; see `trainer.datasets.fitting`."""

    folder: Path
    #: One of `trainer.datasets.readers.KINDS`; None: what the files say.
    layout: str | None
    #: Images that are taken at most.
    count: int
    width_px: int
    height_px: int

    @cached_property
    def dataset(self) -> ImageDataset:
        """Opened at its first use: what has been learned can be used where the images are not.

        Raises:
            InputError: see `open_dataset`.
        """
        return open_dataset(self.folder, self.layout)

    @cached_property
    def images(self) -> np.ndarray:
        """X_R, uint8 [M, height_px, width_px, 3].

        Raises:
            InputError: the dataset cannot be opened, or an image is missing or damaged.
        """
        return fitted_images(self.dataset, self.width_px, self.height_px, self.count)

    def labelled(
        self, task: str, classes: tuple[str, ...], count: int | None = None, *, spared: int = 0
    ) -> tuple[np.ndarray, list[Any]]:
        """V: images uint8 [N, height_px, width_px, 3] and their labels for a task; see `fitted_labels`.

        Raises:
            InputError: the dataset cannot be opened, an image is damaged, or has no label of the kind, or none is left.
        """
        return fitted_labels(self.dataset, self.width_px, self.height_px, task, classes, count, spared=spared)


@dataclass(frozen=True)
class Experiment:
    """What `metasim train` runs."""

    name: str
    path: Path
    grammar: Grammar
    target: Target | None
    engine: str
    #: What the data is for, one of `trainer.tasks.TASKS`.
    task: str
    #: Settings of the trainer as the file gives them, not yet checked.
    training: Mapping[str, object] = field(default_factory=dict)
    #: Real images that are the target; `target` is None then.
    photos: ImageTarget | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should be told: data that was not found and what stands in for it. Each once."""
        return tuple(dict.fromkeys(note for grammar in self._grammars() for note in grammar.notes))

    def asset_source(self, content_hash: str) -> bytes:
        """The bytes of an asset that a scene of any of the grammars named: an AssetSource for a pool.

        Raises:
            InputError: none of them did.
        """
        for grammar in self._grammars():
            if content_hash in grammar.assets:
                return grammar.assets(content_hash)
        raise InputError(f"no scene of {self.name} uses an asset with the hash {content_hash}")

    def _grammars(self) -> tuple[Grammar, ...]:
        return (self.grammar, self.target.grammar, self.target.evaluation) if self.target else (self.grammar,)


def load_experiment(
    name_or_path: str | Path,
    overrides: Mapping[str, object] = NO_OVERRIDES,
    *,
    mnist: Path | None = None,
    settings: Settings | None = None,
) -> Experiment:
    """Reads an experiment file; a grammar file is an experiment without a target.

    Args:
        overrides: as for `load_grammar`; besides, paths that begin with target, engine, task or training.
        mnist: folder of MNIST's files; default: see `trainer.assets.mnist.find_mnist`.

    Raises:
        GrammarError: there is no such file, or something in it is wrong.
    """
    settings = settings or Settings.from_environment()
    opened = open_file(name_or_path)
    own = {key: value for key, value in overrides.items() if key.split(".")[0] in EXPERIMENT_KEYS}
    rest = {key: value for key, value in overrides.items() if key not in own}
    file = apply_overrides(opened.file, own, Path.cwd())
    world = apply_overrides(opened.world, rest, Path.cwd())
    content = validate_document(file)
    grammar = grammar_of(world, mnist=mnist, settings=settings)
    if content.engine == "raster":
        check_flat(file, grammar.kinds, ("engine",))
    return Experiment(
        name=file.path.stem,
        path=file.path,
        grammar=grammar,
        target=_target(content, file, world, mnist, settings),
        engine=content.engine,
        task=content.task,
        training=content.training,
        photos=_photos(content, file, grammar),
    )


def _target(
    content: WorldFile, file: Document, world: Document, mnist: Path | None, settings: Settings
) -> Target | None:
    section = content.target
    if section is None or section.images is not None:
        return None
    target = apply_overrides(world, section.overrides, file.path.parent)
    grammar = grammar_of(target, mnist=mnist, settings=settings)
    evaluation = grammar
    if section.evaluation:
        changed = apply_overrides(target, section.evaluation, file.path.parent)
        evaluation = grammar_of(changed, mnist=mnist, settings=settings)
    return Target(grammar, evaluation, section.count)


def _photos(content: WorldFile, file: Document, grammar: Grammar) -> ImageTarget | None:
    section = content.target
    if section is None or section.images is None:
        return None
    return ImageTarget(
        folder=file.path.parent / Path(section.images).expanduser(),
        layout=section.layout,
        count=section.count,
        width_px=grammar.render.width_px,
        height_px=grammar.render.height_px,
    )
