"""Requests and replies that travel together."""

from collections import deque

import pytest
from metasim.batches import split_batch, take_batch
from metasim.v1 import render_pb2 as pb


def test_a_batch_is_what_protobuf_makes_of_its_elements() -> None:
    requests = [pb.RenderRequest(cancel="x" * size) for size in (0, 1, 100, 127, 128, 20_000)]
    data = [request.SerializeToString() for request in requests]
    message, size = take_batch(deque(data))
    assert message == pb.RenderRequests(requests=requests).SerializeToString()
    assert size == sum(map(len, data))
    assert list(split_batch(message)) == data
    replies = [pb.RenderReply(result=pb.RenderResult(id="a")), pb.RenderReply(slots=pb.Slots(count=0))]
    message, _ = take_batch(deque(reply.SerializeToString() for reply in replies))
    assert list(pb.RenderReplies.FromString(message).replies) == replies


def test_what_travels_together_is_bounded() -> None:
    large = bytes(100_000)
    waiting = deque([b"a"] * 65 + [large] + [bytes(40_000)] * 2)
    batches = []
    while waiting:
        batches.append(list(split_batch(take_batch(waiting)[0])))
    assert batches == [[b"a"] * 64, [b"a"], [large], [bytes(40_000)], [bytes(40_000)]]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x12\x00", "byte 0 begins another field than 1"),
        (b"\x0a\x02x", "element 1 is longer than the message"),
        (b"\x0a\x80", "a length is not complete"),
        (b"\x0a" + b"\xff" * 9, "a length is not complete"),
        (b"\x0a\x00" * 65, "more than 64 elements, or several with more than 65536 bytes"),
        ((b"\x0a\xc0\xb8\x02" + bytes(40_000)) * 2, "more than 64 elements, or several with more than 65536 bytes"),
    ],
)
def test_messages_that_are_no_batch(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        list(split_batch(data))
