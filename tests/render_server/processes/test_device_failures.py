"""A whole worker on a made-up GPU: what it says of the device, and what it does when the device is full or lost.

The engine processes load a stub through `sitecustomize`, which Python imports at its start.
"""

import os
import socket
import urllib.request
from pathlib import Path

import grpc
import pytest
from metasim.v1 import render_pb2 as pb
from metasim.v1 import render_pb2_grpc
from support.servers import PATIENCE_S, Conversation, Server, engine_processes, server
from support.tasks import ASSETS, sprite_task

_STUB = """
import pathlib
import render_server.engines as engines
from render_server.errors import DeviceLost, DeviceMemoryFull, EngineUnavailable

create = engines.create_engine
LOST = pathlib.Path({folder!r}) / "lost"


class OnGpu:
    device, device_name = "optix", "NVIDIA H200"

    def __init__(self, engine):
        self.name, self.version, self._engine = engine.name, engine.version, engine

    def render(self, task, assets):
        if task.id == "large":
            raise DeviceMemoryFull("Blender failed to render: System is out of GPU memory")
        if task.id in ("once", "always", "forever") and not (task.id == "once" and LOST.exists()):
            LOST.write_text(task.id)
            raise DeviceLost("Blender failed to render: illegal address in CUDA queue synchronize")
        return self._engine.render(task, assets)


def create_engine(name, **options):
    if LOST.exists() and LOST.read_text() == "forever":
        raise EngineUnavailable("--device optix: Blender finds no such device")
    return OnGpu(create(name, **options))


engines.create_engine = create_engine
"""
_OPTIONS = ("--engine", "fake", "--workers", "1")


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the engine processes of workers a GPU; return the folder of its stub."""
    (tmp_path / "sitecustomize.py").write_text(_STUB.format(folder=str(tmp_path)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    return tmp_path


def describe(address: str) -> pb.DescribeResponse:
    with grpc.insecure_channel(address) as channel:
        return render_pb2_grpc.RendererStub(channel).Describe(pb.DescribeRequest())


def rendered(talk: Conversation, name: str) -> pb.RenderResult | pb.TaskError:
    """Return the answer to a task of that id."""
    talk.send(task=sprite_task(name))
    return talk.answer()


def open_talk(running: Server) -> Conversation:
    talk = Conversation(running.address)
    for name, data in ASSETS.items():
        talk.send(asset=pb.Asset(hash=name, data=data))
    return talk


@pytest.mark.usefixtures("gpu")
def test_a_worker_names_its_device() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with server(*_OPTIONS, "--metrics-port", str(port)) as running:
        found = describe(running.address)
        assert (found.device, found.device_name) == ("optix", "NVIDIA H200")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
            metrics = answer.read().decode()
        assert 'device="optix",device_name="NVIDIA H200"' in metrics


@pytest.mark.usefixtures("gpu")
def test_a_full_device_is_an_answer_and_a_lost_one_is_opened_again() -> None:
    with server(*_OPTIONS) as running, open_talk(running) as talk:
        (first,) = engine_processes(running.process.pid)
        full = rendered(talk, "large")
        assert isinstance(full, pb.TaskError)
        assert (full.code, full.retry_after_s) == (pb.CODE_RESOURCE_EXHAUSTED, 0)
        assert full.message == "Blender failed to render: System is out of GPU memory"
        assert isinstance(rendered(talk, "small"), pb.RenderResult)
        assert engine_processes(running.process.pid) == [first]

        assert isinstance(rendered(talk, "once"), pb.RenderResult)
        (second,) = engine_processes(running.process.pid)
        assert second != first
        assert describe(running.address).process_restarts == 1

        lost = rendered(talk, "always")
        assert isinstance(lost, pb.TaskError)
        assert lost.code == pb.CODE_INTERNAL
        assert lost.message.startswith("task 'always' failed 2 times on this worker, last: process ")
        assert isinstance(rendered(talk, "next"), pb.RenderResult)
        assert describe(running.address).process_restarts == 3


@pytest.mark.usefixtures("gpu")
def test_a_worker_whose_device_stays_away_ends() -> None:
    with server(*_OPTIONS) as running, open_talk(running) as talk:
        talk.send(task=sprite_task("forever"))
        assert running.process.wait(timeout=PATIENCE_S) == 1
        errors = running.process.communicate()[1].decode()
    assert "illegal address in CUDA queue synchronize" in errors
    assert errors.splitlines()[-1] == (
        "error: engine processes failed to start 3 times in a row, last: --device optix: Blender finds no such device"
    )
