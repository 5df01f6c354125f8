"""The front's handle of one engine process."""

import asyncio
import math
import os
import socket
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from metasim.v1 import render_pb2 as pb

from render_server.errors import EngineUnavailable, RenderServerError
from render_server.frames import Frame, Kind, read
from render_server.job import Job
from render_server.limits import Limits

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


class EngineProcess:
    """A running process with its engine warm.

    Attributes:
        description: engine, version and device.
        jobs: what the process holds; the first is being rendered.
        head_since_s: when it turned to the first of them, in the event loop's time.
        last_task_s: how long it held its last finished one; infinite before that.
        timer: ends the process when the first job takes too long.
    """

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        description: pb.DescribeResponse,
    ) -> None:
        self.description = description
        self.jobs: deque[Job] = deque()
        self.head_since_s = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.last_task_s = math.inf
        self._popen = popen
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, settings: EngineSettings) -> "EngineProcess":
        """Starts a process and waits until it is warm.

        Raises:
            EngineUnavailable: this machine cannot run the engine.
            ProcessLost: the process ended or hung while it started.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            popen = _spawn(settings, theirs)
        reader, writer = await asyncio.open_connection(sock=ours, limit=_READ_AHEAD)
        try:
            frame = await asyncio.wait_for(read(reader), settings.start_timeout_s)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError) as error:
            await _end(popen, writer)
            raise ProcessLost(f"a process of engine {settings.engine!r} {_ending(popen, error)}") from error
        except BaseException:
            await _end(popen, writer)
            raise
        if frame.kind == Kind.UNUSABLE:
            await _end(popen, writer)
            raise EngineUnavailable(frame.text())
        return cls(popen, reader, writer, pb.DescribeResponse.FromString(frame.body))

    @property
    def pid(self) -> int:
        """Process id."""
        return self._popen.pid

    def send(self, job: Job, now_s: float) -> None:
        """Hands a job over, behind those that the process holds."""
        job.begun = True
        self.jobs.append(job)
        frame = Frame(Kind.TASK, job.body, queue_s=now_s - job.received_s)
        self._writer.write(frame.header())
        self._writer.write(job.body)

    async def receive(self) -> Frame:
        """The answer to the first of `jobs`.

        Raises:
            ProcessLost: there will be none.
        """
        try:
            return await read(self._reader)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise ProcessLost(f"process {self.pid} {_ending(self._popen, error)}") from error

    def kill(self) -> None:
        """Ends the process at once; `receive` then raises."""
        self._popen.kill()

    async def close(self) -> None:
        """Ends the process and waits for its end."""
        await _end(self._popen, self._writer)


def _spawn(settings: EngineSettings, connection: socket.socket) -> subprocess.Popen[bytes]:
    descriptor = connection.fileno()
    command = [sys.executable, "-m", "render_server.process", "--descriptor", str(descriptor)]
    command += ["--front", str(os.getpid()), "--engine", settings.engine]
    command += ["--service-time-s", str(settings.service_time_s), "--message-bytes", str(settings.limits.message_bytes)]
    command += ["--assets", str(settings.assets), "--scratch", str(settings.scratch)]
    return subprocess.Popen(
        command,
        pass_fds=[descriptor],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # Blender writes there at each render.
        env=os.environ | _ONE_THREAD,
        start_new_session=True,  # Ctrl-C is for the front, which then lets running tasks finish.
    )


async def _end(popen: subprocess.Popen[bytes], writer: asyncio.StreamWriter) -> None:
    popen.kill()
    writer.close()
    await asyncio.to_thread(popen.wait)


def _ending(popen: subprocess.Popen[bytes], error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "did not start in time"
    try:
        status = popen.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return "closed its connection"
    return f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
