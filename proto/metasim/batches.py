"""Messages of several requests or replies, each serialized by itself."""

from collections import deque
from collections.abc import Iterator

#: Bounds of a message with more than one request or reply (RenderRequests, RenderReplies).
MAX_COUNT, MAX_BYTES = 64, 64 << 10

#: Field 1, of bytes: the list in either message.
_TAG = b"\x0a"


def take_batch(waiting: deque[bytes]) -> tuple[bytes, int]:
    """Take as many elements from the left as may travel together, at least one.

    Args:
        waiting: serialized RenderRequests' or RenderReplies' elements, not empty.

    Returns:
        The serialized RenderRequests or RenderReplies, and the size of what was taken.
    """
    parts: list[bytes] = []
    size = count = 0
    while waiting and (not count or (count < MAX_COUNT and size + len(waiting[0]) <= MAX_BYTES)):
        message = waiting.popleft()
        parts += [_TAG, _varint(len(message)), message]
        size += len(message)
        count += 1
    return b"".join(parts), size


def split_batch(data: bytes) -> Iterator[bytes]:
    """Yield the serialized requests or replies of a message.

    Raises:
        ValueError: it holds something else, or more than may travel together.
    """
    at = count = 0
    while at < len(data):
        if data[at] != _TAG[0]:
            raise ValueError(f"byte {at} begins another field than 1")
        length, begin = _read_varint(data, at + 1)
        at = begin + length
        count += 1
        if at > len(data):
            raise ValueError(f"element {count} is longer than the message")
        if count > MAX_COUNT or (count > 1 and at > MAX_BYTES + 8 * MAX_COUNT):
            raise ValueError(f"more than {MAX_COUNT} elements, or several with more than {MAX_BYTES} bytes")
        yield data[begin:at]


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at a position, and where it ends."""
    number = 0
    for shift in range(0, 35, 7):
        if at == len(data):
            break
        digit = data[at]
        at += 1
        number |= (digit & 127) << shift
        if digit < 128:
            return number, at
    raise ValueError("a length is not complete")


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)
