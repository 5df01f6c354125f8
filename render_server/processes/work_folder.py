"""Where a worker keeps files while it runs, and the promise that nothing stays behind."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

#: Memory-backed, so that pixels which Blender hands over in files never touch a disk.
_SHARED_MEMORY = Path("/dev/shm")

# Waits until the worker is gone, and a moment for its processes to follow, then removes what the arguments name.
_JANITOR = 'read -r _; sleep 1; rm -rf -- "$@"'


class WorkFolder:
    """Two temporary folders, removed when the context is left and also when the worker is killed.

    A killed process cannot clean up, so a shell waits for the pipe to it to break and does it then.

    Attributes:
        assets: for the cache of assets.
        scratch: for short-lived files of the engines, in shared memory where there is any.
    """

    def __init__(self) -> None:
        self.assets = Path(tempfile.mkdtemp(prefix="metasim-assets-"))
        in_memory = _SHARED_MEMORY.is_dir() and os.access(_SHARED_MEMORY, os.W_OK)
        self.scratch = Path(tempfile.mkdtemp(prefix="metasim-scratch-", dir=_SHARED_MEMORY if in_memory else None))
        self._janitor = subprocess.Popen(
            ["/bin/sh", "-c", _JANITOR, "sh", str(self.assets), str(self.scratch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def close(self) -> None:
        """Removes the folders. May be called again."""
        for folder in (self.assets, self.scratch):
            shutil.rmtree(folder, ignore_errors=True)
        self._janitor.kill()
        self._janitor.wait()
        if self._janitor.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._janitor.stdin.close()

    def __enter__(self) -> "WorkFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
