"""A task that a worker has accepted and must answer exactly once."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from metasim.v1 import render_pb2 as pb

#: Sends the answer to a job, a serialized RenderReply, to the client that asked.
Answer = Callable[["Job", bytes], None]


@dataclass(eq=False)
class Job:
    """One task from its arrival to its answer. Times are the event loop's.

    Attributes:
        id: `RenderTask.id`.
        body: the serialized RenderTask.
        assets: content hashes that it needs.
        received_s: when it arrived.
        deadline_s: when the client no longer wants it.
        attempts: how often a process has failed at it.
        begun: whether a process has it.
        answered: whether its answer is on the way.
        timer: gives it up at its deadline if it has not begun.
    """

    id: str
    body: bytes
    assets: tuple[str, ...]
    received_s: float
    deadline_s: float
    answer: Answer = field(repr=False)
    attempts: int = 0
    begun: bool = False
    answered: bool = False
    timer: asyncio.TimerHandle | None = None

    def finish(self, reply: bytes) -> None:
        """Answers with a serialized reply, unless the job has been answered."""
        if not self.answered:
            self.answered = True
            if self.timer is not None:
                self.timer.cancel()
            self.answer(self, reply)

    def fail(self, code: pb.Code.ValueType, message: str) -> None:
        """Answers with an error, unless the job has been answered."""
        self.finish(error_reply(self.id, code, message))


def error_reply(task_id: str, code: pb.Code.ValueType, message: str) -> bytes:
    """A serialized RenderReply with an error of one line."""
    error = pb.TaskError(id=task_id, code=code, message=" ".join(message.split()))
    return pb.RenderReply(error=error).SerializeToString()
