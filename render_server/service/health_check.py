"""The health check of container images: `python -m render_server.service.health_check [HOST:PORT]`.

Exit status 0: the worker takes tasks. 1: it does not, and one line on standard error says why. The default address is
127.0.0.1:50051. TLS follows METASIM_RENDER_TLS_CERT and METASIM_RENDER_TLS_KEY. For mutual TLS the check presents
METASIM_TLS_CERT and METASIM_TLS_KEY if both are set, else the worker's own certificate, which then must be valid for
clients too.
"""

import os
import socket
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

#: How long a worker may take to answer.
TIMEOUT_S = 4.0


def problem(address: str, environment: Mapping[str, str]) -> str | None:
    """Return why the worker at `address` takes no tasks; None if it does."""
    try:
        with _channel(address, environment) as channel:
            request = health_pb2.HealthCheckRequest(service="metasim.v1.Renderer")
            status = health_pb2_grpc.HealthStub(channel).Check(request, timeout=TIMEOUT_S).status
    except grpc.RpcError as error:
        return f"{address}: {error.code().name}: {error.details()}"
    except OSError as error:
        return f"{address}: {error}"
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(status)
    return None if name == "SERVING" else f"{address}: {name}"


def _channel(address: str, environment: Mapping[str, str]) -> grpc.Channel:
    certificate = environment.get("METASIM_RENDER_TLS_CERT")
    options: list[tuple[str, int | str]] = [("grpc.enable_http_proxy", 0)]
    if not certificate:
        return grpc.insecure_channel(address, options)
    own = environment.get("METASIM_TLS_CERT"), environment.get("METASIM_TLS_KEY")
    shown, key = own if all(own) else (certificate, environment.get("METASIM_RENDER_TLS_KEY"))
    credentials = grpc.ssl_channel_credentials(
        # Trust the worker's own certificate, whoever has signed it.
        root_certificates=Path(certificate).read_bytes(),
        private_key=Path(key).read_bytes() if key and shown else None,
        certificate_chain=Path(shown).read_bytes() if key and shown else None,
    )
    # The certificate names the worker's host, not the loopback address.
    options += [("grpc.ssl_target_name_override", _name(address, certificate))]
    return grpc.secure_channel(address, credentials, options)


def _name(address: str, certificate: str) -> str:
    """Return a host name that the certificate is valid for.

    Raises:
        OSError: the worker does not answer, or presents another certificate.
    """
    context = ssl.create_default_context(cafile=certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT_S) as plain,
        context.wrap_socket(plain) as encrypted,
    ):
        found: Mapping[str, Any] = encrypted.getpeercert() or {}
    names = [name for kind, name in found.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    return names[0] if names else host


def main(arguments: list[str]) -> int:
    """Run the check and return the exit status."""
    found = problem(arguments[0] if arguments else "127.0.0.1:50051", os.environ)
    if found is not None:
        sys.stderr.write(" ".join(found.split()) + "\n")
    return 0 if found is None else 1


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    sys.exit(main(sys.argv[1:]))
