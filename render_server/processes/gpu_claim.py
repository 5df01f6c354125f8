"""One GPU for each worker on a machine with several.

Replicas of a container all see the same GPUs. Each worker locks one of them for its lifetime, and the kernel frees the
lock however the worker ends. The locks are files in a folder that all workers of the machine must share; containers
need a common volume for it. With more workers than GPUs, the GPUs are shared evenly. Without a usable folder, a hash of
the host name selects the GPU, and two workers may get the same one.
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

#: Kinds of devices that are NVIDIA's GPUs.
NVIDIA = ("cuda", "optix")

_QUERY_S = 20.0

_log = logging.getLogger(__name__)


def lock_folder() -> Path:
    """Return the default folder of the locks."""
    return Path(tempfile.gettempdir()) / "metasim-gpus"


@dataclass
class GpuClaim:
    """A worker's hold on one GPU.

    Attributes:
        gpu: its UUID, or its name in CUDA_VISIBLE_DEVICES; None: there is no GPU.
        share: number of workers that have the GPU already; None if that is not known.
    """

    gpu: str | None
    share: int | None = None
    _descriptor: int | None = field(default=None, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that show processes only this GPU."""
        return {} if self.gpu is None else {"CUDA_VISIBLE_DEVICES": self.gpu}

    def release(self) -> None:
        """Release the GPU. May be called again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def claim_gpu(folder: Path, gpus: Sequence[str]) -> GpuClaim:
    """Lock the GPU with the fewest workers.

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


def unreserved(gpus: Sequence[str], reserved: str) -> list[str]:
    """Return the GPUs without the one that others have, unless there is no other.

    Args:
        reserved: its place in the list, from 0 on, or its UUID; empty: none.
    """
    left = [gpu for place, gpu in enumerate(gpus) if reserved not in (str(place), gpu)]
    return left or list(gpus)


def visible_gpus(
    environment: Mapping[str, str] = os.environ, run: Callable[..., "subprocess.CompletedProcess[str]"] = subprocess.run
) -> list[str]:
    """Return the UUIDs of this machine's NVIDIA GPUs, or the names in CUDA_VISIBLE_DEVICES if it is set."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        # CUDA ignores everything after an invalid entry.
        names = [name.strip() for name in visible.split(",")]
        return names[: next((i for i, name in enumerate(names) if name in ("", "-1")), len(names))]
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        done = run(command, capture_output=True, text=True, check=True, timeout=_QUERY_S)
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("nvidia-smi does not list the GPUs: %s", error)
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
