"""When an engine process has served long enough, or grown too large."""

from dataclasses import dataclass
from pathlib import Path

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

#: Part of the machine's memory that all processes together may take when nothing else was said.
_SHARE_OF_MACHINE = 0.8

#: Part of its limit from which on a process is replaced between two tasks.
_REPLACE_FROM = 0.75

#: Room that a process has in any case, as a multiple of what it holds when it is warm.
_LEAST_ROOM = 1.5


@dataclass(frozen=True)
class WearLimits:
    """Bounds of one process, beyond which another takes its place."""

    #: Tasks after which it is replaced. 0: never.
    tasks: int = 0
    #: Resident set beyond which it is ended at once, in bytes; from three quarters of it on it is replaced between
    #: tasks. 0: unbounded.
    memory_bytes: int = 0

    def worn(self, tasks: int, resident: int, resident_when_warm: int) -> str | None:
        """Why a process is to be replaced between tasks, "tasks" or "memory"; None while it is not."""
        if self.tasks and tasks >= self.tasks:
            return "tasks"
        limit = self._limit(resident_when_warm)
        return "memory" if limit and resident > _REPLACE_FROM * limit else None

    def exceeded(self, resident: int, resident_when_warm: int) -> bool:
        """Whether a process is to be ended at once."""
        limit = self._limit(resident_when_warm)
        return bool(limit) and resident > limit

    def _limit(self, resident_when_warm: int) -> float:
        # A limit that a new process comes close to would have it replaced after every task.
        return max(self.memory_bytes, _LEAST_ROOM / _REPLACE_FROM * resident_when_warm) if self.memory_bytes else 0


def memory_share(processes: int) -> int:
    """Bytes that each of several processes may hold so that they fit into this machine or container together."""
    return int(_SHARE_OF_MACHINE * _machine_bytes() / processes)


def _machine_bytes() -> int:
    with Path("/proc/meminfo").open() as lines:
        found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:")]
    for name in _CGROUP_LIMITS:
        path = Path(name)
        if path.is_file() and (text := path.read_text().strip()).isdecimal():
            found.append(int(text))
    return min(found)
