"""Real engine processes: how they start, and what they do with tasks that are no longer wanted."""

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest
from metasim.v1 import render_pb2 as pb
from support.pools import Answers

from render_server.errors import EngineUnavailable
from render_server.limits import Limits
from render_server.processes.engine_process import EngineProcess, EngineSettings, ProcessLost
from render_server.processes.messages import MessageKind


def settings(folder: Path, engine: str = "fake") -> EngineSettings:
    return EngineSettings(engine, folder, folder / "scratch", Limits())


async def received(process: EngineProcess, count: int) -> list[MessageKind]:
    """Return the kinds of the next messages of a process."""
    kinds: list[MessageKind] = []
    while len(kinds) < count:
        kinds += [message.kind for message in await process.receive()]
    return kinds


def test_an_unknown_engine_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="engine 'unreal' is unknown; allowed: blender, raster, fake"):
        asyncio.run(EngineProcess.start(settings(tmp_path, "unreal")))


def test_a_process_that_ends_before_it_is_warm_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(ProcessLost, match="a process of engine 'fake' exited with status 1"):
        asyncio.run(EngineProcess.start(settings(tmp_path)))


def test_a_scratch_folder_that_vanished_is_created_again(tmp_path: Path) -> None:
    async def main() -> None:
        for _ in range(2):
            process = await EngineProcess.start(settings(tmp_path))
            assert len(list((tmp_path / "scratch").iterdir())) == 1
            shutil.rmtree(tmp_path / "scratch")
            await process.close()

    asyncio.run(main())


def test_a_scratch_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "scratch").touch()
    with pytest.raises(ProcessLost, match=r"the scratch folder .*/scratch cannot be used: File exists"):
        asyncio.run(EngineProcess.start(settings(tmp_path)))


def test_a_process_whose_scratch_folder_cannot_be_restored_ends(tmp_path: Path) -> None:
    async def main() -> None:
        process = await EngineProcess.start(settings(tmp_path))
        shutil.rmtree(tmp_path / "scratch")
        (tmp_path / "scratch").touch()
        process.send([Answers().job("a")], 0.0)
        with pytest.raises(ProcessLost, match=r"process \d+ exited with status 1"):
            await process.receive()
        await process.close()

    asyncio.run(main())


def test_withdrawn_and_expired_tasks_are_skipped(tmp_path: Path) -> None:
    async def main() -> None:
        process = await EngineProcess.start(settings(tmp_path))
        answers = Answers()
        jobs = [answers.job("first"), answers.job("withdrawn"), answers.job("late", timeout_s=-1), answers.job("last")]
        os.kill(process.pid, signal.SIGSTOP)  # So that it sees all of it at once.
        process.send(jobs, asyncio.get_running_loop().time())
        jobs[1].fail(pb.CODE_CANCELLED, "not wanted")
        os.kill(process.pid, signal.SIGCONT)
        kinds = await received(process, 4)
        await process.close()
        result, skipped = MessageKind.RESULT, MessageKind.SKIPPED
        assert kinds == [result, skipped, skipped, result]

    asyncio.run(main())
