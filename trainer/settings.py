"""What the trainer takes from the environment. Nothing else in the trainer reads it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Settings of the machine, not of a run: they never change a result, only where files are found."""

    #: METASIM_DATA: a folder of data sets, MNIST in its folder `mnist`.
    data: Path | None = None
    #: METASIM_MNIST: the folder of MNIST's four idx files.
    mnist: Path | None = None
    #: XDG_CACHE_HOME/metasim, or ~/.cache/metasim: where fetched data goes.
    cache: Path = Path("~/.cache/metasim")
    #: METASIM_TLS_CA: a file of certificates to trust workers by, or "system"; turns TLS on.
    tls_ca: str | None = None
    #: METASIM_TLS_CERT: the file of the trainer's own certificate.
    tls_cert: Path | None = None
    #: METASIM_TLS_KEY: the file of that certificate's key.
    tls_key: Path | None = None
    #: METASIM_TOKEN_FILE: a file that holds the token of the workers.
    token_file: Path | None = None
    #: METASIM_TOKEN: the token itself.
    token: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Reads the variables; empty ones count as unset."""
        variables = os.environ if environment is None else environment

        def path(name: str) -> Path | None:
            return Path(variables[name]).expanduser() if variables.get(name) else None

        cache = path("XDG_CACHE_HOME")
        return cls(
            data=path("METASIM_DATA"),
            mnist=path("METASIM_MNIST"),
            cache=cache / "metasim" if cache else cls.cache.expanduser(),
            tls_ca=variables.get("METASIM_TLS_CA") or None,
            tls_cert=path("METASIM_TLS_CERT"),
            tls_key=path("METASIM_TLS_KEY"),
            token_file=path("METASIM_TOKEN_FILE"),
            token=variables.get("METASIM_TOKEN") or None,
        )


def checkout() -> Path | None:
    """The root of the repository, where the trainer runs from one."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "pyproject.toml").is_file() and (root / "grammars").is_dir() else None


def shipped_files() -> dict[str, Path]:
    """Return the files of the grammars and experiments that ship, by name, without reading them."""
    root = checkout()
    folder = root / "grammars" if root else Path(__file__).resolve().parent / "grammars"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}
