"""A task without an outcome: its caller, the workers that have it, and its failures."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from metasim.v1 import render_pb2 as pb

from trainer.errors import RenderError


class Holder(Protocol):
    """A worker that has been given a task."""

    def cancel(self, task: "PendingTask") -> None:
        """Tell the worker that the answer is not wanted any more."""


@dataclass(eq=False)
class PendingTask:
    """A task that a caller waits for. It has one outcome, however many workers have been given it.

    Attributes:
        id: `RenderTask.id`.
        request: the serialized RenderRequest.
        future: what the caller holds.
        registry: the tasks without an outcome by id; an outcome takes this one out.
        answer_timeout_s: how long a worker may keep the task.
        holders: the workers that have it, with the time of the event loop at which it was sent to them.
        avoid: addresses of workers that failed at it.
        needs: features that a worker lacked for it.
        failures: how often a worker failed at it.
        losses: how often it was lost with the connection to its worker.
        done: whether it has its outcome, or nobody waits for one.
    """

    id: str
    request: bytes
    future: "Future[pb.RenderResult]"
    registry: "dict[str, PendingTask]"
    answer_timeout_s: float = float("inf")
    holders: dict[Holder, float] = field(default_factory=dict)
    avoid: set[str] = field(default_factory=set)
    needs: "set[pb.Feature.ValueType]" = field(default_factory=set)
    failures: int = 0
    losses: int = 0
    done: bool = False

    def begin(self) -> bool:
        """Mark the task as sent. Return False if its caller has cancelled it."""
        if self.future.running() or self.future.set_running_or_notify_cancel():
            return True
        self._end()
        return False

    def succeed(self, result: pb.RenderResult) -> None:
        """Give the result to the caller."""
        self._end()  # First, so that the caller may use the id again.
        self.future.set_result(result)

    def fail(self, error: RenderError) -> None:
        """Raise the error at the caller, unless there is an outcome already."""
        if not self.done:
            self._end()
            self.future.set_exception(error)

    def abandon(self) -> None:
        """Drop the task: nobody waits for its outcome."""
        if not self.done:
            self._end()
            self.future.cancel()

    def _end(self) -> None:
        self.done = True
        self.registry.pop(self.id, None)
