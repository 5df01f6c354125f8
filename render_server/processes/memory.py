"""Memory of processes and of this machine."""

import contextlib
import os
from pathlib import Path

import psutil

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

#: Fraction of the machine's memory that all processes together may take by default.
_SHARE_OF_MACHINE = 0.8
#: Most memory that a process may take by default: large scenes need a GB or two.
_MOST_BYTES = 4 << 30
#: Largest number of processes per CPU: more of them only wait for each other.
_PROCESSES_PER_CPU = 8
#: Memory of a process that has just started, by engine.
_PROCESS_BYTES, _LEAST_PROCESS_BYTES = {"blender": 512 << 20}, 128 << 20


def resident_bytes(pid: int) -> int:
    """Return the resident set of a process, shared pages included; 0 if there is no such process."""
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def memory_share(processes: int) -> int:
    """Return the bytes that each of several processes may hold by default: all fit into this machine or container."""
    return min(_MOST_BYTES, int(_SHARE_OF_MACHINE * machine_bytes() / processes))


def most_processes(engine: str) -> int:
    """Return how many engine processes this machine or container can hold, by its CPUs and its memory."""
    per_process = _PROCESS_BYTES.get(engine, _LEAST_PROCESS_BYTES)
    return max(1, min(_PROCESSES_PER_CPU * len(os.sched_getaffinity(0)), machine_bytes() // per_process))


def machine_bytes() -> int:
    """Return the memory of this machine, or the container's limit where that is lower."""
    found = [int(psutil.virtual_memory().total)]
    for name in _CGROUP_LIMITS:
        path = Path(name)
        if path.is_file() and (text := path.read_text().strip()).isdecimal():
            found.append(int(text))
    return min(found)
