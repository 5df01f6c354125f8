"""Render servers in processes of their own, and a client whose messages the test chooses."""

import contextlib
import json
import queue
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
from metasim.batches import take_batch
from metasim.v1 import render_pb2 as pb

METHOD = "/metasim.v1.Renderer/Render"

#: Bounds a wait, or a whole conversation, on a busy machine. Most take milliseconds.
PATIENCE_S = 900.0


class Server:
    """A `metasim-render serve` that is ready.

    Attributes:
        address: its address.
        process: the process of the server.
        errors: its log, after `stop`.
    """

    errors = ""

    def __init__(self, *options: str) -> None:
        command = [
            sys.executable,
            "-m",
            "render_server.cli",
            "serve",
            "--port",
            "0",
            "--log-level",
            "warning",
            *options,
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise RuntimeError(self.process.communicate()[1].decode())
        self.address: str = json.loads(line)["address"]

    def children(self) -> list[int]:
        """Return the process ids of its children."""
        return children_of(self.process.pid)

    def stop(self) -> int:
        """End it with SIGTERM and return its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        self.errors = self.process.communicate(timeout=PATIENCE_S)[1].decode()
        return self.process.returncode


def run_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `metasim-render` to its end."""
    command = [sys.executable, "-m", "render_server.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)


@contextlib.contextmanager
def server(*options: str) -> Iterator[Server]:
    """Run a server and end it in any case."""
    running = Server(*options)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
        running.process.communicate()


def children_of(pid: int) -> list[int]:
    """Return the process ids of the running children of a process."""
    try:
        return [child.pid for child in psutil.Process(pid).children() if alive(child.pid)]
    except psutil.NoSuchProcess:
        return []


def alive(pid: int) -> bool:
    """Return whether a process runs."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def engine_processes(pid: int) -> list[int]:
    """Return the process ids of a server's engine processes."""
    return [child for child in children_of(pid) if "render_server.processes.process" in command_of(child)]


def command_of(pid: int) -> list[str]:
    """Return the words of a process's command line; empty if it has ended."""
    try:
        return psutil.Process(pid).cmdline()
    except psutil.Error:
        return []


def folders(pid: int) -> list[Path]:
    """Return the folders of the assets and of the temporary files of a server's first engine process."""
    words = command_of(engine_processes(pid)[0])
    found = [Path(words[words.index(option) + 1]) for option in ("--assets", "--scratch")]
    assert all(folder.is_dir() for folder in found)
    return found


class Conversation:
    """One stream to a server. Requests are sent as they are, and replies are read one by one."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
        self._requests: queue.Queue[bytes | None] = queue.Queue()
        method = self._channel.stream_stream(METHOD, response_deserializer=pb.RenderReplies.FromString)
        self.call: Any = method(iter(self._requests.get, None), timeout=PATIENCE_S)
        self.replies = (reply for message in self.call for reply in message.replies)

    def send(self, **kind: Any) -> None:
        """Send a RenderRequest of one kind: task, asset or cancel."""
        self.send_bytes(pb.RenderRequest(**kind).SerializeToString())

    def send_bytes(self, data: bytes) -> None:
        """Send any bytes in the place of a request."""
        self.send_message(take_batch(deque([data]))[0])

    def send_message(self, data: bytes) -> None:
        """Send any bytes in the place of a message of requests."""
        self._requests.put(data)

    def receive(self) -> pb.RenderReply:
        """Return the next reply."""
        return next(self.replies)

    def answer(self) -> pb.RenderResult | pb.TaskError:
        """Return the next reply that answers a task."""
        while True:
            reply = self.receive()
            if reply.HasField("result"):
                return reply.result
            if reply.HasField("error"):
                return reply.error

    def half_close(self) -> None:
        """End the stream of requests."""
        self._requests.put(None)

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(self, *details: object) -> None:
        self.half_close()
        self.call.cancel()
        self._channel.close()
