"""Authentication between the pool and its workers: TLS certificates and bearer tokens.

METASIM_TLS_CA                     turns TLS on: a PEM file of certificates to trust, or "system" for this machine's
METASIM_TLS_CERT, METASIM_TLS_KEY  the trainer's own certificate and key, for workers that require one (mutual TLS)
METASIM_TOKEN_FILE, METASIM_TOKEN  the token of the workers
"""

from dataclasses import dataclass, field
from pathlib import Path

import grpc

from trainer.environment import Settings
from trainer.errors import InputError

#: Value of METASIM_TLS_CA for the certificates that this machine trusts.
SYSTEM = "system"


@dataclass(frozen=True)
class Security:
    """Certificates and token of the connections to workers. Default: neither.

    Attributes:
        ca: file of trusted certificates, or "system"; None: no TLS.
        cert, key: files of the trainer's own certificate and its key.
        token: bearer token.
    """

    ca: str | None = None
    cert: Path | None = None
    key: Path | None = None
    token: str | None = field(default=None, repr=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Security":
        """Return what the environment specifies.

        Raises:
            InputError: a file cannot be read, or a variable is set without another that it needs.
        """
        if (settings.tls_cert is None) != (settings.tls_key is None):
            raise InputError("METASIM_TLS_CERT and METASIM_TLS_KEY must both be set; only one is")
        if settings.tls_cert is not None and settings.tls_ca is None:
            raise InputError("METASIM_TLS_CERT needs METASIM_TLS_CA, the certificate that signed those of the workers")
        token = settings.token
        if settings.token_file is not None:
            token = _read(settings.token_file, "METASIM_TOKEN_FILE").decode("utf-8", "replace").strip()
        if token is not None and not (token and token.isascii() and token.isprintable()):
            raise InputError("the token (METASIM_TOKEN_FILE, METASIM_TOKEN) must be one line of printable ASCII")
        security = cls(settings.tls_ca, settings.tls_cert, settings.tls_key, token)
        security.credentials()  # Reports unreadable files at once.
        return security

    @property
    def encrypted(self) -> bool:
        """Return whether TLS is used."""
        return self.ca is not None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata of each call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Return the credentials of a channel, or None without TLS.

        Raises:
            InputError: a file cannot be read.
        """
        if self.ca is None:
            return None
        return grpc.ssl_channel_credentials(
            None if self.ca == SYSTEM else _read(Path(self.ca), "METASIM_TLS_CA"),
            None if self.key is None else _read(self.key, "METASIM_TLS_KEY"),
            None if self.cert is None else _read(self.cert, "METASIM_TLS_CERT"),
        )


def _read(path: Path, variable: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{variable} names {path}, which cannot be read: {error.strerror}") from None
