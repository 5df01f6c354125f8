"""How the pool and its workers prove to each other who they are.

METASIM_TLS_CA                     turns TLS on: a PEM file of certificates to trust, or "system" for this machine's
METASIM_TLS_CERT, METASIM_TLS_KEY  the trainer's own certificate and key, for workers that ask for one (mutual TLS)
METASIM_TOKEN_FILE, METASIM_TOKEN  the token that the workers were started with
"""

from dataclasses import dataclass, field
from pathlib import Path

import grpc

from trainer.errors import InputError
from trainer.settings import Settings

#: Value of METASIM_TLS_CA that stands for the certificates that this machine trusts.
SYSTEM = "system"


@dataclass(frozen=True)
class Security:
    """What a connection to workers is protected by. The default: nothing.

    Attributes:
        ca: file of the certificates to trust, or "system"; None: no TLS.
        cert, key: files of the trainer's own certificate and its key.
        token: bearer token.
    """

    ca: str | None = None
    cert: Path | None = None
    key: Path | None = None
    token: str | None = field(default=None, repr=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Security":
        """What the environment says.

        Raises:
            InputError: a file cannot be read, or one is named without the other that it needs.
        """
        if (settings.tls_cert is None) != (settings.tls_key is None):
            raise InputError("METASIM_TLS_CERT and METASIM_TLS_KEY belong together; only one of them is set")
        if settings.tls_cert is not None and settings.tls_ca is None:
            raise InputError("METASIM_TLS_CERT needs METASIM_TLS_CA, the certificate that the workers' are signed by")
        token = settings.token
        if settings.token_file is not None:
            token = _read(settings.token_file, "METASIM_TOKEN_FILE").decode("utf-8", "replace").strip()
        if token is not None and not (token and token.isascii() and token.isprintable()):
            raise InputError("the token (METASIM_TOKEN_FILE, METASIM_TOKEN) must be one line of printable ASCII")
        security = cls(settings.tls_ca, settings.tls_cert, settings.tls_key, token)
        security.credentials()  # So that what is wrong with the files is said at once.
        return security

    @property
    def encrypted(self) -> bool:
        """Whether TLS is on."""
        return self.ca is not None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes along with each call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def credentials(self) -> grpc.ChannelCredentials | None:
        """For a channel; None without TLS.

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
