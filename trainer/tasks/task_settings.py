"""Settings of task networks that an experiment or a command overrides."""

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from trainer.errors import InputError
from trainer.grammar.document import nearest

Settings = TypeVar("Settings")

#: No overrides.
NO_SETTINGS: Mapping[str, object] = MappingProxyType({})
#: Set by the grammar and by --device.
_NOT_SETTINGS = ("classes", "device")


def changed_settings(settings: Settings, given: Mapping[str, object], where: str = "task_settings.") -> Settings:
    """Return a settings dataclass with some fields replaced.

    Args:
        where: prefix of messages, before the key.

    Raises:
        InputError: a key is unknown, or a value is of the wrong type or not allowed.
    """
    names = [each.name for each in fields(settings) if each.name not in _NOT_SETTINGS]  # type: ignore[arg-type]
    for key in given:
        if key not in names:
            raise InputError(f"{where}{key}: unknown key; {nearest(key, names)}")
    values: dict[str, Any] = {each.name: getattr(settings, each.name) for each in fields(settings)}  # type: ignore[arg-type]
    try:
        return TypeAdapter(type(settings)).validate_python({**values, **given})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{where}{place} is {first['input']!r}: {first['msg'].lower()}") from None
