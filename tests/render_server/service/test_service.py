"""The service over the wire, with the fake engine: every task is answered once, and no request ends the worker."""

import socket
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from metasim.hashing import content_hash
from metasim.tensors import tensor_from_proto
from metasim.v1 import render_pb2 as pb
from metasim.v1 import render_pb2_grpc
from support.malformed import MALFORMED, Malformed
from support.servers import Conversation, Server, server
from support.tasks import ASSETS, sprite_png, sprite_task, without_timing

SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture(scope="module")
def fake() -> Iterator[Server]:
    options = ("--workers", "1", "--queue", "3", "--max-asset-mib", "1", "--cache-mib", "1", "--log-level", "warning")
    with server("--engine", "fake", *options) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture
def talk(fake: Server) -> Iterator[Conversation]:
    with Conversation(fake.address) as conversation:
        assert conversation.receive().slots.count == 4  # One process and the queue.
        yield conversation


def give_assets(talk: Conversation) -> None:
    """Sends every asset ahead of any request for it."""
    for name, data in ASSETS.items():
        talk.send(asset=pb.Asset(hash=name, data=data))


def test_a_task_is_rendered(talk: Conversation) -> None:
    give_assets(talk)
    talk.send(task=sprite_task("one"))
    result = talk.answer()
    assert isinstance(result, pb.RenderResult)
    assert result.id == "one"
    assert tensor_from_proto(result.layers[0].tensor).shape == (32, 32, 3)
    assert len(result.columns) == 6
    assert result.timing.renders == 13
    assert 0 <= result.timing.queue_s < 10


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case.name)
def test_a_malformed_task_is_refused_and_the_server_goes_on(talk: Conversation, case: Malformed) -> None:
    give_assets(talk)
    talk.send(task=case.task("bad"))
    error = talk.answer()
    assert isinstance(error, pb.TaskError)
    too_much = "this worker takes at most" in case.says or case.name in ("huge-image", "many-bounces")
    assert error.code == (pb.CODE_RESOURCE_EXHAUSTED if too_much else pb.CODE_INVALID_ARGUMENT)
    assert error.message.startswith(case.field)
    talk.send(task=sprite_task("good"))
    assert isinstance(talk.answer(), pb.RenderResult)


def test_a_task_without_an_id_is_answered_with_an_empty_one(talk: Conversation) -> None:
    talk.send(task=sprite_task(""))
    error = talk.answer()
    assert (error.id, error.code) == ("", pb.CODE_INVALID_ARGUMENT)
    assert error.message == "id is ''; it must have 1 to 256 characters"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff",
        b"\x0a\x03\xff\xff\xff",
        b"\x0a\x03\x1a",
        pb.RenderRequests(requests=[pb.RenderRequest(cancel="x")] * 65).SerializeToString(),
        pb.RenderRequests(requests=[pb.RenderRequest(cancel="x" * 40_000)] * 2).SerializeToString(),
    ],
    ids=["no field", "no request", "cut off", "too many", "too large together"],
)
def test_bytes_that_are_no_request_end_the_stream_alone(fake: Server, talk: Conversation, data: bytes) -> None:
    talk.send_message(data)
    with pytest.raises(grpc.RpcError) as caught:
        talk.receive()
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert (
        caught.value.details() == f"a message of {len(data)} bytes is not a metasim.v1.RenderRequests within its bounds"
    )
    with Conversation(fake.address) as other:
        assert other.receive().slots.count == 4


def test_an_empty_request_is_ignored(talk: Conversation) -> None:
    talk.send_bytes(b"")
    give_assets(talk)
    talk.send(task=sprite_task("next"))
    assert talk.answer().id == "next"


def test_more_tasks_than_slots_are_refused_not_lost(talk: Conversation) -> None:
    give_assets(talk)
    for i in range(40):
        talk.send(task=sprite_task(str(i), size_px=64))
    answers = [talk.answer() for _ in range(40)]
    assert sorted(int(answer.id) for answer in answers) == list(range(40))
    refused = [answer for answer in answers if isinstance(answer, pb.TaskError)]
    assert refused
    assert {error.code for error in refused} == {pb.CODE_RESOURCE_EXHAUSTED}
    assert all("as many as this stream's slots" in error.message for error in refused)


def test_an_id_can_be_used_again_only_after_its_answer(talk: Conversation) -> None:
    missing = sprite_task("twin")
    missing.scene.nodes[2].sprite.asset = content_hash(b"never sent")
    talk.send(task=missing)
    talk.send(task=missing)
    error = talk.answer()
    assert error.message == "id is 'twin'; a task with this id is unanswered"  # type: ignore[union-attr]
    assert error.code == pb.CODE_ALREADY_EXISTS  # type: ignore[union-attr]
    talk.send(cancel="twin")
    assert talk.answer().code == pb.CODE_CANCELLED  # type: ignore[union-attr]
    give_assets(talk)
    talk.send(task=sprite_task("twin"))
    assert isinstance(talk.answer(), pb.RenderResult)


