"""Requests that would take far more memory than their bytes are refused before they are parsed."""

import pytest
from google.protobuf.message import DecodeError
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from support.tasks import sprite_task

from render_server.checks.wire_counts import TaskTooLong, check_counts
from render_server.limits import Limits

LIMITS = Limits(nodes=100, columns=100)


def field(number: int, content: bytes) -> bytes:
    """A field that holds bytes, as it stands on the wire."""
    length, prefix = len(content), b""
    while length > 127:
        prefix += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + prefix + bytes([length]) + content


def request(task: bytes) -> bytes:
    return field(1, task)


ID = field(1, b"the-id")
NODES = b"\x0a\x00" * 200_000
PADDING = field(15, bytes(300_000))  # Unknown, so that the request is large.


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (ID + field(2, NODES), "scene.nodes is more than 100 long; this worker takes at most 100"),
        (ID + field(2, NODES[:120]) * 3 + PADDING, "scene.nodes is more than 100 long"),
        (ID + b"\x32\x00" * 150_000, "columns is more than 100 long"),
        (ID + field(2, b"\x12\x00" * 70_000) + PADDING, "scene.classes is more than 65536"),
        (ID + b"\x12\x00" * 500_000, "the task is more than"),
    ],
)
def test_too_many_parts(task: bytes, says: str) -> None:
    with pytest.raises(TaskTooLong) as caught:
        check_counts(request(task), LIMITS)
    assert str(caught.value).startswith(says)
    assert caught.value.task_id == "the-id"


def test_parts_of_a_task_in_several_fields_are_put_together() -> None:
    with pytest.raises(TaskTooLong):
        check_counts(request(field(2, NODES[:120])) * 3 + PADDING, LIMITS)


def test_a_large_task_that_keeps_to_the_limits() -> None:
    task = sprite_task()
    task.image_gradient.data = bytes(300_000)
    task.scene.nodes.extend(scene_pb2.Node(id=str(i)) for i in range(97))
    check_counts(pb.RenderRequest(task=task).SerializeToString(), LIMITS)
    check_counts(pb.RenderRequest(asset=pb.Asset(data=bytes(300_000))).SerializeToString(), LIMITS)


def test_small_requests_are_left_to_the_parser() -> None:
    check_counts(b"\xff" * 1000, LIMITS)


@pytest.mark.parametrize("data", [b"\xff" * 300_000, b"\x0b" * 300_000, PADDING[:-1], PADDING + b"\x08"])
def test_large_requests_that_are_no_messages(data: bytes) -> None:
    with pytest.raises(DecodeError):
        check_counts(data, LIMITS)
