"""Protection of a worker: TLS, client certificates, a bearer token."""

import hmac
import ipaddress
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health

from render_server.counters import Counters
from render_server.errors import RenderServerError

_HEALTH = f"/{health.SERVICE_NAME}/"

_log = logging.getLogger(__name__)


class SecurityUnusable(RenderServerError):  # noqa: N818
    """The security options cannot be used, or would leave the worker open to other machines."""


@dataclass(frozen=True)
class Security:
    """Protection of a worker.

    Attributes:
        certificate, key: PEM of the server's certificate (chain) and its private key; empty: no TLS.
        client_ca: PEM of the authorities that must have signed a client's certificate; empty: clients need none.
        token: clients must send it as `authorization: Bearer TOKEN`; empty: clients need none.
    """

    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)
    client_ca: bytes = b""
    token: bytes = field(default=b"", repr=False)

    @property
    def encrypted(self) -> bool:
        """Whether connections use TLS."""
        return bool(self.certificate)

    @property
    def authenticated(self) -> bool:
        """Return whether clients must authenticate."""
        return bool(self.client_ca or self.token)

    def credentials(self) -> grpc.ServerCredentials | None:
        """Return the credentials to listen with; None without TLS."""
        if not self.certificate:
            return None
        pair = [(self.key, self.certificate)]
        return grpc.ssl_server_credentials(pair, self.client_ca or None, require_client_auth=bool(self.client_ca))


def load_security(
    tls_cert: Path | None, tls_key: Path | None, tls_client_ca: Path | None, token_file: Path | None
) -> Security:
    """Read the files that the options name.

    Raises:
        SecurityUnusable: a file cannot be read or used, or an option needs another one.
    """
    if (tls_cert is None) != (tls_key is None):
        given, missing = ("--tls-cert", "--tls-key") if tls_key is None else ("--tls-key", "--tls-cert")
        raise SecurityUnusable(f"{given} is given without {missing}; TLS needs both")
    if tls_client_ca is not None and tls_cert is None:
        raise SecurityUnusable("--tls-client-ca is given without --tls-cert and --tls-key; mutual TLS needs all three")
    certificate, key = _content("--tls-cert", tls_cert), _content("--tls-key", tls_key)
    if tls_cert is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(tls_cert, tls_key, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            reason = f"{error.reason or error}" if isinstance(error, ssl.SSLError) else str(error)
            raise SecurityUnusable(
                f"--tls-cert {tls_cert} and --tls-key {tls_key} are not a PEM certificate and its key ({reason})"
            ) from error
    if tls_client_ca is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(tls_client_ca)
        except ssl.SSLError as error:
            raise SecurityUnusable(f"--tls-client-ca {tls_client_ca} contains no PEM certificate") from error
    return Security(certificate, key, _content("--tls-client-ca", tls_client_ca), _token(token_file))


def refuse_exposure(host: str, security: Security, *, insecure: bool) -> None:
    """Refuse to listen to other machines without protection.

    Raises:
        SecurityUnusable: other machines can reach the host, and there is no TLS, no token and no `insecure`.
    """
    if is_loopback(host):
        return
    if not (security.encrypted or security.authenticated or insecure):
        raise SecurityUnusable(
            f"--host {host} accepts other machines without TLS or a token; add --tls-cert and --tls-key, or "
            "--token-file, or --insecure if every machine in the network is trusted"
        )
    if not security.encrypted and security.token:
        _log.warning(
            "the token travels unencrypted, so that anyone on the network can read it; add --tls-cert and --tls-key"
        )
    elif not security.authenticated:
        _log.warning("every machine that can reach %s may use this worker, because there is no token", host)


def is_loopback(host: str) -> bool:
    """Return whether a name or an address can only be reached from this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


class TokenCheck(grpc.aio.ServerInterceptor):
    """Refuses calls without the token, except for health checks: orchestrators have no token.

    Args:
        token: the expected token.
        counters: counts the refused calls.
    """

    def __init__(self, token: bytes, counters: Counters) -> None:
        self._expected = b"Bearer " + token
        self._counters = counters

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Return the handler of the call, or one that refuses it."""
        if handler_call_details.method.startswith(_HEALTH):
            return await continuation(handler_call_details)
        given = dict(handler_call_details.invocation_metadata or ()).get("authorization", "")
        given_bytes = given if isinstance(given, bytes) else given.encode()
        if hmac.compare_digest(given_bytes, self._expected):
            return await continuation(handler_call_details)
        self._counters.refused_calls["token"] += 1
        return _REFUSE_WRONG if given else _REFUSE_MISSING


def _refusal(text: str) -> grpc.RpcMethodHandler:
    async def refuse(requests: object, context: grpc.aio.ServicerContext) -> None:  # noqa: ARG001
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, text)

    # A handler of streams serves calls of every kind, and does not wait for a first message.
    return grpc.stream_stream_rpc_method_handler(refuse)


_REFUSE_MISSING = _refusal("this worker requires a token in the metadata 'authorization: Bearer TOKEN'")
_REFUSE_WRONG = _refusal("the token in the metadata 'authorization' is not this worker's")


def _content(option: str, path: Path | None) -> bytes:
    if path is None:
        return b""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SecurityUnusable(f"{option} {path} cannot be read: {error.strerror}") from error


def _token(path: Path | None) -> bytes:
    if path is None:
        return b""
    token = _content("--token-file", path).strip()
    if not token or not all(33 <= byte <= 126 for byte in token):
        raise SecurityUnusable(
            f"--token-file {path} contains no token; it must be one word of printable ASCII, "
            "for example from `openssl rand -hex 32`"
        )
    return token


def _no_password() -> str:
    raise ValueError("the key has a passphrase; use one without")
