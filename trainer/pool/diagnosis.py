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

_NO_TLS = "it does not talk TLS: unset METASIM_TLS_CA, or start it with --tls-cert and --tls-key"


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
            # A worker that is content introduces itself; one that is not hangs up, often without a word.
            if encrypted.recv(1):
                return None
    except ssl.SSLCertVerificationError as error:
        return _ADVICE.get(error.verify_message, f"its certificate is refused: {error.verify_message}")
    except ssl.SSLError as error:
        if error.reason == "WRONG_VERSION_NUMBER":
            return _NO_TLS
    except TimeoutError:
        return None
    except OSError:
        return _NO_TLS
    if security.cert is None:
        return "it wants a certificate of ours: set METASIM_TLS_CERT and METASIM_TLS_KEY"
    return "it refuses the certificate in METASIM_TLS_CERT: it must be signed by one in its --tls-client-ca"
