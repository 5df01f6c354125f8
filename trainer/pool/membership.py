"""Who the workers are, as of now: a stream for each address that the endpoints stand for."""

import asyncio
from collections.abc import Callable, Sequence

from trainer.pool.resolver import Endpoint
from trainer.pool.stream import WorkerStream


class Membership:
    """The streams to all workers.

    Args:
        endpoints: what the user has named.
        connect: makes the stream to a target whose certificate must be made out to a name.

    Attributes:
        streams: by address.
    """

    def __init__(self, endpoints: Sequence[Endpoint], connect: Callable[[str, str], WorkerStream]) -> None:
        self.streams: dict[str, WorkerStream] = {}
        self._endpoints = endpoints
        self._connect = connect
        self._unresolved: dict[Endpoint, str] = {}
        self._retired: set[asyncio.Task[None]] = set()

    @property
    def workers_up(self) -> int:
        """Workers that take tasks."""
        return sum(stream.slots > 0 for stream in self.streams.values())

    @property
    def processes_up(self) -> int:
        """Tasks that they render at the same time."""
        return sum(max(1, stream.processes) for stream in self.streams.values() if stream.slots > 0)

    @property
    def answers(self) -> bool:
        """Whether a worker is there, ready or not."""
        return any(stream.connected for stream in self.streams.values())

    @property
    def refused(self) -> bool:
        """Whether every worker fails for a reason that waiting does not mend."""
        streams = self.streams.values()
        return bool(streams) and not self._unresolved and all(stream.refused for stream in streams)

    def problems(self) -> str:
        """Why no worker takes tasks, in a few words."""
        reasons = [f"{endpoint.host}: {reason}" for endpoint, reason in self._unresolved.items()]
        reasons += [f"{stream.address}: {stream.problem}" for stream in self.streams.values() if stream.problem]
        more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        return "; ".join(" ".join(reason.split()) for reason in reasons[:3]) + more

    async def resolve(self) -> None:
        """Looks up all names, opens streams to workers that are new, and ends those to workers that have gone."""
        names: dict[str, str] = {}
        for endpoint in self._endpoints:
            try:
                names.update(dict.fromkeys(await endpoint.resolve(), endpoint.server_name))
                self._unresolved.pop(endpoint, None)
            except OSError as error:
                self._unresolved[endpoint] = error.strerror or str(error)
        for address in names.keys() - self.streams.keys():
            self.streams[address] = self._connect(address, names[address])
        if self._unresolved:  # A name service that fails for a moment takes nobody's work away.
            return
        for address in self.streams.keys() - names.keys():
            stream = self.streams[address]
            if not stream.slots and not stream.outstanding:
                del self.streams[address]
                closing = asyncio.create_task(stream.close())
                self._retired.add(closing)
                closing.add_done_callback(self._retired.discard)

    async def close(self) -> None:
        """Ends all streams."""
        await asyncio.gather(*(stream.close() for stream in self.streams.values()), *self._retired)
