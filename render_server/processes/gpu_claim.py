"""A GPU of its own for each worker of a machine that has several.

Replicas of a container all see the same GPUs. Each takes a lock on one of them, for as long as it lives; the kernel
frees the lock however the worker ends. The locks are files in a folder that all workers of the machine must share:
containers need a common volume there. With more workers than GPUs, each GPU gets as many workers as the next, or one
more. Without a usable folder, a worker takes the GPU that its host's name falls on, which may be another's too.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: Workers that may share one GPU.
_MAX_SHARES = 64

_QUERY_S = 20.0

_log = logging.getLogger(__name__)


def lock_folder() -> Path:
    """Where workers of this machine find each other when nothing else was said."""
    return Path(tempfile.gettempdir()) / "metasim-gpus"


@dataclass
class GpuClaim:
    """A worker's hold on one GPU.

    Attributes:
        gpu: its UUID, or what CUDA_VISIBLE_DEVICES called it; None: there is nothing to choose from.
        share: how many others have it already; None if that is not known.
    """

    gpu: str | None
    share: int | None = None
    _descriptor: int | None = field(default=None, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """What processes need to see this GPU alone."""
        return {} if self.gpu is None else {"CUDA_VISIBLE_DEVICES": self.gpu}

    def release(self) -> None:
        """Gives the GPU up. May be called again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def claim_gpu(folder: Path, gpus: Sequence[str]) -> GpuClaim:
    """Takes the GPU with the fewest workers. With none there is nothing to claim.

    Args:
        folder: of the lock files, shared by the workers of this machine.
        gpus: UUIDs, in the order of preference.
    """
    if not gpus:
        return GpuClaim(None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for share in range(_MAX_SHARES):
            for gpu in gpus:
                descriptor = _lock(folder / f"{_file_name(gpu)}.{share}.lock")
                if descriptor is not None:
                    _log.info("claimed GPU %s, shared with %d", gpu, share, extra={"fields": {"gpu": gpu}})
                    return GpuClaim(gpu, share, descriptor)
    except OSError as error:
        _log.warning("no lock can be taken in %s (%s): GPUs are chosen by the host's name", folder, error.strerror)
    name = hashlib.sha256(socket.gethostname().encode()).digest()
    return GpuClaim(gpus[int.from_bytes(name[:8], "big") % len(gpus)])


def visible_gpus(
    environment: Mapping[str, str] = os.environ, run: Callable[..., "subprocess.CompletedProcess[str]"] = subprocess.run
) -> list[str]:
    """UUIDs of this machine's NVIDIA GPUs; those that CUDA_VISIBLE_DEVICES names, where it is set."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        # What follows an invalid entry is invisible to CUDA.
        names = [name.strip() for name in visible.split(",")]
        return names[: next((i for i, name in enumerate(names) if name in ("", "-1")), len(names))]
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        done = run(command, capture_output=True, text=True, check=True, timeout=_QUERY_S)
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("nvidia-smi does not say which GPUs there are: %s", error)
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _file_name(gpu: str) -> str:
    return "".join(letter if letter.isalnum() or letter == "-" else "_" for letter in gpu)
