"""What an engine process runs: tasks in, replies out, one at a time, until the front goes away.

A process of its own because bpy keeps its state in globals and crashes take everything down with them. It is started as
a program (`python -m render_server.processes.process`), never forked: gRPC does not survive a fork. It uses no gRPC
itself.
"""

import argparse
import contextlib
import ctypes
import logging
import os
import signal
import socket
import tempfile
import time
from collections import deque
from pathlib import Path

from metasim.memory import keep_freed_memory
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from render_server.checks.validation import required_assets
from render_server.engines import Engine, create_engine
from render_server.errors import EngineUnavailable, InvalidTask, RenderServerError
from render_server.processes.frames import Frame, Kind, Splitter, send
from render_server.service.log_format import LOG_FORMATS, configure_logging

_PR_SET_PDEATHSIG = 1

#: Room for whole replies, so that the next render need not wait until the front has read the last one. The kernel may
#: grant less.
_SEND_BUFFER = 4 << 20

#: Taken from the socket at once.
_READ_BYTES = 256 << 10

_log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> None:
    """Serves the socket whose descriptor the command line names."""
    parser = argparse.ArgumentParser(prog="python -m render_server.processes.process", description=__doc__)
    parser.add_argument("--descriptor", type=int, required=True, help="inherited socket to the front")
    parser.add_argument("--front", type=int, required=True, help="process id of the front")
    parser.add_argument("--engine", required=True)
    parser.add_argument("--service-time-s", type=float, default=0.0)
    parser.add_argument("--assets", type=Path, required=True, help="folder of the assets, each named by its hash")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for temporary files")
    parser.add_argument("--message-bytes", type=int, required=True, help="largest reply")
    parser.add_argument("--log-format", choices=LOG_FORMATS, default="text")
    parser.add_argument("--log-level", default="warning")
    options = parser.parse_args(arguments)
    _die_with(options.front)
    configure_logging(options.log_level, options.log_format)
    keep_freed_memory()
    tempfile.tempdir = str(options.scratch)
    with socket.socket(fileno=options.descriptor) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        try:
            engine = create_engine(options.engine, service_time_s=options.service_time_s)
            engine.render(_WARM_UP, {})
        except EngineUnavailable as error:
            send(connection, Frame(Kind.UNUSABLE, str(error).encode()))
            return
        send(connection, Frame(Kind.READY, _description(engine).SerializeToString()))
        inbox = _Inbox(connection)
        while (frame := inbox.next()) is not None:
            if inbox.unwanted(frame):
                send(connection, Frame(Kind.SKIPPED))
            else:
                send(connection, answer_task(engine, frame, options.assets, options.message_bytes))


class _Inbox:
    """The tasks that have come, and which of them are not wanted any more."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._splitter = Splitter()
        self._tasks: deque[Frame] = deque()
        self._cancelled: set[int] = set()

    def next(self) -> Frame | None:
        """The next task; None once the front has gone. Takes in all that the front has said until now."""
        with contextlib.suppress(BlockingIOError):  # It has said no more.
            while True:
                data = self._connection.recv(_READ_BYTES, socket.MSG_DONTWAIT if self._tasks else 0)
                if not data:
                    return None
                for frame in self._splitter.feed(data):
                    if frame.kind == Kind.CANCEL:
                        self._cancelled.add(frame.number)
                    else:
                        self._tasks.append(frame)
        return self._tasks.popleft()

    def unwanted(self, task: Frame) -> bool:
        """Whether it was cancelled, or its deadline has passed."""
        cancelled = task.number in self._cancelled
        self._cancelled = {number for number in self._cancelled if number > task.number}
        return cancelled or time.monotonic() >= task.deadline_s


def answer_task(engine: Engine, frame: Frame, assets: Path, message_bytes: int) -> Frame:
    """Renders the task in a frame; its answer as a frame, whatever happens."""
    task = pb.RenderTask.FromString(frame.body)
    try:
        result = engine.render(task, {name: assets / name for name in required_assets(task)})
    except InvalidTask as error:
        return Frame(Kind.INVALID, str(error).encode())
    except RenderServerError as error:
        return Frame(Kind.FAILED, str(error).encode())
    except Exception as error:  # Whatever a task does to the engine, the client is told and the process goes on.
        _log.exception("task %r broke the engine", task.id, extra={"fields": {"task": task.id}})
        return Frame(Kind.FAILED, f"{type(error).__name__}: {' '.join(str(error).split())}".encode())
    result.id = task.id
    timing = result.timing
    timing.queue_s = frame.queue_s
    body = pb.RenderReply(result=result).SerializeToString()
    if len(body) > message_bytes:
        return Frame(Kind.TOO_LARGE, f"the answer has {len(body)} bytes; this worker sends {message_bytes}".encode())
    return Frame(
        Kind.RESULT,
        body,
        queue_s=frame.queue_s,
        build_s=timing.build_s,
        render_s=timing.render_s,
        encode_s=timing.encode_s,
        renders=timing.renders,
    )


def _description(engine: Engine) -> pb.DescribeResponse:
    return pb.DescribeResponse(engine=engine.name, engine_version=engine.version, device=engine.device)


def _die_with(front: int) -> None:
    """Asks the kernel to kill this process as soon as the front is gone, however it went."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != front:
        raise SystemExit("the front has gone")


_WARM_UP = pb.RenderTask(
    id="warm-up",
    scene=scene_pb2.Scene(
        nodes=[
            scene_pb2.Node(
                id="camera",
                transform=scene_pb2.Transform(z_m=1),
                camera=scene_pb2.Camera(orthographic=scene_pb2.Orthographic(height_m=8)),
            )
        ]
    ),
    settings=pb.RenderSettings(width_px=8, height_px=8, samples=1, view_transform=pb.VIEW_TRANSFORM_RAW),
    outputs=[pb.OUTPUT_IMAGE_U8],
)


if __name__ == "__main__":
    main()
