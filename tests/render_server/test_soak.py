"""Many tasks in a row, with processes that are recycled and killed: no task is lost, no memory grows, no file stays.

METASIM_SOAK_TASKS sets how many, METASIM_SOAK_ENGINE with which engine. The long run:

    METASIM_SOAK_TASKS=5000 METASIM_SOAK_ENGINE=raster pytest --log-cli-level=info tests/render_server/test_soak.py
"""

import logging
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import grpc
from metasim.v1 import render_pb2 as pb
from metasim.v1 import render_pb2_grpc
from support.servers import Conversation, alive, children_of, engine_processes, folders, server
from support.tasks import ASSETS, sprite_task, without_timing

from render_server.processes.memory import resident_bytes

TASKS = int(os.environ.get("METASIM_SOAK_TASKS", "300"))
ENGINE = os.environ.get("METASIM_SOAK_ENGINE", "fake")

#: Number of memory measurements.
STAGES = 10

#: Memory that the front, and the largest process, may gain from the first half to the second.
GROWTH_BYTES = 24 << 20

MIB = 1 << 20


_log = logging.getLogger(__name__)


def work_folders(pid: int) -> tuple[Path, Path]:
    """Return a server's folders of assets and of temporary files."""
    assets, scratch = folders(pid)
    return assets, scratch.parent


def test_soak() -> None:
    recycle_after = max(10, TASKS // 20)
    options = ("--engine", ENGINE, "--workers", "2", "--queue", "4", "--recycle-after", str(recycle_after))
    fronts: list[float] = []
    largest: list[float] = []
    pids: set[int] = set()
    first_bytes: dict[int, bytes] = {}
    began_s = time.monotonic()
    with server(*options) as running:
        assets, scratch = work_folders(running.process.pid)
        with Conversation(running.address) as talk:
            for name, data in ASSETS.items():
                talk.send(asset=pb.Asset(hash=name, data=data))
            slots = talk.receive().slots.count
            sent = answered = 0
            while answered < TASKS:
                while sent < TASKS and sent - answered < slots:
                    talk.send(task=sprite_task(str(sent), seed=sent % 8))
                    sent += 1
                answer = talk.answer()
                assert isinstance(answer, pb.RenderResult), answer
                answered += 1
                seed, answer.id = int(answer.id) % 8, ""
                assert first_bytes.setdefault(seed, without_timing(answer)) == without_timing(answer)
                if answered % (TASKS // STAGES) == 0:
                    engines = engine_processes(running.process.pid)
                    pids.update(engines)
                    assert len(list(scratch.iterdir())) <= 4  # Of two processes and those that come and go.
                    fronts.append(resident_bytes(running.process.pid))
                    largest.append(max(map(resident_bytes, engines), default=0))
                    if answered % (2 * (TASKS // STAGES)) == 0 and engines:
                        with suppress(ProcessLookupError):  # It may be the one that is being replaced.
                            os.kill(engines[0], signal.SIGKILL)
        with grpc.insecure_channel(running.address) as channel:
            description = render_pb2_grpc.RendererStub(channel).Describe(pb.DescribeRequest())
        assert running.stop() == 0
    wall_s = time.monotonic() - began_s
    _log.info(
        "%d tasks, %s, %.1f s: %d processes recycled, %d restarted; front MiB %s, largest process MiB %s",
        TASKS,
        ENGINE,
        wall_s,
        description.process_recycles,
        description.process_restarts,
        [round(size / MIB) for size in fronts],
        [round(size / MIB) for size in largest],
    )
    assert description.tasks_done == TASKS
    assert description.tasks_failed == 0
    assert description.process_recycles >= 4
    assert description.process_restarts >= 2
    for sizes in (fronts, largest):
        assert max(sizes[STAGES // 2 :]) - max(sizes[: STAGES // 2]) < GROWTH_BYTES
    assert not any(map(alive, pids))
    assert not assets.exists()
    assert not scratch.exists()


def test_nothing_stays_behind_when_everything_is_killed_under_load() -> None:
    with server("--engine", ENGINE, "--workers", "2", "--fake-service-ms", "50") as running:
        with Conversation(running.address) as talk:
            for name, data in ASSETS.items():
                talk.send(asset=pb.Asset(hash=name, data=data))
            for i in range(6):
                talk.send(task=sprite_task(str(i)))
            talk.answer()
            engines, children = engine_processes(running.process.pid), children_of(running.process.pid)
            kept = work_folders(running.process.pid)
            assert all(folder.is_dir() for folder in kept)
            os.kill(engines[0], signal.SIGKILL)
            running.process.kill()
        deadline_s = time.monotonic() + 30
        while any(folder.exists() for folder in kept) or any(map(alive, children)):
            assert time.monotonic() < deadline_s, (kept, [pid for pid in children if alive(pid)])
            time.sleep(0.05)
