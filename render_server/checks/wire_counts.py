"""Counts of the parts of a serialized request, without parsing it.

A parsed message may take fifty times the memory of its bytes: an empty node has two bytes. So the parts of large
requests are counted first.
"""

from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from render_server.limits import LimitExceeded, Limits

#: Requests up to this size are parsed without counting.
_SMALL_BYTES = 256 << 10

_MAX_CLASSES = 1 << 16

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class TaskTooLong(LimitExceeded):
    """A task has more parts than the worker accepts.

    Attributes:
        task_id: its id; empty if it is not known.
    """

    task_id: str = ""


def check_counts(data: bytes, limits: Limits) -> None:
    """Refuse a large serialized RenderRequest whose task has too many parts.

    Raises:
        TaskTooLong: it has more nodes, classes or columns than `limits` allow.
        DecodeError: the bytes are not a message.
    """
    if len(data) <= _SMALL_BYTES:
        return
    task_fields, scene_fields = pb.RenderTask.DESCRIPTOR, scene_pb2.Scene.DESCRIPTOR
    nodes, columns = _Count("scene.nodes", limits.nodes), _Count("columns", limits.columns)
    classes = _Count("scene.classes", _MAX_CLASSES)
    # Each list is read two or three times.
    walk = _Walk(3 * (limits.nodes + limits.columns + _MAX_CLASSES))
    task_id = b""
    try:
        # The parts of a field that occurs several times are merged.
        for task in walk.fields(memoryview(data), _number(pb.RenderRequest.DESCRIPTOR, "task")):
            for name in walk.fields(task, _number(task_fields, "id")):
                task_id = bytes(name[:1024])
            for _ in walk.fields(task, _number(task_fields, "columns")):
                columns.add()
            for scene in walk.fields(task, _number(task_fields, "scene")):
                for _ in walk.fields(scene, _number(scene_fields, "nodes")):
                    nodes.add()
                for _ in walk.fields(scene, _number(scene_fields, "classes")):
                    classes.add()
    except TaskTooLong as error:
        error.task_id = task_id.decode("utf-8", "replace")[:256]
        raise


class _Count:
    def __init__(self, field: str, most: int) -> None:
        self._field, self._most, self._count = field, most, 0

    def add(self) -> None:
        self._count += 1
        if self._count > self._most:
            raise TaskTooLong(self._field, f"more than {self._most} long", f"this worker takes at most {self._most}")


def _number(descriptor: Descriptor, name: str) -> int:
    return descriptor.fields_by_name[name].number


class _Walk:
    """Reads the fields of messages, up to a number of fields in all."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most

    def fields(self, message: memoryview, number: int) -> Iterator[memoryview]:
        """Yield the contents of all fields of that number that hold messages, strings or bytes."""
        at = 0
        while at < len(message):
            self._left -= 1
            if self._left < 0:
                raise TaskTooLong("the task", f"more than {self._most} fields", "this worker takes no more")
            tag, at = _varint(message, at)
            kind = tag & 7
            if kind == _VARINT:
                _, at = _varint(message, at)
            elif kind in (_FIXED64, _FIXED32):
                at += 8 if kind == _FIXED64 else 4
            elif kind == _BYTES:
                length, at = _varint(message, at)
                if length > len(message) - at:
                    raise DecodeError("a field is longer than its message")
                if tag >> 3 == number:
                    yield message[at : at + length]
                at += length
            else:
                raise DecodeError(f"a field has the wire type {kind}, which proto3 does not know")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise DecodeError("a number is not complete")
