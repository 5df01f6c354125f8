"""The folder for temporary files of one engine process."""

import errno
import shutil
import tempfile
from pathlib import Path

from render_server.errors import RenderServerError

#: Bytes per pixel of the largest temporary file of an engine: colour, depth, index and normal as float32.
_BYTES_PER_PIXEL = 40

#: Largest temporary file of a small image: flat scenes are rendered in sheets of 1024 x 1024 pixels.
_LEAST_BYTES = 16 << 20

_FULL = (errno.ENOSPC, errno.EDQUOT)


class ScratchUnusable(RenderServerError):  # noqa: N818
    """The scratch folder cannot be written. Only a new process, with a folder of its own, can help."""


class ScratchFolder:
    """A folder that may vanish, become read-only or fill up while the process runs.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def restore(self) -> None:
        """Create the folder again if it has vanished.

        Raises:
            ScratchUnusable: it cannot be created.
        """
        if not self.path.is_dir():
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise self._unusable(error) from error

    def check_writable(self) -> None:
        """Write and remove a small file.

        Raises:
            ScratchUnusable: the file cannot be written, for another reason than a full disk.
        """
        self.restore()
        try:
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(b"\0")
        except OSError as error:
            if error.errno not in _FULL:
                raise self._unusable(error) from error

    def shortage(self, pixels: int) -> "Shortage | None":
        """Return what is missing to write an image of this number of pixels; None if there is enough space."""
        usage = shutil.disk_usage(self.path)
        needed = max(pixels * _BYTES_PER_PIXEL, _LEAST_BYTES)
        return Shortage(self.path, needed, usage.free, usage.total) if usage.free < needed else None

    def _unusable(self, error: OSError) -> ScratchUnusable:
        return ScratchUnusable(f"the scratch folder {self.path} cannot be written: {error.strerror}")


class Shortage:
    """Too little space for temporary files.

    Args:
        folder: where the files go.
        needed, free, total: bytes that the files need, that are free, and that the file system has.
    """

    def __init__(self, folder: Path, needed: int, free: int, total: int) -> None:
        self._folder, self._needed, self._free, self._total = folder, needed, free, total

    @property
    def permanent(self) -> bool:
        """Return whether the files would not fit into the file system even if it were empty."""
        return self._needed > self._total

    def __str__(self) -> str:
        needed, free, total = (f"{size / 2**20:.0f} MiB" for size in (self._needed, self._free, self._total))
        return (
            f"{self._folder} has too little space for the image: it may need {needed}, {free} of {total} are free; "
            "give the worker more shared memory (docker run --shm-size) or ask for fewer pixels"
        )
