"""Object stores: S3, Google Cloud Storage, Azure and other stores that fsspec supports.

The store's own library handles credentials, endpoints and retries of single requests. Objects are written atomically,
so a failed write can be retried.
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

#: The package of each URL scheme, and the extra that installs it.
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
#: Pauses between the attempts of a write or a read.
_PAUSES_S = (1.0, 4.0, 15.0)
#: Error texts of full stores, for which retries are useless.
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

            # Listings must come from the store, not from a cache.
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
        """Return the names and sizes of the objects in the folder `prefix`."""
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
        """Return the content of an object; None: it does not exist."""

        def content() -> bytes | None:
            try:
                found: bytes = self._files.cat_file(self._path(name))
            except FileNotFoundError:
                return None
            return found

        return self._tried(content, f"read {self.url}/{name}")

    def read_json(self, name: str) -> Any:
        """Return the JSON content of an object; None: it does not exist, or is not JSON."""
        try:
            return json.loads(self.read(name) or b"null")
        except ValueError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write an object."""
        self._tried(lambda: self._files.pipe_file(self._path(name), data), f"write {self.url}/{name}")

    def create(self, name: str, data: bytes) -> bool:
        """Create an object; return False if it already exists."""

        def created() -> bool:
            try:
                self._files.pipe_file(self._path(name), data, mode="create")
            except FileExistsError:
                # If a response was lost, the object may come from our own earlier attempt.
                return bool(self._files.cat_file(self._path(name)) == data)
            return True

        return self._tried(created, f"write {self.url}/{name}")

    def upload(self, path: Path, name: str) -> None:
        """Write an object from a file, and check its size."""

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
        """Return the result of an action, which is retried after transient errors.

        Raises:
            InputError: the action fails permanently; the message is one line.
        """
        for pause_s in (*_PAUSES_S, None):
            try:
                return action()
            except Exception as error:  # Each library has its own exceptions.
                reason = " ".join(str(error).split()) or type(error).__name__
                if _is_full(error, reason):
                    raise InputError(f"cannot {what}: the store is full ({reason[:200]})") from error
                if pause_s is None or _is_final(error):
                    raise InputError(f"cannot {what}: {reason[:300]}") from error
                _log.warning("cannot %s (%s); trying again in %g s", what, reason[:200], pause_s)
            self._sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")


def _is_final(error: Exception) -> bool:
    """Return whether an error is permanent: a wrong name, permission or credentials."""
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
