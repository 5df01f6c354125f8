"""Object stores: S3, Google Cloud Storage, Azure and whatever else fsspec knows.

Credentials, end points and retries of single requests are those of the store's own library. An object is written whole
or not at all, so a write that failed is tried again.
"""

import errno
import json
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from trainer.errors import InputError

Result = TypeVar("Result")

#: The package of each scheme, and the extra that installs it.
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
#: Pauses between the attempts of a write or a read.
_PAUSES_S = (1.0, 4.0, 15.0)
#: What stores say where no more fits; trying again does not help.
_FULL = ("storagefull", "quotaexceeded", "insufficient storage", "no space left", "507")

_log = logging.getLogger(__name__)


class ObjectStore:
    """The objects below a URL. Names are relative to it and have slashes.

    Args:
        url: such as `s3://bucket/folder`.
        sleep: waits between attempts.

    Raises:
        InputError: the URL's scheme is unknown, or its package is not installed.
    """

    def __init__(self, url: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self.url = url.rstrip("/")
        self._sleep = sleep
        scheme = url.partition("://")[0]
        try:
            import fsspec

            # Listings must be those of the store, not of an earlier call.
            self._files, self._root = fsspec.core.url_to_fs(
                self.url, use_listings_cache=False, skip_instance_cache=scheme != "memory"
            )
        except ImportError as error:
            package = _PACKAGES.get(scheme, "fsspec")
            extra = "pip install 'metasim[cloud]'" if package == "s3fs" else f"pip install fsspec {package}"
            raise InputError(f"{url} needs the package {package} ({error}); {extra}") from error
        except ValueError as error:
            raise InputError(f"{url}: {error}; such as s3://BUCKET/NAME, gs://BUCKET/NAME, az://BUCKET/NAME") from error

    def names(self, prefix: str) -> dict[str, int]:
        """Return the names and sizes of the objects below a prefix, which ends where a slash follows."""
        root = self._path(prefix)

        def listed() -> dict[str, int]:
            try:
                found = self._files.find(root, detail=True)
            except FileNotFoundError:
                return {}
            below = f"{root.strip('/')}/"
            return {
                f"{prefix}/{path.strip('/').removeprefix(below)}": int(info["size"])
                for path, info in sorted(found.items())
                if path.strip("/").startswith(below)
            }

        return self._tried(listed, f"read {self.url}/{prefix}")

    def read(self, name: str) -> bytes | None:
        """Return the content of an object; None: there is none."""

        def content() -> bytes | None:
            try:
                found: bytes = self._files.cat_file(self._path(name))
            except FileNotFoundError:
                return None
            return found

        return self._tried(content, f"read {self.url}/{name}")

    def read_json(self, name: str) -> Any:
        """Return the values of an object; None: there is none, or it is not JSON."""
        try:
            return json.loads(self.read(name) or b"null")
        except ValueError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write an object."""
        self._tried(lambda: self._files.pipe_file(self._path(name), data), f"write {self.url}/{name}")

    def create(self, name: str, data: bytes) -> bool:
        """Write an object that does not exist; return False if it does."""

        def created() -> bool:
            try:
                self._files.pipe_file(self._path(name), data, mode="create")
            except FileExistsError:
                # An answer that was lost makes an attempt of ours look like somebody else's.
                return bool(self._files.cat_file(self._path(name)) == data)
            return True

        return self._tried(created, f"write {self.url}/{name}")

    def upload(self, path: Path, name: str) -> None:
        """Write an object from a file, and check that all of it has arrived."""

        def uploaded() -> None:
            self._files.put_file(str(path), self._path(name))
            size = self._files.info(self._path(name))["size"]
            if size != path.stat().st_size:
                raise OSError(f"{size} bytes of {path.stat().st_size} have arrived")

        self._tried(uploaded, f"write {self.url}/{name}")

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects that exist."""
        paths = [self._path(name) for name in names]
        if paths:
            self._tried(lambda: self._files.rm(paths), f"delete {self.url}")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _tried(self, action: Callable[[], Result], what: str) -> Result:
        """Return what an action returns; try again if it fails for a reason that may pass.

        Raises:
            InputError: it fails for good; one line.
        """
        for pause_s in (*_PAUSES_S, None):
            try:
                return action()
            except Exception as error:  # Each library has exceptions of its own.
                reason = " ".join(str(error).split()) or type(error).__name__
                if _is_full(error, reason):
                    raise InputError(f"cannot {what}: the store is full ({reason[:200]})") from error
                if pause_s is None or _is_final(error):
                    raise InputError(f"cannot {what}: {reason[:300]}") from error
                _log.warning("cannot %s (%s); trying again in %g s", what, reason[:200], pause_s)
            self._sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")


def _is_final(error: Exception) -> bool:
    """Return whether another attempt would fail as well: a name, a permission or credentials are wrong."""
    if isinstance(error, PermissionError | FileNotFoundError | NotImplementedError):
        return True
    # Each library has its own classes: NoCredentialsError, DefaultCredentialsError, ClientAuthenticationError ...
    return any(word in type(error).__name__ for word in ("Credential", "Authentication"))


def _is_full(error: BaseException | None, reason: str) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        response = getattr(error, "response", None)
        reason += f" {response.get('Error', {}).get('Code', '')}" if isinstance(response, dict) else ""
        error = error.__cause__
    return any(text in reason.lower() for text in _FULL)
