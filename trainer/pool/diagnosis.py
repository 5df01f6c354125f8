"""Why a worker cannot be talked to, in words that say what to do. gRPC itself only says that it has failed."""

import contextlib
import socket
import ssl

from trainer.pool.security import SYSTEM, Security

#: How long a worker may take to shake hands.
_TIMEOUT_S = 3.0

#: What OpenSSL calls it, and what to do about it.
_ADVICE = {
    "certificate has expired": "the worker's certificate has expired: start it with a new one",
    "self-signed certificate": "its certificate is not signed by one in METASIM_TLS_CA",
    "self-signed certificate in certificate chain": "its certificate is not signed by one in METASIM_TLS_CA",
    "unable to get local issuer certificate": "its certificate is not signed by one in METASIM_TLS_CA",
    "certificate is not yet valid": "the worker's certificate is not valid yet: compare the clocks",
}

_ASKED_FOR_CERTIFICATE = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE")
_REFUSED_CERTIFICATE = ("UNKNOWN_CA", "CERTIFICATE_UNKNOWN", "BAD_CERTIFICATE", "CERTIFICATE_EXPIRED")


def tls_problem(target: str, name: str, security: Security) -> str | None:
    """Shakes hands with a worker as `security` says; blocks for seconds at most.

    Args:
        target: gRPC target, as `Endpoint.resolve` returns it.
        name: the worker's name, which its certificate is made out to.
        security: how to talk to it.

    Returns:
        What is wrong about certificates or about one side's using TLS; None: nothing, or the worker is out of reach.
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
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # Only to see whether it talks TLS at all.
    context.set_alpn_protocols(["h2"])
    with contextlib.suppress(OSError), context.wrap_socket(plain):
        return "it wants TLS: set METASIM_TLS_CA to the certificate that its own is signed by"
    return None


def _with_tls(plain: socket.socket, name: str, security: Security) -> str | None:
    context = ssl.create_default_context(cafile=None if security.ca == SYSTEM else security.ca)
    context.set_alpn_protocols(["h2"])
    if security.cert is not None:
        context.load_cert_chain(security.cert, security.key)
    try:
        with context.wrap_socket(plain, server_hostname=name) as encrypted:
            encrypted.recv(1)  # A worker that refuses our certificate says so only after the handshake.
    except ssl.SSLCertVerificationError as error:
        reason = error.verify_message
        return _ADVICE.get(reason, f"its certificate is refused: {reason}")
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        if reason in {"WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE"}:
            return "it does not talk TLS: unset METASIM_TLS_CA, or start it with --tls-cert and --tls-key"
        if security.cert is None and any(word in reason for word in _ASKED_FOR_CERTIFICATE):
            return "it wants a certificate of ours: set METASIM_TLS_CERT and METASIM_TLS_KEY"
        if any(word in reason for word in (*_REFUSED_CERTIFICATE, *_ASKED_FOR_CERTIFICATE)):
            return "it refuses the certificate in METASIM_TLS_CERT: it must be signed by one in its --tls-client-ca"
        return f"the TLS handshake fails: {reason}"
    except TimeoutError:
        return None
    except OSError:
        return "it does not talk TLS: unset METASIM_TLS_CA, or start it with --tls-cert and --tls-key"
    return None
