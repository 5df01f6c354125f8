"""Finds out why a TLS connection fails and what to do about it. gRPC itself only reports that it failed."""

import contextlib
import socket
import ssl

from trainer.pool.security import SYSTEM, Security

#: Longest duration of a handshake.
_TIMEOUT_S = 3.0

#: OpenSSL's message, and what to do about it.
_ADVICE = {
    "certificate has expired": "the worker's certificate has expired: start it with a new one",
    "self-signed certificate": "its certificate is not signed by one in METASIM_TLS_CA",
    "self-signed certificate in certificate chain": "its certificate is not signed by one in METASIM_TLS_CA",
    "unable to get local issuer certificate": "its certificate is not signed by one in METASIM_TLS_CA",
    "certificate is not yet valid": "the worker's certificate is not valid yet: compare the clocks",
}

_NO_TLS = "it does not use TLS: unset METASIM_TLS_CA, or start it with --tls-cert and --tls-key"


def tls_problem(target: str, name: str, security: Security) -> str | None:
    """Try a TLS handshake with a worker. Blocks for a few seconds at most.

    Args:
        target: gRPC target, as `Endpoint.resolve` returns it.
        name: the worker's name, which its certificate must be issued to.
        security: certificates and token.

    Returns:
        What is wrong with the certificates or with the use of TLS. None if nothing is, or the worker is out of reach.
    """
    try:
        plain = _connect(target)
    except OSError:
        return None
    with plain:
        return _with_tls(plain, name, security) if security.encrypted else _without_tls(plain)


def _connect(target: str) -> socket.socket:
    if target.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_TIMEOUT_S)
        connection.connect(target.removeprefix("unix:"))
        return connection
    host, _, port = target.partition(":")[2].rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=_TIMEOUT_S)


def _without_tls(plain: socket.socket) -> str | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # Only to see whether it uses TLS at all.
    context.set_alpn_protocols(["h2"])
    with contextlib.suppress(OSError), _wrapped(context, plain):
        return "it requires TLS: set METASIM_TLS_CA to the certificate that signed its own"
    return None


def _wrapped(context: ssl.SSLContext, plain: socket.socket, name: str | None = None) -> ssl.SSLSocket:
    """Return the encrypted connection. One that has ended already would stay open in `wrap_socket`."""
    plain.getpeername()
    return context.wrap_socket(plain, server_hostname=name)


def _with_tls(plain: socket.socket, name: str, security: Security) -> str | None:
    context = ssl.create_default_context(cafile=None if security.ca == SYSTEM else security.ca)
    context.set_alpn_protocols(["h2"])
    if security.cert is not None:
        context.load_cert_chain(security.cert, security.key)
    try:
        with _wrapped(context, plain, name) as encrypted:
            # A worker that accepts the client sends its settings; one that does not hangs up, often without an alert.
            if encrypted.recv(1):
                return None
    except ssl.SSLCertVerificationError as error:
        return _ADVICE.get(error.verify_message, f"its certificate is not valid: {error.verify_message}")
    except ssl.SSLError as error:
        if error.reason == "WRONG_VERSION_NUMBER":
            return _NO_TLS
    except TimeoutError:
        return None
    except OSError:
        return _NO_TLS
    if security.cert is None:
        return "it requires a client certificate: set METASIM_TLS_CERT and METASIM_TLS_KEY"
    return "it refuses the certificate in METASIM_TLS_CERT: a certificate in its --tls-client-ca must have signed it"
