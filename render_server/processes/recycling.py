"""The recycling policy of engine processes: when one is replaced although it works."""

from dataclasses import dataclass

#: Fraction of its memory limit from which on a process is replaced between two tasks.
_REPLACE_FROM = 0.75

#: Room that a process has in any case, as a multiple of its memory when it is warm.
_LEAST_ROOM = 1.5


@dataclass(frozen=True)
class RecyclingPolicy:
    """Bounds of one process, beyond which another takes its place."""

    #: Tasks after which a process is replaced. 0: never.
    tasks: int = 0
    #: Resident set beyond which a process is killed, in bytes. From three quarters of it on, the process is replaced
    #: between tasks. 0: unbounded.
    memory_bytes: int = 0

    def reason(self, tasks: int, resident: int, resident_when_warm: int) -> str | None:
        """Return why a process is to be replaced between tasks, "tasks" or "memory"; None if it is not."""
        if self.tasks and tasks >= self.tasks:
            return "tasks"
        limit = self._limit(resident_when_warm)
        return "memory" if limit and resident > _REPLACE_FROM * limit else None

    def exceeded(self, resident: int, resident_when_warm: int) -> bool:
        """Return whether a process is to be killed for its memory."""
        limit = self._limit(resident_when_warm)
        return bool(limit) and resident > limit

    def _limit(self, resident_when_warm: int) -> float:
        # A limit close to the memory of a new process would have it replaced after every task.
        return max(self.memory_bytes, _LEAST_ROOM / _REPLACE_FROM * resident_when_warm) if self.memory_bytes else 0
