"""How a worker ends, on purpose and otherwise, and that its processes are replaced; nothing stays behind."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from metasim.v1 import render_pb2 as pb
from metasim.v1 import render_pb2_grpc
from support.servers import PATIENCE_S, Conversation, Server, alive, engine_processes, folders, server
from support.tasks import ASSETS, sprite_task


@pytest.fixture
def slow() -> Iterator[Server]:
    """One process that takes half a second for a task."""
    with server("--engine", "fake", "--workers", "1", "--queue", "3", "--fake-service-ms", "500") as running:
        yield running


def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition, and fails where it never comes."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def begin(talk: Conversation, *ids: str) -> None:
    """Sends tasks; the first of them is being rendered on return."""
    for name, data in ASSETS.items():
        talk.send(asset=pb.Asset(hash=name, data=data))
    for name in ids:
        talk.send(task=sprite_task(name))
    until(lambda: describe(talk.address).busy_processes == 1)


def describe(address: str) -> pb.DescribeResponse:
    with grpc.insecure_channel(address) as channel:
        return render_pb2_grpc.RendererStub(channel).Describe(pb.DescribeRequest())


def restarts(running: Server) -> int:
    return describe(running.address).process_restarts


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_has_begun_and_gives_back_the_rest(slow: Server, number: signal.Signals) -> None:
    with Conversation(slow.address) as talk:
        begin(talk, "running", "second", "third")
        slow.process.send_signal(number)
        answers = {answer.id: answer for answer in (talk.answer() for _ in range(3))}
        assert isinstance(answers["running"], pb.RenderResult)
        for name in ("second", "third"):
            assert answers[name].code == pb.CODE_UNAVAILABLE
            assert answers[name].message == "given back unstarted: the worker is shutting down"
        with pytest.raises(StopIteration):
            talk.receive()
    slow.process.communicate(timeout=PATIENCE_S)
    assert slow.process.returncode == 0


def test_while_it_drains_it_does_not_serve(slow: Server) -> None:
    with Conversation(slow.address) as talk, grpc.insecure_channel(slow.address) as channel:
        health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
        assert next(health).status == health_pb2.HealthCheckResponse.SERVING
        begin(talk, "running")
        slow.process.terminate()
        assert next(health).status == health_pb2.HealthCheckResponse.NOT_SERVING
        talk.send(task=sprite_task("too-late"))
        answers = {answer.id: answer for answer in (talk.answer(), talk.answer())}
        assert answers["too-late"].code == pb.CODE_UNAVAILABLE
        assert isinstance(answers["running"], pb.RenderResult)


def test_a_worker_that_breaks_down_while_it_drains_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process starts any more, so the task that runs can never be finished."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif os.path.exists(os.environ['BROKEN']) and 'front' in str(sys.orig_argv): os._exit(3)\n"
    )
    monkeypatch.setenv("BROKEN", str(tmp_path / "broken"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    options = ("--engine", "fake", "--workers", "1", "--fake-service-ms", "2000")
    with server(*options) as running, Conversation(running.address) as talk:
        begin(talk, "never-finished")
        (tmp_path / "broken").touch()
        running.process.terminate()
        time.sleep(0.2)
        os.kill(engine_processes(running.process.pid)[0], signal.SIGKILL)
        errors = running.process.communicate(timeout=PATIENCE_S)[1].decode()
    assert running.process.returncode == 1
    assert "error: engine processes failed to start 3 times in a row" in errors


def test_an_idle_worker_with_open_streams_ends_too(slow: Server) -> None:
    with Conversation(slow.address) as talk:
        assert talk.receive().slots.count == 4
        assert slow.stop() == 0
        assert talk.receive().slots.count == 0


def test_a_crashed_process_is_replaced_and_its_task_tried_again(slow: Server) -> None:
    with Conversation(slow.address) as talk:
        begin(talk, "a", "b", "c")
        (process,) = engine_processes(slow.process.pid)
        os.kill(process, signal.SIGKILL)
        answers = [talk.answer() for _ in range(3)]
        assert sorted(answer.id for answer in answers) == ["a", "b", "c"]
        assert all(isinstance(answer, pb.RenderResult) for answer in answers)
    assert restarts(slow) == 1
    assert engine_processes(slow.process.pid) != [process]


def test_a_hanging_process_is_replaced_and_its_task_tried_again() -> None:
    options = ("--engine", "fake", "--workers", "1", "--fake-service-ms", "300", "--task-timeout-s", "1")
    with server(*options) as running, Conversation(running.address) as talk:
        begin(talk, "a", "b")
        (process,) = engine_processes(running.process.pid)
        os.kill(process, signal.SIGSTOP)
        assert {talk.answer().id, talk.answer().id} == {"a", "b"}
        assert not alive(process)
        assert restarts(running) == 1
        assert running.stop() == 0


def test_a_task_has_no_more_time_than_it_asked_for(slow: Server) -> None:
    with Conversation(slow.address) as talk:
        for name, data in ASSETS.items():
            talk.send(asset=pb.Asset(hash=name, data=data))
        task = sprite_task("hurried")
        task.timeout_s = 0.1
        talk.send(task=task)
        talk.send(task=sprite_task("patient"))
        answers = {answer.id: answer for answer in (talk.answer(), talk.answer())}
    assert answers["hurried"].code == pb.CODE_DEADLINE_EXCEEDED
    assert "its time ran out after" in answers["hurried"].message
    assert isinstance(answers["patient"], pb.RenderResult)


def test_a_client_that_vanishes_leaves_no_work(slow: Server) -> None:
    with Conversation(slow.address) as talk:
        begin(talk, "a", "b", "c")
    with Conversation(slow.address) as talk:
        began_s = time.monotonic()
        begin(talk, "mine")
        assert talk.answer().id == "mine"
        assert time.monotonic() - began_s < 1.4  # The rest of "a" and its own, but neither "b" nor "c".


def test_nothing_stays_behind_after_a_signal() -> None:
    with server("--engine", "fake", "--workers", "1") as running:
        kept = folders(running.process.pid)
        assert running.stop() == 0
    assert not any(folder.exists() for folder in kept)


def test_nothing_stays_behind_when_it_is_killed(slow: Server) -> None:
    kept = folders(slow.process.pid)
    (process,) = engine_processes(slow.process.pid)
    with Conversation(slow.address) as talk:
        begin(talk, "a")
        assert list(kept[0].iterdir())
        slow.process.kill()
        until(lambda: not alive(process))
        until(lambda: not any(folder.exists() for folder in kept))


def test_closing_standard_input_ends_it_at_once() -> None:
    from trainer.pool.local import LocalWorkers

    local = LocalWorkers(engine="fake", workers=1, extra=("--fake-service-ms", "2500"))
    process = engine_processes(local.pid)
    with Conversation(local.address) as talk:
        begin(talk, "long")
        began_s = time.monotonic()
        closing = threading.Thread(target=local.close)
        closing.start()
        closing.join(PATIENCE_S)
        assert time.monotonic() - began_s < 2
    assert not any(map(alive, process))
