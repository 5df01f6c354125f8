"""A TCP proxy that does to connections what networks do: delay, cut, swallow, stall, slow down."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_CHUNK = 4096


@dataclass(frozen=True)
class Fault:
    """What befalls a connection, in both directions. The default: nothing."""

    #: Every chunk arrives that much later.
    delay_s: float = 0.0
    #: Bytes from the worker after which both sides are cut off.
    cut_after: int | None = None
    #: Bytes from the worker after which nothing arrives any more, though the connection stays open.
    stall_after: int | None = None
    #: Most bytes per second.
    bytes_per_s: float | None = None
    #: It is accepted, and that is all.
    swallow: bool = False
    #: It is accepted and closed at once.
    drop: bool = False


class FaultProxy:
    """Forwards connections to a worker.

    Args:
        target: HOST:PORT of the worker.
        fault_of: what befalls the connection of that number, counted from 0.

    Attributes:
        address: where it listens.
        connections: how many there have been.
    """

    def __init__(self, target: str, fault_of: Callable[[int], Fault]) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._fault_of = fault_of
        self._open: list[socket.socket] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Ends everything."""
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                fault = self._fault_of(self.connections)
                self.connections += 1
                self._open.append(client)
                if fault.drop:
                    client.close()
                elif not fault.swallow:
                    worker = socket.create_connection(self._target)
                    self._open.append(worker)
                    for source, sink, limits in ((worker, client, True), (client, worker, False)):
                        threading.Thread(target=_pump, args=(source, sink, fault, limits), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, fault: Fault, from_worker: bool) -> None:
    passed = 0
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            time.sleep(fault.delay_s + (len(data) / fault.bytes_per_s if fault.bytes_per_s else 0.0))
            passed += len(data)
            if from_worker and fault.stall_after is not None and passed > fault.stall_after:
                return  # Both ends stay open; nothing comes.
            if from_worker and fault.cut_after is not None and passed > fault.cut_after:
                sink.sendall(data[: len(data) // 2])
                break
            sink.sendall(data)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def faulty(target: str, *faults: Fault) -> Iterator[FaultProxy]:
    """A proxy whose first connections suffer these faults, one each; later ones suffer none."""
    proxy = FaultProxy(target, lambda number: faults[number] if number < len(faults) else Fault())
    try:
        yield proxy
    finally:
        proxy.close()
