"""The replies of one stream that its client has not taken yet."""

import asyncio
from collections import deque

from metasim.batches import take_batch

from render_server.service.admission import Admission

#: Bytes of unsent replies from which on a stream takes no more requests.
_FULL_BYTES = 32 << 20

#: The same in replies. Refusals are short, but cost nothing to provoke.
_FULL_REPLIES = 64


class Outbox:
    """A queue of serialized replies. Who does not read them is not listened to either.

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

    def put(self, reply: bytes) -> None:
        """Queues a reply."""
        if self._ended:
            return
        self._replies.append(reply)
        self._count(len(reply))
        self._changed.set()

    def end(self) -> None:
        """Says that no more replies come."""
        self._ended = True
        self._changed.set()

    def discard(self) -> None:
        """Forgets what is left: the client has gone."""
        self._replies.clear()
        self._count(-self._bytes)
        self.end()

    async def get(self) -> bytes | None:
        """The next replies that travel together, as serialized RenderReplies; None after the last."""
        while not self._replies:
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        message, size = take_batch(self._replies)
        self._count(-size)
        return message

    async def room(self) -> None:
        """Returns when the client has taken enough replies to be listened to."""
        await self._roomy.wait()

    def _count(self, size: int) -> None:
        self._bytes += size
        self._admission.held_bytes += size
        if self._bytes > _FULL_BYTES or len(self._replies) > _FULL_REPLIES:
            self._roomy.clear()
        else:
            self._roomy.set()
