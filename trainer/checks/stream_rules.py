"""Checks of the rules of streams: descriptions, slots, ids, cancels, deadlines."""

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from metasim.v1 import render_pb2 as pb

from trainer.checks.conformance import Rule, Worker
from trainer.checks.endpoint_tasks import demand, goes_on, good, held, ready

_SERVICE = pb.DESCRIPTOR.services_by_name["Renderer"].full_name


def health(worker: Worker) -> None:
    stub = health_pb2_grpc.HealthStub(worker.channel)
    for service in ("", _SERVICE):
        request = health_pb2.HealthCheckRequest(service=service)
        status = stub.Check(request, timeout=worker.timeout_s, metadata=worker.security.metadata).status
        name = health_pb2.HealthCheckResponse.ServingStatus.Name(status)
        demand(name == "SERVING", f"the service {service!r} is {name}")


def description(worker: Worker) -> None:
    found = worker.description
    for field in ("version", "engine", "engine_version", "device", "processes", "slots"):
        demand(getattr(found, field), f"DescribeResponse.{field} is {getattr(found, field)!r}")


def features(worker: Worker) -> None:
    found = list(worker.description.features)
    demand(len(found) == len(set(found)), "DescribeResponse.features holds a value twice")
    demand(pb.FEATURE_UNSPECIFIED not in found, "DescribeResponse.features holds FEATURE_UNSPECIFIED")


def limits(worker: Worker) -> None:
    demand(worker.description.HasField("limits"), "DescribeResponse.limits is absent")
    stated = worker.description.limits
    for field in stated.DESCRIPTOR.fields:
        value = getattr(stated, field.name)
        demand(value > 0 or field.name == "bounces", f"DescribeResponse.limits.{field.name} is {value}")


def slots_first(worker: Worker) -> None:
    with worker.talk() as talk:
        slots = talk.slots()
        demand(slots.count >= 1 and slots.processes >= 1, f"the first slots are {slots.count} of {slots.processes}")
        demand(slots.count >= worker.description.slots, "the first slots are fewer than DescribeResponse.slots")


def one_answer(worker: Worker) -> None:
    tasks = [good(worker, f"task-{number}") for number in range(4)]
    with worker.talk() as talk:
        slots = ready(worker, talk).count
        found: dict[str, object] = {}
        for first in range(0, len(tasks), slots):
            part = tasks[first : first + slots]
            talk.task(*part)
            found |= talk.answers(len(part))
    demand(found.keys() == {task.id for task in tasks}, f"the answers have the ids {sorted(found)}")


def same_bytes(worker: Worker) -> None:
    def rendered() -> bytes:
        result = worker.render(good(worker))
        result.ClearField("timing")
        return result.SerializeToString(deterministic=True)

    demand(rendered() == rendered(), "the same task gives different bytes")


def half_close(worker: Worker) -> None:
    task = good(worker)
    with worker.talk() as talk:
        ready(worker, talk)
        talk.task(task)
        talk.half_close()
        talk.result()
        demand(talk.status() == grpc.StatusCode.OK, f"the stream ends with {talk.status().name}")


def empty_request(worker: Worker) -> None:
    with worker.talk() as talk:
        talk.slots()
        talk.send(pb.RenderRequest())
        goes_on(worker, talk)


def unknown_cancel(worker: Worker) -> None:
    with worker.talk() as talk:
        talk.slots()
        talk.cancel("no such task")
        goes_on(worker, talk)


def cancel(worker: Worker) -> None:
    with worker.talk() as talk:
        talk.slots()
        talk.task(held("held"))
        talk.until("assets_wanted")
        talk.cancel("held")
        error = talk.error(pb.CODE_CANCELLED)
        demand(error.id == "held", f"the answer has the id {error.id!r}")


def deadline(worker: Worker) -> None:
    task = held("late")
    task.timeout_s = 0.05
    with worker.talk() as talk:
        talk.slots()
        talk.task(task)
        demand(talk.error(pb.CODE_DEADLINE_EXCEEDED).id == "late", "the answer has another id")


def duplicate_id(worker: Worker) -> None:
    with worker.talk() as talk:
        talk.slots()
        talk.task(held("twin"), held("twin"))
        demand(talk.error(pb.CODE_ALREADY_EXISTS).id == "twin", "the answer has another id")
        talk.cancel("twin")
        talk.error(pb.CODE_CANCELLED)
        goes_on(worker, talk)


def too_many_tasks(worker: Worker) -> None:
    with worker.talk() as talk:
        count = talk.slots().count
        ids = [f"held-{number}" for number in range(count + 3)]
        talk.task(*(held(name) for name in ids))
        refused = [talk.error(pb.CODE_RESOURCE_EXHAUSTED) for _ in range(3)]
        demand({error.id for error in refused} == set(ids[count:]), "tasks within the slots are refused")
        demand(all(error.retry_after_s > 0 for error in refused), "retry_after_s is 0")
        talk.cancel(*ids)
        answers = talk.answers(count)
        demand(answers.keys() == set(ids[:count]), "tasks within the slots are not answered")


def not_a_message(worker: Worker) -> None:
    with worker.talk() as talk:
        talk.slots()
        talk.send_bytes(b"\xff\xff\xff")
        status = talk.status()
        demand(status == grpc.StatusCode.INVALID_ARGUMENT, f"the stream ends with {status.name}")


def too_many_requests(worker: Worker) -> None:
    with worker.talk() as talk:
        talk.slots()
        talk.send_bytes(pb.RenderRequests(requests=[pb.RenderRequest(cancel="x")] * 65).SerializeToString())
        status = talk.status()
        demand(status == grpc.StatusCode.INVALID_ARGUMENT, f"the stream ends with {status.name}")


#: The checks, in the order in which they run.
RULES: tuple[Rule, ...] = (
    Rule("health", "health checks say SERVING for the worker and for metasim.v1.Renderer", health),
    Rule("describe", "Describe states the version, the engine, the device, processes and slots", description),
    Rule("describe-features", "Describe states each feature at most once", features),
    Rule("describe-limits", "Describe states the worker's limits", limits),
    Rule("slots-first", "the first reply of a stream is Slots", slots_first),
    Rule("one-answer", "each task is answered exactly once, under its id", one_answer),
    Rule("same-bytes", "the same task gives the same bytes", same_bytes),
    Rule("half-close", "after a half-close the worker answers its tasks and ends the stream with OK", half_close),
    Rule("request-empty", "a request without a kind is ignored", empty_request),
    Rule("cancel-unknown", "a cancel of an unknown id is ignored", unknown_cancel),
    Rule("cancel", "a cancelled task that has not begun is answered with CODE_CANCELLED", cancel),
    Rule("deadline", "a task whose time runs out is answered with CODE_DEADLINE_EXCEEDED", deadline),
    Rule("id-twice", "a task with the id of an unanswered one is answered with CODE_ALREADY_EXISTS", duplicate_id),
    Rule("slots-exceeded", "tasks beyond the slots are refused with a time to retry, and none is lost", too_many_tasks),
    Rule("message-unreadable", "bytes that are no message end the stream with INVALID_ARGUMENT", not_a_message),
    Rule("message-too-long", "a message of 65 requests ends the stream with INVALID_ARGUMENT", too_many_requests),
)
