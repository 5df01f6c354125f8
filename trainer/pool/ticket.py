"""A task on its way: who waits for it, who has it, and what has befallen it."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from metasim.v1 import render_pb2 as pb

from trainer.errors import RenderError

if TYPE_CHECKING:
    from trainer.pool.stream import WorkerStream


@dataclass(eq=False)
class Ticket:
    """A task that the caller waits for. It has one outcome, however many workers have been given it.

    Attributes:
        id: `RenderTask.id`.
        request: the serialized RenderRequest.
        future: what the caller holds.
        registry: the tickets without an outcome by id; an outcome takes this one out.
        answer_timeout_s: how long a worker may keep it.
        holders: the workers that have it, by the event loop's time at which it was sent to them.
        avoid: addresses of workers that failed at it.
        losses: how often it has gone down with a worker's connection.
        done: it has its outcome, or nobody waits for one.
    """

    id: str
    request: bytes
    future: "Future[pb.RenderResult]"
    registry: "dict[str, Ticket]"
    answer_timeout_s: float = float("inf")
    holders: "dict[WorkerStream, float]" = field(default_factory=dict)
    avoid: set[str] = field(default_factory=set)
    failures: int = 0
    losses: int = 0
    done: bool = False

    def begin(self) -> bool:
        """Marks the task as sent; False if its caller has cancelled it."""
        if self.future.running() or self.future.set_running_or_notify_cancel():
            return True
        self._end()
        return False

    def succeed(self, result: pb.RenderResult) -> None:
        """Gives the caller the result."""
        self._end()  # First, so that the caller may use the id again.
        self.future.set_result(result)

    def fail(self, error: RenderError) -> None:
        """Raises the error at the caller, unless there is an outcome already."""
        if not self.done:
            self._end()
            self.future.set_exception(error)

    def abandon(self) -> None:
        """Nobody waits for the outcome."""
        if not self.done:
            self._end()
            self.future.cancel()

    def _end(self) -> None:
        self.done = True
        self.registry.pop(self.id, None)
