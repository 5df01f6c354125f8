"""Experiments: a grammar, a target to learn, and the settings to do it with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainer.environment import Settings, expanded
from trainer.errors import InputError
from trainer.experiments.target import PhotographTarget, SyntheticTarget, Target
from trainer.grammar.document import Document, shown
from trainer.grammar.files import EXPERIMENT_KEYS, NO_OVERRIDES, Copies, grammar_of, open_file
from trainer.grammar.grammar import Grammar
from trainer.grammar.overrides import apply_overrides
from trainer.grammar.productions import matching
from trainer.grammar.schema import WorldFile
from trainer.grammar.structure_checks import check_flat
from trainer.grammar.validation import validate_document

#: Part of a target's draws that a grammar need not be able to draw.
_OUT_OF_REACH = 1e-4


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
    #: Whether the file states the task; else it is the default.
    task_stated: bool
    #: Settings of the trainer as the file gives them, not yet checked.
    training: Mapping[str, object] = field(default_factory=dict)
    #: Settings of the task network as the file gives them, not yet checked.
    task_settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user, each once: data that was not found, and what replaces it."""
        return tuple(dict.fromkeys(note for grammar in self._grammars() for note in grammar.notes))

    def asset_source(self, content_hash: str) -> bytes:
        """Return the bytes of an asset that a scene of one of the grammars refers to. It is an AssetSource of a pool.

        Raises:
            InputError: no scene refers to it.
        """
        for grammar in self._grammars():
            if content_hash in grammar.assets:
                return grammar.assets(content_hash)
        raise InputError(f"no scene of {self.name} uses an asset with the hash {content_hash}")

    def _grammars(self) -> tuple[Grammar, ...]:
        of_target = (self.target.grammar, self.target.evaluation) if self.target else ()
        return (self.grammar, *(grammar for grammar in of_target if grammar is not None))


def load_experiment(
    name_or_path: str | Path,
    overrides: Mapping[str, object] = NO_OVERRIDES,
    *,
    mnist: Path | None = None,
    settings: Settings | None = None,
    copies: Copies | None = None,
) -> Experiment:
    """Read an experiment file; a grammar file is an experiment without a target.

    Args:
        overrides: as for `load_grammar`; besides, paths that begin with target, engine, task, task_settings or
            training.
        mnist: folder of MNIST's files; default: see `trainer.assets.mnist.find_mnist`.
        copies: are read in place of the files.

    Raises:
        GrammarError: there is no such file, or something in it is wrong.
    """
    settings = settings or Settings.from_environment()
    opened = open_file(name_or_path, copies)
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
        target=_target(content, file, world, grammar, mnist, settings),
        engine=content.engine,
        task=content.task,
        task_stated="task" in content.model_fields_set,
        training=content.training,
        task_settings=content.task_settings,
    )


def _target(
    content: WorldFile, file: Document, world: Document, grammar: Grammar, mnist: Path | None, settings: Settings
) -> Target | None:
    section = content.target
    if section is None:
        return None
    if section.images is not None:
        return PhotographTarget(
            folder=file.path.parent / expanded(Path(section.images)),
            layout=section.layout,
            count=section.count,
            width_px=grammar.render.width_px,
            height_px=grammar.render.height_px,
            fit=section.fit,
            classes=section.classes,
        )
    moved = apply_overrides(world, section.overrides, file.path.parent)
    evaluation = target = grammar_of(moved, mnist=mnist, settings=settings, learned=False)
    if section.evaluation:
        changed = apply_overrides(moved, section.evaluation, file.path.parent)
        evaluation = grammar_of(changed, mnist=mnist, settings=settings, learned=False)
    _check_within_reach(file, grammar, target)
    return SyntheticTarget(target, evaluation, section.count)


def _check_within_reach(file: Document, grammar: Grammar, target: Grammar) -> None:
    """
    Raises:
        GrammarError: a mutable production of the target draws what the grammar's never draws.
    """
    rows = matching(grammar.productions, target.roots, target.kinds).probabilities
    for each in grammar.productions:
        missing = 1 - sum(rows.get(each.name, (1.0,)))
        if missing > _OUT_OF_REACH:
            raise file.error(
                ("target", "overrides"),
                f"{missing:.2g} of the target's draws of {each.name} are none of the grammar's options "
                f"({shown(', '.join(each.categories))}), so they cannot be learned; add them to the grammar",
                show_value=False,
            )
