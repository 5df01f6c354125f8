"""How much a worker holds at once, over all its clients."""

from render_server.errors import RenderServerError
from render_server.limits import Limits


class WorkerFull(RenderServerError):  # noqa: N818
    """The worker holds as much as it may; the task may come again a little later."""


class Admission:
    """Counts the tasks and the bytes that all streams hold together.

    Args:
        limits: `held_tasks` and `held_bytes`.

    Attributes:
        tasks: that are unanswered.
        held_bytes: of them and of the answers that are not sent yet.
    """

    def __init__(self, limits: Limits) -> None:
        self.tasks = 0
        self.held_bytes = 0
        self._limits = limits

    def admit(self, size: int) -> None:
        """Takes in a task of that many bytes.

        Raises:
            WorkerFull: it does not fit beside the others.
        """
        if self.tasks >= self._limits.held_tasks:
            raise WorkerFull(f"the worker holds {self.tasks} tasks of all its clients, its bound; send it again later")
        if self.held_bytes + size > self._limits.held_bytes:
            raise WorkerFull(
                f"the worker holds {self.held_bytes} bytes and would exceed its bound of {self._limits.held_bytes} "
                f"with {size} more; send it again later"
            )
        self.tasks += 1
        self.held_bytes += size

    def release(self, size: int) -> None:
        """Forgets a task that was admitted."""
        self.tasks -= 1
        self.held_bytes -= size
