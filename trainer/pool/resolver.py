"""Parses endpoints and resolves them to the addresses of workers.

gRPC's own resolver does not notice workers that are added while a stream is open, so the pool resolves names itself,
every few seconds.
"""

import asyncio
import contextlib
import ipaddress
import socket
from dataclasses import dataclass

from trainer.errors import InputError

_EXAMPLE = "write HOST:PORT, e.g. 127.0.0.1:50051, or several of them separated by commas"


@dataclass(frozen=True)
class Endpoint:
    """An address of a worker, or a name that stands for the addresses of many.

    Attributes:
        host: name or address; empty for a Unix socket.
        port: port, 1 to 65535; 0 for a Unix socket.
        path: the Unix socket, else empty.
    """

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def server_name(self) -> str:
        """Return the name that the certificates of its workers must be issued to."""
        return self.host or "localhost"

    async def resolve(self) -> set[str]:
        """Return the gRPC targets of all workers behind the name; IPv6 addresses only if there are no IPv4 ones.

        Raises:
            OSError: the name cannot be resolved.
        """
        if self.path:
            return {str(self)}
        with contextlib.suppress(ValueError):
            version = ipaddress.ip_address(self.host).version
            return {f"ipv4:{self.host}:{self.port}" if version == 4 else f"ipv6:[{self.host}]:{self.port}"}
        found = await asyncio.get_running_loop().getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        # A name such as localhost has both, and two streams to one worker would count it twice.
        for family, form in ((socket.AF_INET, "ipv4:{}:{}"), (socket.AF_INET6, "ipv6:[{}]:{}")):
            targets = {form.format(*entry[4][:2]) for entry in found if entry[0] == family}
            if targets:
                return targets
        return set()


def parse_endpoints(text: str) -> list[Endpoint]:
    """Parse `host:port`, `dns:///host:port` or `unix:path`, or several of these separated by commas.

    Raises:
        InputError: the text is none of these.
    """
    endpoints = [_parse(part.strip()) for part in text.split(",") if part.strip()]
    if not endpoints:
        raise InputError(f"renderer {text!r} names no endpoint; {_EXAMPLE}")
    return endpoints


def _parse(text: str) -> Endpoint:
    if text.startswith("unix:"):
        return Endpoint("", 0, text.removeprefix("unix:").removeprefix("//"))
    host, separator, port = text.removeprefix("dns:").lstrip("/").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if "/" in host:
        raise InputError(f"renderer {text!r} is a URL; {_EXAMPLE}")
    if not separator or not host:
        raise InputError(f"renderer {text!r} has no host or no port; {_EXAMPLE}")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise InputError(f"renderer {text!r} has the port {port!r}; it must be from 1 to 65535")
    return Endpoint(host, int(port))
