"""Results of tasks on disk: a result is a function of its task, so whoever needs it again does not render it again."""

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import zstandard
from google.protobuf.message import DecodeError
from metasim.v1 import render_pb2 as pb

from trainer.errors import InputError
from trainer.pool.client import RenderPool

_SUFFIX = ".results"
#: Share of the limit that is written until the folder is looked through again.
_PATIENCE = 20

_log = logging.getLogger(__name__)


class ResultCache:
    """A folder of results, bounded in size; those that were used longest ago go first. Processes may share it.

    Args:
        folder: is made if it does not exist.
        limit_bytes: size of all files together; passed by what processes write at the same time, a twentieth at most
            for each.

    Attributes:
        hits, misses: groups of tasks that were there, and that were rendered.

    Raises:
        InputError: the folder cannot be made.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.hits = self.misses = 0
        self._folder, self._limit = folder, limit_bytes
        self._written = 0
        self._full = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cache {folder}: {error.strerror or error}; choose another folder") from error
        self._trim()

    def render(self, pool: RenderPool, tasks: Sequence[pb.RenderTask]) -> list[pb.RenderResult]:
        """Return the results of tasks, in their order, from the folder or from the pool.

        Raises:
            RenderError: a task could not be rendered.
        """
        path = self._folder / f"{self._key(pool, tasks)}{_SUFFIX}"
        found = self._read(path)
        if found is not None and [result.id for result in found] == [task.id for task in tasks]:
            self.hits += 1
            return found
        self.misses += 1
        results = pool.render(tasks)
        self._write(path, results)
        return results

    @staticmethod
    def _key(pool: RenderPool, tasks: Sequence[pb.RenderTask]) -> str:
        """Return a hash of what the results depend on: the tasks, the engine, its version and its device."""
        digest = hashlib.sha256(pool.kinds.encode())
        for task in tasks:
            data = task.SerializeToString(deterministic=True)
            digest.update(len(data).to_bytes(8, "big") + data)
        return digest.hexdigest()

    @staticmethod
    def _read(path: Path) -> list[pb.RenderResult] | None:
        """Return the results in a file; None: there is none, or it is damaged."""
        try:
            data = zstandard.ZstdDecompressor().decompress(path.read_bytes())
            replies = pb.RenderReplies.FromString(data).replies
            os.utime(path)
        except (OSError, zstandard.ZstdError, DecodeError):
            return None
        return [reply.result for reply in replies]

    def _write(self, path: Path, results: Sequence[pb.RenderResult]) -> None:
        replies = pb.RenderReplies(replies=[pb.RenderReply(result=result) for result in results])
        data = zstandard.ZstdCompressor(level=1, write_checksum=True).compress(replies.SerializeToString())
        if len(data) > self._limit:
            return
        self._written += len(data)
        if self._written > self._limit // _PATIENCE:
            self._trim(len(data))
        try:
            descriptor, name = tempfile.mkstemp(dir=self._folder)
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(data)
            Path(name).replace(path)
        except OSError as error:  # The results are there; they are rendered again when they are needed again.
            with contextlib.suppress(OSError, UnboundLocalError):
                Path(name).unlink()
            if not self._full:
                _log.warning("cache %s: %s; results are not kept", self._folder, error.strerror or error)
            self._full = True

    def _trim(self, room: int = 0) -> None:
        """Delete the files that were used longest ago until the others and `room` bytes fit."""
        self._written = room
        files = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(OSError):  # Another process has deleted it.
                if entry.name.endswith(_SUFFIX):
                    status = entry.stat()
                    files.append((status.st_mtime_ns, status.st_size, entry.path))
        size = sum(length for _, length, _ in files) + room
        for _, length, path in sorted(files):
            if size <= self._limit - self._limit // _PATIENCE:
                return
            with contextlib.suppress(OSError):
                Path(path).unlink()
            size -= length
