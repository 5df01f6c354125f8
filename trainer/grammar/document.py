"""YAML files with the line of each value."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from trainer.errors import GrammarError

#: Keys and list indices that lead to a value.
KeyPath = tuple[str | int | float, ...]
#: Values in a file, aliases expanded; more is an accident or an attack.
MAX_VALUES = 100_000
_LONGEST_SHOWN = 60


@dataclass(frozen=True)
class Document:
    """The content of a file and the line of each value."""

    path: Path
    data: dict[object, object]
    lines: Mapping[KeyPath, int] = field(default_factory=dict, repr=False)

    def error(self, keys: KeyPath, allowed: str, *, show_value: bool = True) -> GrammarError:
        """Return an error at `keys` that shows the value there and what is allowed."""
        value, found = self._lookup(keys)
        if not keys:
            middle = ""
        elif show_value:
            middle = f"{dotted(keys)} is {shown(value)}; " if found else f"{dotted(keys)} is missing; "
        else:
            middle = f"{dotted(keys)}: "
        return GrammarError(f"{self._where(keys)}: {middle}{allowed}")

    def unknown(self, keys: KeyPath, key: object, known: Iterable[str], thing: str = "key") -> GrammarError:
        """Return an error for an unknown name at `keys`, with the nearest known one."""
        place = f"{dotted(keys)}: " if keys else ""
        where = self._where((*keys, key) if isinstance(key, str | int | float) else keys)
        return GrammarError(f"{where}: {place}unknown {thing} {shown(key)}; {nearest(key, known)}")

    def place(self, keys: KeyPath) -> str:
        """Return `FILE:LINE: KEYS`, for notes."""
        return f"{self._where(keys)}: {dotted(keys)}"

    def holds(self, keys: KeyPath) -> bool:
        """Whether there is a value at `keys`."""
        return self._lookup(keys)[1]

    def without(self, keys: KeyPath) -> "Document":
        """Return the same content without the lines at and below `keys`, which an override has replaced."""
        return replace(self, lines={at: line for at, line in self.lines.items() if at[: len(keys)] != keys})

    def _where(self, keys: KeyPath) -> str:
        if keys and not self.lines.get(keys) and self._lookup(keys)[1]:
            return f"{self.path} (override)"
        for length in range(len(keys), -1, -1):
            if keys[:length] in self.lines:
                return f"{self.path}:{self.lines[keys[:length]]}"
        return str(self.path)

    def _lookup(self, keys: KeyPath) -> tuple[object, bool]:
        value: object = self.data
        for key in keys:
            if isinstance(value, dict):
                if key not in value:
                    return None, False
                value = value[key]
            elif isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
                value = value[key]
            else:
                return None, False
        return value, True


def read_document(path: Path) -> Document:
    """Read a YAML file whose root is a mapping.

    Raises:
        GrammarError: the file cannot be read, is no YAML, holds a key twice, or is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise GrammarError(f"{path}: byte {error.start} is not UTF-8; grammars are UTF-8 text") from error
    except OSError as error:
        raise GrammarError(f"{path}: cannot be read: {error.strerror}") from error
    return parse_document(text, path)


def parse_document(text: str, path: Path) -> Document:
    """As `read_document`, for text that `path` is the name of."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        lines: dict[KeyPath, int] = {}
        data = _Builder(loader, path, lines).build(root, ()) if root is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        problem = f"{error.problem or error.context}"
        if "'\\t'" in problem:
            problem = "a line is indented with a tab; YAML takes spaces alone"
        raise GrammarError(f"{path}{line}: not YAML: {problem}") from error
    except yaml.YAMLError as error:
        raise GrammarError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise GrammarError(
            f"{path}: lists and mappings are nested too deep; they may hold a few hundred levels"
        ) from None
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        raise GrammarError(
            f"{path}: holds {shown(data)}; a grammar is a mapping that begins with keys such as `nodes:`"
        )
    return Document(path, data, lines)


def dotted(keys: KeyPath) -> str:
    """Return `nodes.digit.yaw.normal[1]`."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def shown(value: object) -> str:
    """Return a value, short enough for one line."""
    text = " ".join(str(value if isinstance(value, bool | int | float) else repr(value)).split())
    text = {"True": "true", "False": "false", "None": "empty"}.get(text, text)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def nearest(name: object, known: Iterable[str]) -> str:
    """Return `did you mean 'yaw'? Known: ...`."""
    names = list(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return f"{guess}Known: {', '.join(names) or 'none'}"


class _Loader(yaml.SafeLoader):
    """YAML 1.2's reading of scalars: `yes` is text, `1e-3` is a number, only true and false are truth values."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  PyYAML's own way


for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"~|null|", ["~", "n", ""]),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


class _Builder:
    """Turns YAML nodes into values and records their lines."""

    def __init__(self, loader: _Loader, path: Path, lines: dict[KeyPath, int]) -> None:
        self._loader, self._path, self._lines = loader, path, lines
        self._open: list[yaml.Node] = []
        self._merged: set[yaml.Node] = set()
        self._count = 0

    def build(self, node: yaml.Node, keys: KeyPath) -> object:
        self._lines[keys] = node.start_mark.line + 1
        self._count += 1
        if self._count > MAX_VALUES:
            raise GrammarError(f"{self._path}: holds more than {MAX_VALUES} values, aliases expanded")
        if node in self._open:
            raise self._error(node, f"{dotted(keys)} contains itself through an alias")
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, keys)
            if isinstance(node, yaml.SequenceNode):
                return [self.build(item, (*keys, index)) for index, item in enumerate(node.value)]
            return self._scalar(node)
        finally:
            self._open.pop()

    def _mapping(self, node: yaml.MappingNode, keys: KeyPath) -> dict[object, object]:
        seen: dict[object, int] = {}
        # The content of an alias has been checked, and a merged mapping already holds the keys that it inherits.
        for key_node, _ in () if node in self._merged else node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *other`, which has no value of its own
                continue
            key = self._scalar(key_node)
            if key in seen:
                place = dotted((*keys, key)) if isinstance(key, str | int | float) else dotted(keys)
                raise self._error(key_node, f"{place} is given twice; the first is on line {seen[key]}")
            seen[key] = key_node.start_mark.line + 1
        self._loader.flatten_mapping(node)
        self._merged.add(node)
        mapping: dict[object, object] = {}
        for key_node, value_node in node.value:
            key = self._scalar(key_node)
            below = (*keys, key) if isinstance(key, str | int | float) else keys
            mapping[key] = self.build(value_node, below)
            self._lines[below] = key_node.start_mark.line + 1
        return mapping

    def _scalar(self, node: yaml.Node) -> object:
        if not isinstance(node, yaml.ScalarNode):
            raise self._error(node, "a key must be a name or a number")
        try:
            if node.tag == "tag:yaml.org,2002:float":  # PyYAML's own reading does not know 1e-3
                return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))
            if node.tag == "tag:yaml.org,2002:int":  # nor that 010 is ten
                return int(node.value)
            return self._loader.construct_object(node)
        except ValueError as error:
            raise self._error(node, f"{node.value!r} is not of the type {node.tag}") from error

    def _error(self, node: yaml.Node, message: str) -> GrammarError:
        return GrammarError(f"{self._path}:{node.start_mark.line + 1}: {message}")
