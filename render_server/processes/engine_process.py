"""The front's handle of one engine process."""

import asyncio
import functools
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from metasim.v1 import render_pb2 as pb

from render_server.errors import EngineUnavailable, RenderServerError
from render_server.limits import Limits
from render_server.processes.frames import Frame, Kind, Splitter
from render_server.processes.job import Job
from render_server.processes.resident import resident_bytes

#: Read ahead of a reply, in bytes. Most replies fit, so that one wake-up of the front takes one whole.
_READ_AHEAD = 8 << 20

# One thread per process: as many processes as cores share the machine.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class ProcessLost(RenderServerError):  # noqa: N818
    """An engine process ended by itself or was killed."""


@dataclass(frozen=True)
class EngineSettings:
    """What every process of a worker is started with."""

    #: Name of the engine.
    engine: str
    #: Folder of the assets, each named by its hash.
    assets: Path
    #: Folder for temporary files.
    scratch: Path
    #: Bounds of the worker.
    limits: Limits
    #: How long the engine "fake" takes for a task at least.
    service_time_s: float = 0.0
    #: How long a process may take to start and render its first image.
    start_timeout_s: float = 120.0
    #: What its environment has beyond the worker's own.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Format of its log.
    log_format: str = "text"


class EngineProcess:
    """A running process with its engine warm.

    Attributes:
        description: engine, version and device.
        jobs: what the process holds; the first is being rendered.
        head_since_s: when it turned to the first of them, in the event loop's time.
        last_task_s: how long it held its last finished one; infinite before that.
        timer: ends the process when the first job takes too long.
        finished: tasks that it has answered.
        resident_when_warm: bytes that it held before its first task.
        worn: set when another process is to take its place.
        retiring: whether that one is ready: this one gets no more jobs.
        doomed: why it was ended on purpose: hung, deadline or memory; empty if it was not.
    """

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        description: pb.DescribeResponse,
        scratch: Path,
    ) -> None:
        self.description = description
        self.jobs: deque[Job] = deque()
        self.head_since_s = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.last_task_s = math.inf
        self.finished = 0
        self.resident_when_warm = resident_bytes(popen.pid)
        self.worn = asyncio.Event()
        self.retiring = False
        self.doomed = ""
        self._popen = popen
        self._reader = reader
        self._splitter = Splitter()
        self._writer = writer
        self._scratch = scratch
        self._sent = 0

    @classmethod
    async def start(cls, settings: EngineSettings) -> "EngineProcess":
        """Starts a process and waits until it is warm.

        Raises:
            EngineUnavailable: this machine cannot run the engine.
            ProcessLost: the process ended or hung while it started.
        """
        ours, theirs = socket.socketpair()
        # A folder of its own, so that a killed process leaves nothing that lives as long as the worker.
        scratch = Path(tempfile.mkdtemp(prefix="process-", dir=settings.scratch))
        with theirs:
            popen = _spawn(settings, theirs, scratch)
        reader, writer = await asyncio.open_connection(sock=ours, limit=_READ_AHEAD)
        try:
            (frame,) = await asyncio.wait_for(_receive(reader, Splitter()), settings.start_timeout_s)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError) as error:
            await _end(popen, writer, scratch)
            raise ProcessLost(f"a process of engine {settings.engine!r} {_ending(popen, error)}") from error
        except BaseException:
            await _end(popen, writer, scratch)
            raise
        if frame.kind == Kind.UNUSABLE:
            await _end(popen, writer, scratch)
            raise EngineUnavailable(frame.text())
        return cls(popen, reader, writer, pb.DescribeResponse.FromString(frame.body), scratch)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._popen.pid

    def send(self, jobs: Iterable[Job], now_s: float) -> None:
        """Hands over the last of `jobs`."""
        data = []
        for job in jobs:
            self._sent += 1
            job.withdraw = functools.partial(self._cancel, self._sent)
            queue_s = now_s - job.received_s
            frame = Frame(Kind.TASK, job.body, number=self._sent, queue_s=queue_s, deadline_s=job.deadline_s)
            data += [frame.header(), job.body]
        self._writer.write(b"".join(data))

    def _cancel(self, number: int) -> None:
        self._writer.write(Frame(Kind.CANCEL, number=number).header())

    async def receive(self) -> list[Frame]:
        """The answers to the first of `jobs`: those that have come, or the next one.

        Raises:
            ProcessLost: there will be none.
        """
        try:
            return await _receive(self._reader, self._splitter)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise ProcessLost(f"process {self.pid} {_ending(self._popen, error)}") from error

    async def gather(self, seconds: float) -> None:
        """Lets answers collect for a while, so that they wake the front once."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(seconds)
        self._writer.transport.resume_reading()  # type: ignore[attr-defined]

    def resident_bytes(self) -> int:
        """What the process holds in memory now."""
        return resident_bytes(self.pid)

    def kill(self, reason: str) -> None:
        """Ends the process at once; `receive` then raises. The first reason stays in `doomed`."""
        self.doomed = self.doomed or reason
        self._popen.kill()

    async def close(self) -> None:
        """Ends the process and waits for its end."""
        await _end(self._popen, self._writer, self._scratch)


async def _receive(reader: asyncio.StreamReader, splitter: Splitter) -> list[Frame]:
    """All frames that have come; waits for the first."""
    while not (frames := splitter.feed(data := await reader.read(_READ_AHEAD))):
        if not data:
            raise asyncio.IncompleteReadError(b"", None)
    return frames


def _spawn(settings: EngineSettings, connection: socket.socket, scratch: Path) -> subprocess.Popen[bytes]:
    descriptor = connection.fileno()
    command = [sys.executable, "-m", "render_server.processes.process", "--descriptor", str(descriptor)]
    command += ["--front", str(os.getpid()), "--engine", settings.engine]
    command += ["--service-time-s", str(settings.service_time_s), "--message-bytes", str(settings.limits.message_bytes)]
    command += ["--assets", str(settings.assets), "--scratch", str(scratch), "--log-format", settings.log_format]
    return subprocess.Popen(
        command,
        pass_fds=[descriptor],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # Blender writes there at each render.
        env={**os.environ, **_ONE_THREAD, **settings.environment},
        start_new_session=True,  # Ctrl-C is for the front, which then lets running tasks finish.
    )


async def _end(popen: subprocess.Popen[bytes], writer: asyncio.StreamWriter, scratch: Path) -> None:
    popen.kill()
    writer.close()
    await asyncio.to_thread(popen.wait)
    shutil.rmtree(scratch, ignore_errors=True)


def _ending(popen: subprocess.Popen[bytes], error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "did not start in time"
    try:
        status = popen.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return "closed its connection"
    return f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
