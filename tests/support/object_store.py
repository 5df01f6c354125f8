"""An S3 server on this machine (moto's), in front of which requests fail as a test tells."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

#: What a fault does with a request: "drop" its connection before, or "lose" its answer after it was carried out;
#: "full": the store has no room; None: nothing.
Fault = Callable[[str, str], str | None]

_FULL = (
    b'<?xml version="1.0"?><Error><Code>XMinioStorageFull</Code><Message>Storage backend has reached its minimum free '
    b"drive threshold. Please delete a few objects to proceed.</Message></Error>"
)


def no_fault(method: str, path: str) -> str | None:  # noqa: ARG001
    """Requests are carried out."""
    return None


@dataclass
class Faults:
    """What happens to requests. `fault` gets their method and path."""

    fault: Fault = no_fault
    writes: list[str] = field(default_factory=list)


class FaultyApp:
    """A WSGI application before another one."""

    def __init__(self, app: Any, faults: Faults) -> None:
        self._app, self._faults = app, faults

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        fault = self._faults.fault(method, path)
        if fault == "drop":
            _drop(environ)
            return []
        if fault == "full":
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("507 Insufficient Storage", [("Content-Type", "application/xml")])
            return [_FULL]
        answer = list(self._app(environ, start_response))
        if method == "PUT":
            self._faults.writes.append(path)
        if fault == "lose":
            _drop(environ)
        return answer


def _drop(environ: dict[str, Any]) -> None:
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


@contextmanager
def s3_server() -> Iterator[tuple[str, Faults]]:
    """Serve S3 from memory; yield the URL of the server, and what happens to its requests."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
            pass

    faults = Faults()
    app = FaultyApp(DomainDispatcherApplication(create_backend_app), faults)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.port}", faults
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
