"""A task that a worker has accepted and must answer exactly once."""

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from metasim.v1 import render_pb2 as pb

#: Sends the answer to a job, a serialized RenderReply, to its client. The code is that of an error, else None.
Answer = Callable[["Job", bytes, pb.Code.ValueType | None], None]


@dataclass(eq=False)
class Job:
    """One task from its arrival to its answer. Times are the event loop's.

    Attributes:
        id: `RenderTask.id`.
        body: the serialized RenderTask.
        assets: content hashes that the task needs.
        received_s: when the task arrived.
        deadline_s: when the client no longer wants it.
        samples: samples that the task asks for, probes included; a measure of its work.
        service_s: time that the process took which rendered it; 0 before that.
        expected_s: expected duration, when the job is handed to a process.
        attempts: how many times a process has failed at it.
        begun: whether a process is rendering it, as far as the front knows.
        answered: whether the job has its answer.
        timer: fails the job at its deadline if it has not begun.
        withdraw: tells the process that holds the job for later not to begin it.
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
        """Answer with a serialized reply, unless the job has its answer."""
        if not self.answered:
            self.answered = True
            if self.timer is not None:
                self.timer.cancel()
            self.answer(self, reply, code)

    def fail(
        self,
        code: pb.Code.ValueType,
        message: str,
        retry_after_s: float = 0.0,
        missing_features: Iterable[pb.Feature.ValueType] = (),
    ) -> None:
        """Answer with an error, unless the job has its answer. A process that has not begun the job never will."""
        if not self.answered and self.withdraw is not None:
            self.withdraw()
        self.finish(error_reply(self.id, code, message, retry_after_s, missing_features), code)


def error_reply(
    task_id: str,
    code: pb.Code.ValueType,
    message: str,
    retry_after_s: float = 0.0,
    missing_features: Iterable[pb.Feature.ValueType] = (),
) -> bytes:
    """Return a serialized RenderReply with an error of one line."""
    line = " ".join(message.split())
    error = pb.TaskError(
        id=task_id, code=code, message=line, retry_after_s=retry_after_s, missing_features=missing_features
    )
    return pb.RenderReply(error=error).SerializeToString()
