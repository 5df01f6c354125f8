"""Replaces values of a document, as targets and command lines do."""

import copy
from collections.abc import Mapping
from pathlib import Path

from trainer.grammar.attribute_table import ATTRIBUTES
from trainer.grammar.document import Document, KeyPath
from trainer.grammar.node_schema import NodeSection
from trainer.grammar.schema import WorldFile
from trainer.grammar.schema_sections import DISTRIBUTIONS

_ATTRIBUTES = frozenset(name for table in ATTRIBUTES.values() for name in table)
_MAPS_OF_PATHS = (("target", "overrides"), ("target", "evaluation"))
_PATHS = ("idx", "labels", "images", "meshes", "bop")


def apply_overrides(document: Document, overrides: Mapping[str, object], base: Path) -> Document:
    """Return the document with `overrides` applied.

    A key is a path of the file (`assets.digits`, `render.samples`, `scene.1.count`); one that begins with a kind of
    node means that kind (`digit.yaw` is `nodes.digit.yaw`). What follows `target.overrides` is such a path again. A
    value replaces what is there, but the distribution of an attribute leaves its `mutable`, `range` and `step` as they
    are.

    Args:
        base: the folder that relative paths in the overrides start from.

    Raises:
        GrammarError: a path leads nowhere.
    """
    for key, value in overrides.items():
        document = _apply(document, key, value, base)
    return document


def _apply(document: Document, key: str, value: object, base: Path) -> Document:
    parts = key.split(".")
    if parts[0] not in WorldFile.model_fields:
        parts.insert(0, "nodes")
    if (parts[0], *parts[1:2]) in _MAPS_OF_PATHS:
        parts[2:] = [".".join(parts[2:])] if parts[2:] else []
    data = copy.deepcopy(document.data)
    changed = Document(document.path, data, document.lines)
    container: object = data
    keys: KeyPath = ()
    for part in parts[:-1]:
        step = _step(changed, container, keys, part, parts[0])
        below = container[step]  # type: ignore[index]  # _step has checked that it is there
        keys = (*keys, step)
        if _is_attribute(keys) and not isinstance(below, dict):
            below = {"constant": below}
            container[step] = below  # type: ignore[index]
        container = below
    last = _step(changed, container, keys, parts[-1], parts[0], new=True)
    keys = (*keys, last)
    before = container.get(last) if isinstance(container, dict) else None
    if _is_attribute(keys) and before is not None:
        value = _merged(before, value)
    container[last] = _anchored(copy.deepcopy(value), keys, base)  # type: ignore[index]
    return changed.without(keys)


def _step(
    document: Document, container: object, keys: KeyPath, part: str, root: str, *, new: bool = False
) -> str | int | float:
    """Return the key or index that `part` means in the container."""
    if isinstance(container, list):
        if part.isdigit() and int(part) < len(container):
            return int(part)
        index = int(part) if part.isdigit() else part
        raise document.error((*keys, index), f"an index from 0 to {len(container) - 1} is needed", show_value=False)
    if isinstance(container, dict):
        found = next((own for own in container if str(own) == part), None)
        if isinstance(found, str | int | float):
            return found
        if root == "training" or not keys:
            if not new:
                container[part] = {}
            return part
        if new and keys != ("nodes",):
            return part  # The schema knows whether the key may be there.
        known = [str(own) for own in container]
        if len(keys) == 2 and keys[0] == "nodes":
            known = NodeSection.known_keys()
        raise document.unknown(keys, part, known, "kind of node" if keys == ("nodes",) else "key")
    raise document.error(keys, f"there is no {part} in it")


def _is_attribute(keys: KeyPath) -> bool:
    return len(keys) == 3 and keys[0] == "nodes" and keys[2] in _ATTRIBUTES


def _merged(before: object, value: object) -> object:
    old = dict(before) if isinstance(before, dict) else {"constant": before}
    new = dict(value) if isinstance(value, dict) else {"constant": value}
    if any(name in new for name in DISTRIBUTIONS):
        old = {key: kept for key, kept in old.items() if key not in DISTRIBUTIONS}
    return {**old, **new}


def _anchored(value: object, keys: KeyPath, base: Path) -> object:
    if keys[0] == "assets" and len(keys) == 2 and isinstance(value, dict):
        return {key: _anchor(path, base) if key in _PATHS else path for key, path in value.items()}
    if keys[0] == "assets" and len(keys) == 3 and keys[2] in _PATHS:
        return _anchor(value, base)
    if keys == ("target",) and isinstance(value, dict):
        return {key: _anchor(path, base) if key == "images" else path for key, path in value.items()}
    if keys == ("target", "images"):
        return _anchor(value, base)
    return value


def _anchor(path: object, base: Path) -> object:
    return str(base.resolve() / path) if isinstance(path, str) else path
