"""The program of an engine process: it renders tasks one at a time until the front ends.

Each engine has a process of its own, because bpy keeps its state in globals and a crash ends everything in the process.
The process is started as a program (`python -m render_server.processes.process`), never forked: gRPC does not survive a
fork. It does not use gRPC itself.
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

from metasim.image_files import FORMATS, encoder_name
from metasim.memory import keep_freed_memory
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from render_server.checks.validation import required_assets
from render_server.devices import DEVICES
from render_server.engines import Engine, create_engine
from render_server.errors import (
    AssetMissing,
    DeviceLost,
    DeviceMemoryFull,
    EngineUnavailable,
    InvalidTask,
    RenderServerError,
    Unsupported,
)
from render_server.features import FEATURES
from render_server.log_format import LOG_FORMATS, configure_logging
from render_server.processes.image_encoding import encode_layers
from render_server.processes.messages import Message, MessageKind, MessageSplitter, send
from render_server.processes.scratch import ScratchFolder, ScratchUnusable

_PR_SET_PDEATHSIG = 1

#: Room for whole replies, so that the next render need not wait until the front has read the last one. The kernel may
#: grant less.
_SEND_BUFFER = 4 << 20

#: Bytes that are read from the socket at once.
_READ_BYTES = 256 << 10

_log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> None:
    """Serve the socket whose descriptor the command line names."""
    parser = argparse.ArgumentParser(prog="python -m render_server.processes.process", description=__doc__)
    parser.add_argument("--descriptor", type=int, required=True, help="inherited socket to the front")
    parser.add_argument("--front", type=int, required=True, help="process id of the front")
    parser.add_argument("--engine", required=True)
    parser.add_argument("--device", choices=DEVICES, default="cpu")
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
    scratch = ScratchFolder(options.scratch)
    with socket.socket(fileno=options.descriptor) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        try:
            engine = create_engine(options.engine, device=options.device, service_time_s=options.service_time_s)
            engine.render(_WARM_UP, {})
        except EngineUnavailable as error:
            send(connection, Message(MessageKind.UNUSABLE, str(error).encode()))
            return
        except (RenderServerError, OSError) as error:
            text = _failure(_WARM_UP, str(error), scratch).text()
            send(connection, Message(MessageKind.UNUSABLE, f"engine {options.engine!r} cannot render: {text}".encode()))
            return
        send(connection, Message(MessageKind.READY, _description(engine).SerializeToString()))
        inbox = _Inbox(connection)
        try:
            while (message := inbox.next()) is not None:
                if inbox.unwanted(message):
                    send(connection, Message(MessageKind.SKIPPED))
                    continue
                scratch.restore()
                answer = answer_task(engine, message, options.assets, options.message_bytes, scratch)
                send(connection, answer)
        except (ScratchUnusable, DeviceLost) as error:
            raise SystemExit(str(error)) from error  # The front starts another process, with a folder of its own.


class _Inbox:
    """The tasks that have arrived, and which of them are no longer wanted."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._splitter = MessageSplitter()
        self._tasks: deque[Message] = deque()
        self._cancelled: set[int] = set()

    def next(self) -> Message | None:
        """Read all that has arrived and return the next task; None once the front has ended."""
        with contextlib.suppress(BlockingIOError):  # Nothing more has arrived.
            while True:
                data = self._connection.recv(_READ_BYTES, socket.MSG_DONTWAIT if self._tasks else 0)
                if not data:
                    return None
                for message in self._splitter.feed(data):
                    if message.kind == MessageKind.CANCEL:
                        self._cancelled.add(message.number)
                    else:
                        self._tasks.append(message)
        return self._tasks.popleft()

    def unwanted(self, task: Message) -> bool:
        """Return whether the task was cancelled, or its deadline has passed."""
        cancelled = task.number in self._cancelled
        self._cancelled = {number for number in self._cancelled if number > task.number}
        return cancelled or time.monotonic() >= task.deadline_s


def answer_task(
    engine: Engine, message: Message, assets: Path, message_bytes: int, scratch: ScratchFolder | None = None
) -> Message:
    """Render the task in a message and return the answer, whatever happens.

    Args:
        assets: folder of the assets.
        message_bytes: largest answer.
        scratch: the folder that `tempfile` uses, if failures may have to do with it.

    Raises:
        DeviceLost: the device failed, and no process renders on it before it is opened again.
        ScratchUnusable: the engine failed, and the scratch folder cannot be written.
    """
    task = pb.RenderTask.FromString(message.body)
    paths = {name: assets / name for name in required_assets(task)}
    try:
        result = engine.render(task, paths)
        encode_layers(task, result)
    except Unsupported as error:
        return Message(MessageKind.UNSUPPORTED, str(error).encode(), number=1 << error.feature)
    except InvalidTask as error:
        vanished = [name for name, path in paths.items() if not path.is_file()]
        if vanished and engine.name != "fake":
            return Message(MessageKind.FAILED, str(AssetMissing(vanished)).encode())
        return Message(MessageKind.INVALID, str(error).encode())
    except DeviceLost:
        raise
    except DeviceMemoryFull as error:
        return Message(MessageKind.TOO_LARGE, str(error).encode())
    except RenderServerError as error:
        return _failure(task, str(error), scratch)
    except Exception as error:  # Whatever a task does to the engine, the client gets an answer and the process goes on.
        answer = _failure(task, f"{type(error).__name__}: {' '.join(str(error).split())}", scratch)
        if answer.kind == MessageKind.FAILED:
            _log.exception("task %r: the engine failed", task.id, extra={"fields": {"task": task.id}})
        return answer
    result.id = task.id
    timing = result.timing
    timing.queue_s = message.queue_s
    body = pb.RenderReply(result=result).SerializeToString()
    if len(body) > message_bytes:
        text = f"the answer has {len(body)} bytes; this worker sends at most {message_bytes}"
        return Message(MessageKind.TOO_LARGE, text.encode())
    return Message(
        MessageKind.RESULT,
        body,
        queue_s=message.queue_s,
        build_s=timing.build_s,
        render_s=timing.render_s,
        encode_s=timing.encode_s,
        renders=timing.renders,
    )


def _failure(task: pb.RenderTask, text: str, scratch: ScratchFolder | None) -> Message:
    """Return the answer to a task that the engine failed at: the fault may be the scratch folder's."""
    if scratch is not None:
        scratch.check_writable()
        shortage = scratch.shortage(task.settings.width_px * task.settings.height_px)
        if shortage is not None:
            kind = MessageKind.TOO_LARGE if shortage.permanent else MessageKind.NO_SPACE
            return Message(kind, str(shortage).encode())
    return Message(MessageKind.FAILED, text.encode())


def _description(engine: Engine) -> pb.DescribeResponse:
    return pb.DescribeResponse(
        engine=engine.name,
        engine_version=engine.version,
        device=engine.device,
        device_name=engine.device_name,
        features=FEATURES[engine.name],
        image_formats=FORMATS,
        image_encoder=encoder_name(),
    )


def _die_with(front: int) -> None:
    """Ask the kernel to kill this process as soon as the front has ended, however it ended."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != front:
        raise SystemExit("the front has ended")


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
