"""Sources of the files that scenes refer to by content hash."""

from collections.abc import Callable

from metasim.hashing import content_hash

#: Returns the bytes of a content hash, or raises KeyError. Called from the pool's thread for what a worker lacks.
AssetSource = Callable[[str], bytes]


class AssetStore:
    """Holds assets in memory. An `AssetSource`."""

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}

    def add(self, data: bytes) -> str:
        """Store `data` and return its content hash."""
        name = content_hash(data)
        self._data[name] = data
        return name

    def __call__(self, name: str) -> bytes:
        return self._data[name]

    def __len__(self) -> int:
        return len(self._data)
