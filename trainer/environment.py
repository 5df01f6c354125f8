"""Settings from environment variables. No other module of the trainer reads the environment."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Settings of the machine, not of a run: they change where files are found, never a result."""

    #: METASIM_DATA: folder of datasets; MNIST is in its folder `mnist`.
    data: Path | None = None
    #: METASIM_MNIST: folder of MNIST's four idx files.
    mnist: Path | None = None
    #: XDG_CACHE_HOME/metasim, or ~/.cache/metasim: folder of fetched data.
    cache: Path = Path("~/.cache/metasim")
    #: METASIM_TLS_CA: file of trusted certificates, or "system"; turns TLS on.
    tls_ca: str | None = None
    #: METASIM_TLS_CERT: file of the trainer's own certificate.
    tls_cert: Path | None = None
    #: METASIM_TLS_KEY: file of that certificate's key.
    tls_key: Path | None = None
    #: METASIM_TOKEN_FILE: file of the workers' token.
    token_file: Path | None = None
    #: METASIM_TOKEN: the token itself.
    token: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Return the settings; empty variables count as unset."""
        variables = os.environ if environment is None else environment

        def path(name: str) -> Path | None:
            return expanded(Path(variables[name])) if variables.get(name) else None

        cache = path("XDG_CACHE_HOME") or _home_cache()
        return cls(
            data=path("METASIM_DATA"),
            mnist=path("METASIM_MNIST"),
            cache=cache / "metasim",
            tls_ca=variables.get("METASIM_TLS_CA") or None,
            tls_cert=path("METASIM_TLS_CERT"),
            tls_key=path("METASIM_TLS_KEY"),
            token_file=path("METASIM_TOKEN_FILE"),
            token=variables.get("METASIM_TOKEN") or None,
        )


def expanded(path: Path) -> Path:
    """Return a path with ~ replaced by the home directory, or as it is where there is no such home."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def _home_cache() -> Path:
    """Return ~/.cache, or a temporary folder where the user has no home."""
    cache = expanded(Path("~/.cache"))
    return cache if cache.is_absolute() else Path(tempfile.gettempdir()) / f"cache-{os.getuid()}"


def checkout() -> Path | None:
    """Return the root of the repository if the trainer runs from one."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "pyproject.toml").is_file() and (root / "grammars").is_dir() else None


def shipped_files() -> dict[str, Path]:
    """Return the files of the grammars and experiments that ship, by name, without reading them."""
    root = checkout()
    folder = root / "grammars" if root else Path(__file__).resolve().parent / "grammars"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}
