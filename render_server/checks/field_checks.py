"""Checks of single fields of a message. Each raises `InvalidTask` that names the field by its path in the task."""

from collections.abc import Collection

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message
from metasim.hashing import is_content_hash

from render_server.errors import InvalidTask

#: Largest number of characters of an id.
MAX_ID = 256

#: Largest magnitude of a number. Beyond it, products of transforms overflow the renderer's single precision.
MAX_MAGNITUDE = 1e12

#: Members of an enum that an error names one by one.
_MOST_NAMED = 12

_FINITE = f"it must be finite and its magnitude at most {MAX_MAGNITUDE:g}"


def finite(message: Message, path: str, *fields: str) -> None:
    """Require that each field is finite and at most `MAX_MAGNITUDE` in magnitude."""
    for field in fields:
        value = getattr(message, field)
        if not -MAX_MAGNITUDE <= value <= MAX_MAGNITUDE:
            raise InvalidTask(f"{path}.{field}", value, _FINITE)


def positive(message: Message, path: str, *fields: str) -> None:
    """Require that each field is finite and > 0."""
    finite(message, path, *fields)
    for field in fields:
        value = getattr(message, field)
        if value <= 0:
            raise InvalidTask(f"{path}.{field}", value, "it must be > 0")


def positive_if_present(message: Message, path: str, *fields: str) -> None:
    """Require that each field is absent, or finite and > 0."""
    for field in fields:
        if message.HasField(field):
            positive(message, path, field)


def within(message: Message, path: str, field: str, low: float, high: float) -> None:
    """Require that the field is finite and from `low` to `high`, both included."""
    finite(message, path, field)
    value = getattr(message, field)
    if not low <= value <= high:
        raise InvalidTask(f"{path}.{field}", value, f"it must be from {low:g} to {high:g}")


def not_negative(message: Message, path: str, *fields: str) -> None:
    """Require that each field is finite and >= 0."""
    finite(message, path, *fields)
    for field in fields:
        value = getattr(message, field)
        if value < 0:
            raise InvalidTask(f"{path}.{field}", value, "it must be >= 0")


def known(path: str, value: int, enum: EnumDescriptor) -> None:
    """Require that `value` is a member of the enum other than its zero."""
    if value == 0 or value not in enum.values_by_number:
        names = [f"{member.number} ({member.name})" for member in enum.values if member.number]
        allowed = ", ".join(names) if len(names) <= _MOST_NAMED else f"{names[0]} to {names[-1]}"
        raise InvalidTask(path, value, f"allowed: {allowed}")


def identifier(path: str, value: str) -> None:
    """Require that `value` is an id of 1 to `MAX_ID` characters."""
    if not 1 <= len(value) <= MAX_ID:
        raise InvalidTask(path, shown(value), f"it must have 1 to {MAX_ID} characters")


def asset_hash(path: str, value: str) -> None:
    """Require that `value` is a content hash, so that it is never a path."""
    if not is_content_hash(value):
        raise InvalidTask(path, shown(value), "it must be a content hash: 64 lower-case hexadecimal digits (SHA-256)")


def one_of(path: str, value: str, allowed: Collection[str], what: str) -> None:
    """Require that `value` is among `allowed`, which the error describes as `what`."""
    if value not in allowed:
        raise InvalidTask(path, shown(value), f"it must be {what}")


def shown(text: str) -> str:
    """Return a text from a client as one line of bounded length."""
    return repr(text) if len(text) <= 80 else f"{text[:60]!r}... ({len(text)} characters)"
