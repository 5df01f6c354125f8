"""`check_endpoint` passes on every engine of the worker, and finds each of several deliberate faults."""

from collections.abc import Callable, Iterator

import pytest
from metasim.v1 import render_pb2 as pb
from support.servers import Server, server
from support.spoiled import Fault, honest, nothing, renamed, spoiled

from trainer.checks.conformance import FAIL, PASS, SKIP, Outcome
from trainer.checks.endpoint import check_endpoint
from trainer.errors import PoolUnreachable

#: What the engines do not state.
SKIPPED = {
    "fake": {"texture", "tint", "display", "half-opacity", "depth-order", "photometry"},
    "raster": {"photometry"},
    "blender": set(),
}


@pytest.fixture(scope="module")
def fake() -> Iterator[Server]:
    with server("--engine", "fake", "--workers", "1") as running:
        yield running


def named(outcomes: list[Outcome], outcome: str) -> dict[str, str]:
    return {each.name: each.detail for each in outcomes if each.outcome == outcome}


@pytest.mark.parametrize("engine", ["fake", "raster", pytest.param("blender", marks=pytest.mark.blender)])
def test_every_engine_obeys_the_specification(engine: str) -> None:
    with server("--engine", engine, "--workers", "1") as running:
        outcomes = check_endpoint(running.address)
    assert named(outcomes, FAIL) == {}
    assert named(outcomes, SKIP).keys() == SKIPPED[engine]
    assert len(outcomes) == len({each.name for each in outcomes}) >= 70


def twice(reply: pb.RenderReply) -> Iterator[pb.RenderReply]:
    """Send results twice."""
    yield reply
    if reply.HasField("result"):
        yield reply


def flipped(reply: pb.RenderReply) -> Iterator[pb.RenderReply]:
    """Send differences with the wrong sign of their spans."""
    for column in reply.result.columns:
        column.span = -column.span
    yield reply


def shifted(reply: pb.RenderReply) -> Iterator[pb.RenderReply]:
    """Move every visible box by a pixel."""
    for box in reply.result.boxes:
        box.visible.x_px += 1
    yield reply


def lenient(reply: pb.RenderReply) -> Iterator[pb.RenderReply]:
    """Answer malformed tasks with a result."""
    if reply.error.code == pb.CODE_INVALID_ARGUMENT:
        reply = pb.RenderReply(result=pb.RenderResult(id=reply.error.id))
    yield reply


def boastful(description: pb.DescribeResponse) -> None:
    """State a feature twice, and no limits."""
    description.features.append(description.features[0])
    description.ClearField("limits")


@pytest.mark.parametrize(
    ("spoil", "description", "failing"),
    [
        (twice, nothing, {"one-answer"}),
        (flipped, nothing, {"central", "forward", "column-range", "column-step"}),
        (renamed, nothing, {"id-twice"}),
        (shifted, nothing, {"labels"}),
        (lenient, nothing, {"invalid-width-zero", "invalid-parents-cycle", "asset-no-path", "asset-wrong-hash"}),
        (honest, boastful, {"describe-features", "describe-limits"}),
    ],
)
def test_a_worker_that_breaks_a_rule_fails_its_check(
    fake: Server, spoil: Fault, description: Callable[[pb.DescribeResponse], None], failing: set[str]
) -> None:
    with spoiled(fake.address, spoil, description) as address:
        outcomes = check_endpoint(address, timeout_s=20)
    assert failing <= named(outcomes, FAIL).keys()
    assert all("\n" not in detail for detail in named(outcomes, FAIL).values())
    assert "health" in named(outcomes, PASS)


def test_the_proxy_itself_breaks_no_rule(fake: Server) -> None:
    with spoiled(fake.address, honest, nothing) as address:
        assert named(check_endpoint(address), FAIL) == {}


def test_an_endpoint_without_a_worker_is_named() -> None:
    with pytest.raises(PoolUnreachable, match=r"^127\.0\.0\.1:9 does not answer: UNAVAILABLE"):
        check_endpoint("127.0.0.1:9", timeout_s=5)
