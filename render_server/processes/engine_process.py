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
from render_server.processes.job import Job
from render_server.processes.memory import resident_bytes
from render_server.processes.messages import Message, MessageKind, MessageSplitter

#: Bytes that are read at once. Most replies fit, so that the front wakes up once per reply.
_READ_BYTES = 8 << 20

#: How long a process may take to start and render its first image on the CPU.
START_S = 120.0

# One thread per process, because as many processes as cores share the machine.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class ProcessLost(RenderServerError):  # noqa: N818
    """An engine process did not start, ended by itself or was killed."""


@dataclass(frozen=True)
class EngineSettings:
    """Settings that every engine process of a worker is started with."""

    #: Name of the engine.
    engine: str
    #: Folder of the assets, each named by its hash.
    assets: Path
    #: Folder for temporary files.
    scratch: Path
    #: Bounds of the worker.
    limits: Limits
    #: Kind of device that renders.
    device: str = "cpu"
    #: Shortest time that the engine "fake" takes for a task.
    service_time_s: float = 0.0
    #: How long a process may take to start and render its first image.
    start_timeout_s: float = START_S
    #: Environment variables beyond the worker's own.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Format of the log.
    log_format: str = "text"


class EngineProcess:
    """A running process with its engine warm.

    Attributes:
        description: engine, version and device.
        jobs: jobs that the process holds; it renders the first.
        head_since_s: when the first job became the first, in the event loop's time.
        last_task_s: how long the process held its last finished job; infinite before that.
        timer: kills the process when the first job takes too long.
        finished: number of jobs that it has answered.
        resident_when_warm: bytes of memory that it held before its first job.
        recycle: set when another process is to take its place.
        retiring: whether that one is ready, so that this one gets no more jobs.
        kill_reason: why it was killed on purpose: hung, deadline, memory or retired; empty if it was not.
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
        self.recycle = asyncio.Event()
        self.retiring = False
        self.kill_reason = ""
        self._popen = popen
        self._reader = reader
        self._splitter = MessageSplitter()
        self._writer = writer
        self._scratch = scratch
        self._sent = 0

    @classmethod
    async def start(cls, settings: EngineSettings) -> "EngineProcess":
        """Start a process and wait until it is warm.

        Raises:
            EngineUnavailable: this machine cannot run the engine.
            ProcessLost: the process ended or hung while it started, or there is no folder for its temporary files.
        """
        scratch = _scratch_folder(settings.scratch)
        ours, theirs = socket.socketpair()
        with theirs:
            popen = _spawn(settings, theirs, scratch)
        reader, writer = await asyncio.open_connection(sock=ours, limit=_READ_BYTES)
        try:
            (message,) = await asyncio.wait_for(_receive(reader, MessageSplitter()), settings.start_timeout_s)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError) as error:
            await _end(popen, writer, scratch)
            raise ProcessLost(f"a process of engine {settings.engine!r} {_ending(popen, error)}") from error
        except BaseException:
            await _end(popen, writer, scratch)
            raise
        if message.kind == MessageKind.UNUSABLE:
            await _end(popen, writer, scratch)
            raise EngineUnavailable(message.text())
        return cls(popen, reader, writer, pb.DescribeResponse.FromString(message.body), scratch)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._popen.pid

    def send(self, jobs: Iterable[Job], now_s: float) -> None:
        """Send jobs, which `self.jobs` already holds, to the process."""
        data = []
        for job in jobs:
            self._sent += 1
            job.withdraw = functools.partial(self._cancel, self._sent)
            queue_s = now_s - job.received_s
            message = Message(MessageKind.TASK, job.body, number=self._sent, queue_s=queue_s, deadline_s=job.deadline_s)
            data += [message.header(), job.body]
        self._writer.write(b"".join(data))

    def _cancel(self, number: int) -> None:
        self._writer.write(Message(MessageKind.CANCEL, number=number).header())

    async def receive(self) -> list[Message]:
        """Return the answers to the first of `jobs`: those that have arrived, or the next one.

        Raises:
            ProcessLost: there will be none.
        """
        try:
            return await _receive(self._reader, self._splitter)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise ProcessLost(f"process {self.pid} {_ending(self._popen, error)}") from error

    async def pause_reading(self, seconds: float) -> None:
        """Let answers collect for some time, so that they wake up the front once."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(seconds)
        self._writer.transport.resume_reading()  # type: ignore[attr-defined]

    def resident_bytes(self) -> int:
        """Return the memory that the process holds now."""
        return resident_bytes(self.pid)

    def kill(self, reason: str) -> None:
        """Kill the process; `receive` then raises. `kill_reason` keeps the first reason."""
        self.kill_reason = self.kill_reason or reason
        self._popen.kill()

    async def close(self) -> None:
        """Kill the process, wait for its end and remove its files."""
        await _end(self._popen, self._writer, self._scratch)


async def _receive(reader: asyncio.StreamReader, splitter: MessageSplitter) -> list[Message]:
    """Return all messages that have arrived; wait for the first."""
    while not (messages := splitter.feed(data := await reader.read(_READ_BYTES))):
        if not data:
            raise asyncio.IncompleteReadError(b"", None)
    return messages


def _scratch_folder(parent: Path) -> Path:
    """Return a new folder for one process, so that a killed process leaves nothing until the worker ends."""
    try:
        parent.mkdir(parents=True, exist_ok=True)  # Something may have removed it.
        return Path(tempfile.mkdtemp(prefix="process-", dir=parent))
    except OSError as error:
        raise ProcessLost(f"the scratch folder {parent} cannot be used: {error.strerror}") from error


def _spawn(settings: EngineSettings, connection: socket.socket, scratch: Path) -> subprocess.Popen[bytes]:
    descriptor = connection.fileno()
    command = [sys.executable, "-m", "render_server.processes.process", "--descriptor", str(descriptor)]
    command += ["--front", str(os.getpid()), "--engine", settings.engine, "--device", settings.device]
    command += ["--service-time-s", str(settings.service_time_s), "--message-bytes", str(settings.limits.message_bytes)]
    command += ["--assets", str(settings.assets), "--scratch", str(scratch), "--log-format", settings.log_format]
    return subprocess.Popen(
        command,
        pass_fds=[descriptor],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # Blender reports each render there.
        env={**os.environ, **_ONE_THREAD, **settings.environment},
        start_new_session=True,  # Ctrl-C reaches the front alone, which lets running tasks finish.
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