def test_the_deadline_of_a_waiting_task(talk: Conversation) -> None:
    task = sprite_task("late")
    task.timeout_s = 0.05
    task.scene.nodes[2].sprite.asset = content_hash(b"never sent either")
    talk.send(task=task)
    error = talk.answer()
    assert (error.id, error.code) == ("late", pb.CODE_DEADLINE_EXCEEDED)
    assert error.message == "its time ran out before it began"  # type: ignore[union-attr]


def test_half_closing_still_gets_all_answers(talk: Conversation) -> None:
    give_assets(talk)
    for i in range(4):
        talk.send(task=sprite_task(str(i)))
    talk.half_close()
    assert {talk.answer().id for _ in range(4)} == {"0", "1", "2", "3"}
    with pytest.raises(StopIteration):
        talk.receive()
    assert talk.call.code() == grpc.StatusCode.OK


def new_asset(seed: int) -> tuple[str, bytes]:
    data = sprite_png(1000 + seed)
    return content_hash(data), data


def task_with(name: str, task_id: str) -> pb.RenderTask:
    task = sprite_task(task_id)
    task.scene.nodes[2].sprite.asset = name
    return task


def test_a_missing_asset_is_asked_for_once(talk: Conversation) -> None:
    name, data = new_asset(1)
    talk.send(task=task_with(name, "a"))
    talk.send(task=task_with(name, "b"))
    assert list(talk.receive().assets_wanted.hashes) == [name]
    talk.send(asset=pb.Asset(hash=name, data=data))
    assert {talk.answer().id, talk.answer().id} == {"a", "b"}
    talk.send(task=task_with(name, "c"))
    assert talk.receive().result.id == "c"


def test_an_asset_with_a_wrong_hash_fails_the_tasks_that_wait(talk: Conversation) -> None:
    name, data = new_asset(2)
    talk.send(task=task_with(name, "a"))
    assert list(talk.receive().assets_wanted.hashes) == [name]
    talk.send(asset=pb.Asset(hash=name, data=data + b"!"))
    error = talk.answer()
    assert (error.id, error.code) == ("a", pb.CODE_INVALID_ARGUMENT)
    assert error.message.startswith(f"asset.hash is {name}, but the hash of its")  # type: ignore[union-attr]
    talk.send(task=task_with(name, "again"))
    assert list(talk.receive().assets_wanted.hashes) == [name]
    talk.send(asset=pb.Asset(hash=name, data=data))
    assert isinstance(talk.answer(), pb.RenderResult)


def test_an_asset_that_is_too_large(talk: Conversation) -> None:
    data = bytes((1 << 20) + 1)
    talk.send(task=task_with(content_hash(data), "a"))
    talk.receive()
    talk.send(asset=pb.Asset(hash=content_hash(data), data=data))
    error = talk.answer()
    assert error.code == pb.CODE_RESOURCE_EXHAUSTED  # type: ignore[union-attr]
    assert "has 1048577 bytes; this worker takes at most 1048576" in error.message  # type: ignore[union-attr]


def test_an_asset_cannot_name_a_path(talk: Conversation) -> None:
    talk.send(asset=pb.Asset(hash="../../../tmp/evil", data=b"x"))
    with pytest.raises(grpc.RpcError) as caught:
        talk.receive()
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == (
        "asset.hash is '../../../tmp/evil'; it must be 64 lower-case hexadecimal digits (SHA-256)"
    )


def test_the_same_task_gives_the_same_bytes(talk: Conversation) -> None:
    give_assets(talk)
    rendered = []
    for _ in range(2):
        talk.send(task=sprite_task("same", seed=3))
        rendered.append(without_timing(talk.answer()))  # type: ignore[arg-type]
        talk.send(task=sprite_task("between", seed=4))
        talk.answer()
    assert rendered[0] == rendered[1]


def test_health_reflection_and_description(fake: Server) -> None:
    with grpc.insecure_channel(fake.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "metasim.v1.Renderer"):
            assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == SERVING

        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        method = pool.FindServiceByName("metasim.v1.Renderer").methods_by_name["Render"]
        assert method.input_type.full_name == "metasim.v1.RenderRequests"

        description = render_pb2_grpc.RendererStub(channel).Describe(pb.DescribeRequest())
        assert (description.engine, description.engine_version, description.device) == ("fake", "1", "cpu")
        assert (description.slots, description.processes) == (4, 1)
        assert description.version == "0.1.0"
        assert description.uptime_s > 0
        assert description.host == socket.gethostname()
        assert (description.busy_processes, description.queued_tasks, description.streams) == (0, 0, 0)
        assert description.memory_bytes > 20 << 20
        assert (description.encrypted, description.authenticated) == (False, False)
        assert pb.FEATURE_MESHES in description.features
        assert pb.FEATURE_APPEARANCE not in description.features
        assert (description.limits.asset_bytes, description.limits.nodes) == (1 << 20, 10_000)
