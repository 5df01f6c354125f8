"""The set of workers: a stream for each address that the endpoints resolve to."""

import asyncio
from collections.abc import Callable, Sequence

from trainer.pool.resolver import Endpoint
from trainer.pool.stream import WorkerStream


class Membership:
    """The streams to all workers.

    Args:
        endpoints: endpoints that the user named.
        connect: returns the stream to a target, given the name that its certificate must be issued to.

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
        """Return the number of workers that accept tasks."""
        return sum(stream.slots > 0 for stream in self.streams.values())

    @property
    def processes_up(self) -> int:
        """Return the number of tasks that they render at the same time."""
        return sum(max(1, stream.processes) for stream in self.streams.values() if stream.slots > 0)

    @property
    def answers(self) -> bool:
        """Return whether a worker answers, ready or not."""
        return any(stream.connected for stream in self.streams.values())

    @property
    def failed(self) -> bool:
        """Return whether a worker was reached, and failed."""
        return any(stream.failed for stream in self.streams.values())

    @property
    def refused(self) -> bool:
        """Return whether every worker refuses the client, so that waiting does not help."""
        streams = self.streams.values()
        return bool(streams) and not self._unresolved and all(stream.refused for stream in streams)

    def problems(self) -> str:
        """Return why no worker accepts tasks, in a few words."""
        reasons = [f"{endpoint.host}: {reason}" for endpoint, reason in self._unresolved.items()]
        reasons += [f"{stream.address}: {stream.problem}" for stream in self.streams.values() if stream.problem]
        more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        return "; ".join(" ".join(reason.split()) for reason in reasons[:3]) + more

    async def resolve(self) -> None:
        """Resolve all names, open streams to new workers, and end the streams to workers that have gone."""
        names: dict[str, str] = {}
        for endpoint in self._endpoints:
            try:
                names.update(dict.fromkeys(await endpoint.resolve(), endpoint.server_name))
                self._unresolved.pop(endpoint, None)
            except OSError as error:
                self._unresolved[endpoint] = error.strerror or str(error)
        for address in names.keys() - self.streams.keys():
            self.streams[address] = self._connect(address, names[address])
        if self._unresolved:  # A failing name service must not remove workers.
            return
        for address in self.streams.keys() - names.keys():
            stream = self.streams[address]
            if not stream.slots and not stream.outstanding:
                del self.streams[address]
                closing = asyncio.create_task(stream.close())
                self._retired.add(closing)
                closing.add_done_callback(self._retired.discard)

    async def close(self) -> None:
        """End all streams."""
        await asyncio.gather(*(stream.close() for stream in self.streams.values()), *self._retired)
