"""A task that a worker has accepted and must answer exactly once."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from metasim.v1 import render_pb2 as pb

#: Sends the answer to a job, a serialized RenderReply, to the client that asked. With the code of an error.
Answer = Callable[["Job", bytes, pb.Code.ValueType | None], None]


@dataclass(eq=False)
class Job:
    """One task from its arrival to its answer. Times are the event loop's.

    Attributes:
        id: `RenderTask.id`.
        body: the serialized RenderTask.
        assets: content hashes that it needs.
        received_s: when it arrived.
        deadline_s: when the client no longer wants it.
        samples: that it asks for, probes included; about as much work as there is.
        service_s: how long the process took that rendered it; 0 before that.
        expected_s: how long a process will take, when it is handed over.
        attempts: how often a process has failed at it.
        begun: whether a process is rendering it, as far as the front knows.
        answered: whether its answer is on the way.
        timer: gives it up at its deadline if it has not begun.
        withdraw: while a process holds it for later: keeps the process from beginning it.
    """

    id: str
    body: bytes
    assets: tuple[str, ...]
    received_s: float
    deadline_s: float
    answer: Answer = field(repr=False)
    samples: int = 0
    service_s: float = 0.0
    expected_s: float = math.inf
    attempts: int = 0
    begun: bool = False
    answered: bool = False
    timer: asyncio.TimerHandle | None = None
    withdraw: Callable[[], None] | None = None

    def finish(self, reply: bytes, code: pb.Code.ValueType | None = None) -> None:
        """Answers with a serialized reply, unless the job has been answered."""
        if not self.answered:
            self.answered = True
            if self.timer is not None:
                self.timer.cancel()
            self.answer(self, reply, code)

    def fail(self, code: pb.Code.ValueType, message: str, retry_after_s: float = 0.0) -> None:
        """Answers with an error, unless the job has been answered. A process that has not begun it never will."""
        if not self.answered and self.withdraw is not None:
            self.withdraw()
        self.finish(error_reply(self.id, code, message, retry_after_s), code)


def error_reply(task_id: str, code: pb.Code.ValueType, message: str, retry_after_s: float = 0.0) -> bytes:
    """A serialized RenderReply with an error of one line."""
    error = pb.TaskError(id=task_id, code=code, message=" ".join(message.split()), retry_after_s=retry_after_s)
    return pb.RenderReply(error=error).SerializeToString()
