"""The worker's temporary folders, which are removed however the worker ends."""

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from render_server.errors import RenderServerError

#: Memory-backed, so that the pixels that Blender passes through files never touch a disk.
_SHARED_MEMORY = Path("/dev/shm")

# Waits until the worker has ended, and a moment for its processes, then removes the folders named as arguments.
_CLEAN_UP = 'read -r _; sleep 1; rm -rf -- "$@"'


class WorkFolderUnusable(RenderServerError):  # noqa: N818
    """No folder for temporary files can be created."""


class WorkFolder:
    """Two temporary folders, removed when the context is left and also when the worker is killed.

    A killed process cannot clean up. So a shell waits until the pipe from the worker breaks, and does it then.

    Attributes:
        assets: folder of the asset cache.
        scratch: folder of the engines' short-lived files, in shared memory where there is any.

    Raises:
        WorkFolderUnusable: a folder cannot be created.
    """

    def __init__(self) -> None:
        self.assets = _new_folder("metasim-assets-", None)
        self.scratch = _new_folder("metasim-scratch-", _SHARED_MEMORY, None)
        self._cleaner = subprocess.Popen(
            ["/bin/sh", "-c", _CLEAN_UP, "sh", str(self.assets), str(self.scratch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def close(self) -> None:
        """Remove the folders. May be called again."""
        for folder in (self.assets, self.scratch):
            shutil.rmtree(folder, ignore_errors=True)
        self._cleaner.kill()
        self._cleaner.wait()
        if self._cleaner.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._cleaner.stdin.close()

    def __enter__(self) -> "WorkFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _new_folder(prefix: str, *parents: Path | None) -> Path:
    """Create a folder in the first of `parents` that can be written; None stands for the usual temporary folder."""
    for parent in parents[:-1]:
        with contextlib.suppress(OSError):
            return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        return Path(tempfile.mkdtemp(prefix=prefix, dir=parents[-1]))
    except OSError as error:
        raise WorkFolderUnusable(f"no temporary folder can be created: {error.strerror}; set TMPDIR") from error
