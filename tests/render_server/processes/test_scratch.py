"""Faults of the scratch folder: it vanishes, fills up or cannot be written."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from metasim.v1 import render_pb2 as pb
from support.servers import Conversation, folders, server
from support.tasks import ASSETS, sprite_task

from render_server.errors import RenderFailed
from render_server.processes.messages import Message, MessageKind
from render_server.processes.process import answer_task
from render_server.processes.scratch import ScratchFolder, ScratchUnusable

MIB = 1 << 20


class FailingEngine:
    """Renders nothing, as Blender without space for its image."""

    name, version, device = "blender", "0", "cpu"

    def render(self, task: pb.RenderTask, assets: Mapping[str, Path]) -> pb.RenderResult:  # noqa: ARG002
        raise RenderFailed("Blender wrote no image")


def answered(folder: Path, size_px: int = 32) -> Message:
    task = Message(MessageKind.TASK, sprite_task(size_px=size_px).SerializeToString())
    return answer_task(FailingEngine(), task, folder, 1 << 30, ScratchFolder(folder))  # type: ignore[arg-type]


def with_space(monkeypatch: pytest.MonkeyPatch, *, free: int, total: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free, total=total))  # noqa: ARG005


def test_a_failure_without_space_may_work_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_space(monkeypatch, free=MIB, total=64 * MIB)
    answer = answered(tmp_path)
    assert answer.kind == MessageKind.NO_SPACE
    assert answer.text() == (
        f"{tmp_path} has too little space for the image: it may need 16 MiB, 1 MiB of 64 MiB are free; "
        "give the worker more shared memory (docker run --shm-size) or ask for fewer pixels"
    )


def test_an_image_that_can_never_fit_exceeds_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_space(monkeypatch, free=64 * MIB, total=64 * MIB)
    assert answered(tmp_path, size_px=2048).kind == MessageKind.TOO_LARGE


def test_a_failure_with_space_is_the_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_space(monkeypatch, free=64 * MIB, total=64 * MIB)
    answer = answered(tmp_path)
    assert (answer.kind, answer.text()) == (MessageKind.FAILED, "Blender wrote no image")


def test_a_folder_that_cannot_be_written_ends_the_process(tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    folder.touch()
    with pytest.raises(ScratchUnusable, match=r"the scratch folder .*/scratch cannot be written: "):
        answered(folder)


def test_a_folder_that_vanished_is_created_again(tmp_path: Path) -> None:
    ScratchFolder(tmp_path / "a" / "b").restore()
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.blender
def test_a_worker_renders_after_its_folders_were_removed() -> None:
    pytest.importorskip("bpy")
    with server("--engine", "blender", "--workers", "1") as running, Conversation(running.address) as talk:
        for name, data in ASSETS.items():
            talk.send(asset=pb.Asset(hash=name, data=data))
        talk.send(task=sprite_task("before"))
        assert isinstance(talk.answer(), pb.RenderResult)
        assets, scratch = folders(running.process.pid)
        for folder in (assets, scratch.parent):
            shutil.rmtree(folder)
        talk.send(task=sprite_task("after", seed=1))
        (wanted,) = next(reply for reply in talk.replies if reply.HasField("assets_wanted")).assets_wanted.hashes
        talk.send(asset=pb.Asset(hash=wanted, data=ASSETS[wanted]))
        answer = talk.answer()
        assert isinstance(answer, pb.RenderResult), answer
        assert running.stop() == 0
