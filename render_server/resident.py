"""How much memory processes hold."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int) -> int:
    """The resident set of a process, shared pages included; 0 if there is no such process."""
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES
    return 0


def total_resident_bytes(pids: Iterable[int]) -> int:
    """Sum over processes."""
    return sum(map(resident_bytes, pids))
