"""From what the user wrote to the addresses of workers, as of now.

gRPC's own resolver does not notice workers that are added to a running pool, so names are looked up here,
again and again.
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
    """A place where workers listen: one address or a name of many.

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
        """What a certificate of its workers must be made out to."""
        return self.host or "localhost"

    async def resolve(self) -> set[str]:
        """gRPC targets of all workers behind the name; those of IPv6 only if there is none of IPv4.

        Raises:
            OSError: the name is not known.
        """
        if self.path:
            return {str(self)}
        with contextlib.suppress(ValueError):
            version = ipaddress.ip_address(self.host).version
            return {f"ipv4:{self.host}:{self.port}" if version == 4 else f"ipv6:[{self.host}]:{self.port}"}
        found = await asyncio.get_running_loop().getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        # A name like localhost has both, and two streams to one worker would count it twice.
        for family, form in ((socket.AF_INET, "ipv4:{}:{}"), (socket.AF_INET6, "ipv6:[{}]:{}")):
            targets = {form.format(*entry[4][:2]) for entry in found if entry[0] == family}
            if targets:
                return targets
        return set()


def parse_endpoints(text: str) -> list[Endpoint]:
    """Reads `host:port`, `dns:///host:port` or `unix:path`, or several of these separated by commas.

    Raises:
        InputError: it is none of them.
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
