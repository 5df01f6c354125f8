"""The replies of one stream that its client has not taken yet."""

import asyncio
from collections import deque

from metasim.batches import take_batch

from render_server.service.admission import Admission

#: Size of unsent replies from which on a stream takes no more requests.
_FULL_BYTES = 32 << 20

#: Number of unsent replies from which on it takes no more. Refusals are short, but cost nothing to provoke.
_FULL_REPLIES = 64


class SendQueue:
    """A queue of serialized replies. While it is full, the worker stops reading the client's requests.

    Args:
        admission: counts the bytes.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._replies: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._changed = asyncio.Event()
        self._roomy = asyncio.Event()
        self._roomy.set()

    @property
    def full(self) -> bool:
        """Whether the client has to take replies before the worker reads more of its requests."""
        return not self._roomy.is_set()

    def put(self, reply: bytes) -> None:
        """Queue a reply."""
        if self._ended:
            return
        self._replies.append(reply)
        self._count(len(reply))
        self._changed.set()

    def end(self) -> None:
        """Mark the queue as complete: no more replies follow."""
        self._ended = True
        self._changed.set()

    def discard(self) -> None:
        """Drop the replies that are left, because the client has gone."""
        self._replies.clear()
        self._count(-self._bytes)
        self.end()

    async def get(self) -> bytes | None:
        """Return the next replies that travel together, as serialized RenderReplies; None after the last."""
        while not self._replies:
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        message, size = take_batch(self._replies)
        self._count(-size)
        return message

    async def room(self) -> None:
        """Wait until the queue is not full."""
        await self._roomy.wait()

    def _count(self, size: int) -> None:
        self._bytes += size
        self._admission.held_bytes += size
        if self._bytes > _FULL_BYTES or len(self._replies) > _FULL_REPLIES:
            self._roomy.clear()
        else:
            self._roomy.set()
