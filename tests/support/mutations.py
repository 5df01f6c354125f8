"""Changes to messages that hypothesis chooses: any field, to any of the values that break software."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

T = TypeVar("T")

#: Chooses one of several.
Choose = Callable[[Sequence[T]], T]

_FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-300, 1e12, -1e12, 1e300, math.nan, math.inf, -math.inf, 179.999, 2.0**53)
_UNSIGNED = (0, 1, 2, 3, 17, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1)
_ENUMS = (-(2**31), -1, 0, 1, 2, 3, 6, 7, 16, 99, 2**31 - 1)
_STRINGS = (
    "",
    "camera",
    "frame",
    "digit",
    "other",
    "x" * 257,
    "x" * 100_000,
    "../../../../etc/passwd",
    "/dev/zero",
    "a\0b",
    "line\nline",
    "\u202e\U0001f4a3",
    "0" * 64,
    "A" * 64,
    "f" * 63 + "/",
)
_BYTES = (b"", b"\0", b"\xff" * 100, b"\x28\xb5\x2f\xfd" + b"\xff" * 16)
_MANY = (2, 3, 20, 2_000)


def mutate(message: Message, choose: "Choose[Any]") -> None:
    """Changes one field of a message or of one below it, in place."""
    field: FieldDescriptor = choose(message.DESCRIPTOR.fields)
    if field.is_repeated:
        _mutate_list(message, field, choose)
    elif field.message_type is None:
        setattr(message, field.name, choose(_values(field)))
    elif message.HasField(field.name) and choose((True, True, True, False)):
        mutate(getattr(message, field.name), choose)
    elif message.HasField(field.name):
        message.ClearField(field.name)
    else:
        getattr(message, field.name).SetInParent()
        if choose((True, False)):
            mutate(getattr(message, field.name), choose)


def _mutate_list(message: Message, field: FieldDescriptor, choose: "Choose[Any]") -> None:
    items = getattr(message, field.name)
    what = choose(("inside", "inside", "inside", "remove", "repeat", "many", "clear"))
    if what == "clear" or not items:
        message.ClearField(field.name)
        if field.message_type is None:
            items.append(choose(_values(field)))
        else:
            items.add()
        return
    at = choose(range(len(items)))
    if what == "remove":
        del items[at]
    elif what == "repeat":
        items.append(items[at])
    elif what == "many":
        items.extend([items[at]] * choose(_MANY))
    elif field.message_type is None:
        items[at] = choose(_values(field))
    else:
        mutate(items[at], choose)


def _values(field: FieldDescriptor) -> Sequence[Any]:
    return {
        FieldDescriptor.CPPTYPE_DOUBLE: _FLOATS,
        FieldDescriptor.CPPTYPE_UINT32: _UNSIGNED,
        FieldDescriptor.CPPTYPE_ENUM: _ENUMS,
        FieldDescriptor.CPPTYPE_BOOL: (True, False),
        FieldDescriptor.CPPTYPE_STRING: _BYTES if field.type == FieldDescriptor.TYPE_BYTES else _STRINGS,
    }[field.cpp_type]


def mutate_bytes(data: bytes, choose: "Choose[Any]") -> bytes:
    """A serialized message with a byte changed, a part cut out, repeated or put in, or nothing but noise."""
    what = choose(("flip", "flip", "cut", "repeat", "insert", "noise"))
    at, to = sorted((choose(range(len(data) + 1)), choose(range(len(data) + 1))))
    if what == "flip" and data:
        at = min(at, len(data) - 1)
        return data[:at] + bytes([data[at] ^ (1 << choose(range(8)))]) + data[at + 1 :]
    if what == "cut":
        return data[:at] + data[to:]
    if what == "repeat":
        return data[:to] + data[at:]
    if what == "insert":
        return data[:at] + choose(_BYTES) + data[at:]
    return bytes(choose(range(256)) for _ in range(choose(range(1, 40))))
