"""Bounds on what a worker holds at once, over all its clients."""

from render_server.errors import RenderServerError
from render_server.limits import Limits


class WorkerFull(RenderServerError):  # noqa: N818
    """The worker holds as much as it may; the client may send the task again later."""


class Admission:
    """Counts the tasks and the bytes that all streams hold together.

    Args:
        limits: `held_tasks` and `held_bytes`.

    Attributes:
        tasks: number of unanswered tasks.
        held_bytes: size of these and of the answers that are not sent yet.
    """

    def __init__(self, limits: Limits) -> None:
        self.tasks = 0
        self.held_bytes = 0
        self._limits = limits

    def admit(self, size: int) -> None:
        """Count a task of that many bytes.

        Raises:
            WorkerFull: it exceeds the bounds together with the others.
        """
        if self.tasks >= self._limits.held_tasks:
            raise WorkerFull(f"the worker holds {self.tasks} tasks of all its clients, its limit; send it again later")
        if self.held_bytes + size > self._limits.held_bytes:
            raise WorkerFull(
                f"the worker holds {self.held_bytes} bytes and would exceed its limit of {self._limits.held_bytes} "
                f"with {size} more; send it again later"
            )
        self.tasks += 1
        self.held_bytes += size

    def release(self, size: int) -> None:
        """Stop counting a task that was admitted."""
        self.tasks -= 1
        self.held_bytes -= size
