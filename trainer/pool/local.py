"""A render server on this machine that lives as long as the trainer.

It is a separate program. It ends when its standard input closes, which happens even if the trainer is killed.
"""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from typing import IO

from trainer.errors import InputError

#: Packages that engines need beyond the server itself.
_NEEDS = {"blender": "bpy"}

#: How long the server may take to end before it is killed.
_END_S = 5.0


class LocalWorkers:
    """Starts a render server on a free port of the loopback interface and waits until it is ready.

    Args:
        engine: "blender", "raster" or "fake".
        workers: number of engine processes; default: one per CPU that this process may use, or one on a GPU.
        device: kind of device that renders, or "auto".
        extra: further options of `metasim-render serve`.

    Attributes:
        address: address of the server.
        workers: number of engine processes.

    Raises:
        InputError: the engine cannot run here, or there are too many workers for this machine.
    """

    def __init__(
        self, *, engine: str, workers: int | None = None, device: str = "cpu", extra: tuple[str, ...] = ()
    ) -> None:
        _require(engine)
        command = [sys.executable, "-m", "render_server.cli", "serve", "--host", "127.0.0.1", "--port", "0"]
        command += ["--engine", engine, "--device", device, "--log-level", "warning", "--stop-with-stdin"]
        command += [] if workers is None else ["--workers", str(workers)]
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # Lives as long as the server.
        self._server = subprocess.Popen(
            [*command, *extra],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={name: value for name, value in os.environ.items() if not name.startswith("METASIM_RENDER_")},
            start_new_session=True,  # Ctrl-C goes to the trainer, which then ends the server.
        )
        try:
            self.address, self.workers = self._read_announcement(engine)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Return the process id of the server."""
        return self._server.pid

    def what_ended_it(self) -> str | None:
        """Return why the server has ended, or None while it runs."""
        status = self._server.poll()
        if status is None or self._errors.closed:
            return None
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"the local render server {how}: {self._last_words()}"

    def close(self) -> None:
        """End the server and its processes. May be called again."""
        if self._server.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._server.stdin.close()
        try:
            self._server.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        if self._server.stdout is not None:
            self._server.stdout.close()
        self._errors.close()

    def _read_announcement(self, engine: str) -> tuple[str, int]:
        line = self._server.stdout.readline() if self._server.stdout is not None else b""
        if line:
            announced = json.loads(line)
            return str(announced["address"]), int(announced["workers"])
        self._server.wait()
        raise InputError(f"the local render workers (engine {engine!r}) did not start: {self._last_words()}")

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines() or ["no message"]
        return lines[-1].removeprefix("error: ")


def _require(engine: str) -> None:
    """Raise an InputError if a package is missing."""
    for package, of in (("render_server", "every engine"), (_NEEDS.get(engine), f"engine {engine!r}")):
        if package is not None and importlib.util.find_spec(package) is None:
            raise InputError(
                f"{of} needs {package}, which is not installed: pip install 'metasim[render]', use the engine 'raster' "
                "for sprite scenes, or give --renderer the address of other workers"
            )
