"""Where the files come from that scenes refer to by content hash."""

from collections.abc import Callable

from metasim.hashing import content_hash

#: Content hash to bytes; asked only for what a worker lacks, from the pool's own thread. KeyError: no such asset.
AssetSource = Callable[[str], bytes]


class AssetStore:
    """Keeps assets in memory. An `AssetSource`."""

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}

    def add(self, data: bytes) -> str:
        """Keeps `data` and returns its content hash."""
        name = content_hash(data)
        self._data[name] = data
        return name

    def __call__(self, name: str) -> bytes:
        return self._data[name]

    def __len__(self) -> int:
        return len(self._data)
