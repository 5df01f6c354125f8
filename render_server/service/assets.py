"""The asset cache: files by content hash, in a folder of bounded size."""

import contextlib
from collections import Counter, OrderedDict
from collections.abc import Iterable
from pathlib import Path

from metasim.hashing import content_hash, is_content_hash

from render_server.checks.decoded_size import AssetRefused, AssetTooLarge, check_decoded_size
from render_server.limits import Limits


class AssetNotKept(AssetTooLarge):
    """The asset could not be written to the worker's disk."""


class AssetCache:
    """Keeps assets as files named by their hash; removes the least recently used ones when it is full.

    Args:
        folder: a folder that belongs to the cache alone.
        limits: `asset_bytes` for one asset, `cache_bytes` for all.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._sizes: OrderedDict[str, int] = OrderedDict()  # Least recently used first.
        self._pins: Counter[str] = Counter()
        self._total = 0

    @property
    def total_bytes(self) -> int:
        """Size of all assets that are kept."""
        return self._total

    def __contains__(self, name: str) -> bool:
        """Return whether the asset is kept. An asset whose file has vanished is not."""
        if name in self._sizes and not (self._folder / name).is_file():
            self._forget(name)
        return name in self._sizes

    def pin(self, names: Iterable[str]) -> None:
        """Keep these assets from being removed, whether they are here or still to come."""
        for name in names:
            self._pins[name] += 1
            if name in self._sizes:
                self._sizes.move_to_end(name)

    def unpin(self, names: Iterable[str]) -> None:
        """Undo one `pin`."""
        for name in names:
            self._pins[name] -= 1
            if self._pins[name] <= 0:
                del self._pins[name]

    def put(self, name: str, data: bytes) -> None:
        """Keep an asset.

        Raises:
            AssetRefused: `name` is not the content hash of `data`.
            AssetTooLarge: it exceeds a limit.
            AssetNotKept: it could not be written.
        """
        if not is_content_hash(name):
            raise AssetRefused(f"asset.hash is {name[:80]!r}; it must be 64 lower-case hexadecimal digits (SHA-256)")
        if name in self:
            return
        if len(data) > self._limits.asset_bytes:
            raise AssetTooLarge(
                f"asset {name} has {len(data)} bytes; this worker takes at most {self._limits.asset_bytes}"
            )
        found = content_hash(data)
        if found != name:
            raise AssetRefused(f"asset.hash is {name}, but the hash of its {len(data)} bytes is {found}")
        check_decoded_size(name, data, self._limits)
        self._make_room(name, len(data))
        part = self._folder / f"{name}.part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)  # Something may have removed it.
            part.write_bytes(data)
            part.rename(self._folder / name)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise AssetNotKept(
                f"asset {name} of {len(data)} bytes cannot be written to the worker's disk: {error.strerror}"
            ) from error
        self._sizes[name] = len(data)
        self._total += len(data)

    def _make_room(self, name: str, size: int) -> None:
        excess = self._total + size - self._limits.cache_bytes
        victims = []
        for victim, victim_size in self._sizes.items():
            if excess <= 0:
                break
            if not self._pins[victim]:
                victims.append(victim)
                excess -= victim_size
        if excess > 0:
            raise AssetTooLarge(
                f"asset {name} of {size} bytes does not fit: assets in use fill the worker's cache of "
                f"{self._limits.cache_bytes}"
            )
        for victim in victims:
            (self._folder / victim).unlink(missing_ok=True)
            self._forget(victim)

    def _forget(self, name: str) -> None:
        self._total -= self._sizes.pop(name)
