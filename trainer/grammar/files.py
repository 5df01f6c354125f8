"""Finds and reads grammar and experiment files."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from trainer.environment import Settings, expanded, shipped_files
from trainer.errors import GrammarError
from trainer.grammar.build import build_grammar
from trainer.grammar.document import Document, nearest, parse_document, read_document
from trainer.grammar.grammar import Grammar
from trainer.grammar.overrides import apply_overrides
from trainer.grammar.schema import WorldFile
from trainer.grammar.validation import validate_document

NO_OVERRIDES: Mapping[str, object] = MappingProxyType({})
#: Keys of an experiment, which a file may have beside a world of its own.
EXPERIMENT_KEYS = ("target", "engine", "task", "task_settings", "training")
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class FileCopy:
    """A copy of a grammar's file, to be read in place of the original."""

    copy: Path
    original: Path

    def read(self) -> Document:
        """Return the copy's content; relative paths start at the original's folder, if that exists.

        Raises:
            GrammarError: the copy is not well formed.
        """
        base = self.original if self.original.parent.is_dir() else self.copy
        return parse_document(self.copy.read_text(encoding="utf-8"), base)


@dataclass(frozen=True)
class Copies:
    """Copies of an experiment's file, and of the grammar that it names, if it names one."""

    experiment: FileCopy
    world: FileCopy | None = None


@dataclass(frozen=True)
class Opened:
    """A grammar or experiment file: the document of its world, and its own."""

    file: Document
    world: Document


def load_grammar(
    name_or_path: str | Path,
    overrides: Mapping[str, object] = NO_OVERRIDES,
    *,
    mnist: Path | None = None,
    settings: Settings | None = None,
) -> Grammar:
    """Read a grammar; of an experiment file, the grammar of its prior.

    Args:
        name_or_path: name of a grammar that ships, or path of a YAML file.
        overrides: values that replace those of the file, by their place: `{"digit.yaw": {"normal": [90, 10]}}`.
            Relative paths in them start from the working directory.
        mnist: folder of MNIST's files; default: see `trainer.assets.mnist.find_mnist`.

    Raises:
        GrammarError: there is no such file, or something in it is wrong.
    """
    opened = open_file(name_or_path)
    return grammar_of(apply_overrides(opened.world, overrides, Path.cwd()), mnist=mnist, settings=settings)


def grammar_of(
    document: Document, *, mnist: Path | None = None, settings: Settings | None = None, learned: bool = True
) -> Grammar:
    """Return the grammar that a document describes.

    Args:
        learned: False: it is a target's, in which no production is mutable.

    Raises:
        GrammarError: something in it is wrong.
    """
    settings = settings or Settings.from_environment()
    return build_grammar(document, validate_document(document), mnist=mnist, settings=settings, learned=learned)


def open_file(name_or_path: str | Path, copies: Copies | None = None) -> Opened:
    """Read a grammar or experiment file and its world, without building it.

    Args:
        copies: are read in place of the files.

    Raises:
        GrammarError: there is no such file, or it is not well formed.
    """
    file = copies.experiment.read() if copies else read_document(resolve(name_or_path))
    path = file.path
    content = validate_document(file)
    if content.grammar is None:
        if content.overrides:
            raise file.error(
                ("overrides",), "they belong to a `grammar`, which the file does not name", show_value=False
            )
        return Opened(file, file)
    for key in WorldFile.known_keys():
        if key in file.data and key not in ("grammar", "overrides", *EXPERIMENT_KEYS):
            raise file.error(
                (key,),
                f"the file takes its world from grammar {content.grammar!r}; override it instead",
                show_value=False,
            )
    if copies and copies.world:
        return _with_world(file, copies.world.read(), content)
    if looks_like_path(content.grammar):
        other = path.parent / content.grammar
        if not other.is_file():
            raise file.error(("grammar",), f"there is no file {other}")
    else:
        try:
            other = resolve(content.grammar)
        except GrammarError as error:
            raise file.error(("grammar",), str(error)) from None
    return _with_world(file, read_document(other), content)


def _with_world(file: Document, world: Document, content: WorldFile) -> Opened:
    if validate_document(world).grammar is not None:
        raise file.error(("grammar",), "it must have a world of its own, not take it from another file")
    return Opened(_inheriting(file, world), apply_overrides(world, content.overrides, file.path.parent))


def _inheriting(file: Document, world: Document) -> Document:
    """Return an experiment's file with the task and those settings that only its world states."""
    data = {key: world.data[key] for key in ("task", "task_settings", "training") if key in world.data} | file.data
    for section in ("task_settings", "training"):
        inherited, own = (document.data.get(section) for document in (world, file))
        if isinstance(inherited, dict) and isinstance(own, dict):
            data[section] = {**inherited, **own}
    return replace(file, data=data)


def resolve(name_or_path: str | Path) -> Path:
    """Return the file of a grammar or an experiment.

    Raises:
        GrammarError: there is none.
    """
    if isinstance(name_or_path, Path) or looks_like_path(name_or_path):
        path = expanded(Path(name_or_path))
        if not path.is_file():
            raise GrammarError(f"{path}: there is no such file")
        return path
    shipped = shipped_files()
    if name_or_path not in shipped:
        raise GrammarError(
            f"there is no grammar or experiment {name_or_path!r}; {nearest(name_or_path, shipped)}; "
            "a file is named with its suffix, as in my-world.yaml"
        )
    return shipped[name_or_path]


def looks_like_path(text: str) -> bool:
    """Whether a text is a path rather than the name of a grammar that ships."""
    return "/" in text or "\\" in text or text.endswith(_SUFFIXES)
