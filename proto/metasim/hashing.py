"""Content hashes of assets."""

import hashlib
import re

_HASH = re.compile(r"[0-9a-f]{64}")


def content_hash(data: bytes) -> str:
    """Return the name of an asset on the wire: the lower-case hexadecimal SHA-256 of its bytes."""
    return hashlib.sha256(data).hexdigest()


def is_content_hash(text: str) -> bool:
    """Return whether `text` has the form of a content hash, so that it is never a path."""
    return _HASH.fullmatch(text) is not None
