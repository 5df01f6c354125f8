"""Files that claim more than they should are refused by what their headers say."""

import json
import struct
import zlib
from typing import Any

import pytest
from support.scenes import png
from support.tasks import sprite_png

from render_server.checks.decoded_size import AssetTooLarge, check_decoded_size
from render_server.limits import Limits

LIMITS = Limits(texture_pixels=10_000, vertices=1_000)


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size, and holds nothing."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


def jpeg_of(width: int, height: int) -> bytes:
    comment = b"\xff\xfe" + struct.pack(">H", 7) + b"hello"
    return b"\xff\xd8" + comment + b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + bytes(8)


def glb(content: dict[str, Any], binary: bytes = b"") -> bytes:
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    if binary:
        chunks += struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def with_image(image: bytes) -> bytes:
    views = [{"buffer": 0, "byteOffset": 4, "byteLength": len(image)}]
    return glb({"bufferViews": views, "images": [{"bufferView": 0}]}, b"\0\0\0\0" + image)


def placed(times: int, vertices: int) -> bytes:
    meshes = [{"primitives": [{"attributes": {"POSITION": 0}}]}]
    return glb({"accessors": [{"count": vertices}], "meshes": meshes, "nodes": [{"mesh": 0}] * times})


PLY = "ply\nformat ascii 1.0\nelement vertex {}\nproperty float x\nend_header\n"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (png_of(101, 100), "holds a PNG of 101 x 100 pixels; this worker takes at most 10000 pixels"),
        (png_of(2**31, 2**31), "holds a PNG of 2147483648 x 2147483648 pixels"),
        (with_image(png_of(200, 200)), "holds a PNG of 200 x 200 pixels"),
        (with_image(jpeg_of(60_000, 60_000)), "holds a JPEG of 60000 x 60000 pixels"),
        (placed(1, 1_001), "claims 1001 values in an accessor; this worker takes at most 1000"),
        (placed(11, 100), "claims 1100 vertices and corners in all its nodes; this worker takes at most 1000"),
        (glb({"accessors": [{"count": 1e400}]}), "claims infinitely many values in an accessor"),
        (glb({"accessors": [{"count": float("nan")}]}), "claims infinitely many values in an accessor"),
        (PLY.format(4_000_000_000).encode(), "claims 4e+09 elements of one kind; this worker takes at most 1000"),
        (struct.pack("<4sIIII", b"glTF", 2, 0, 1 << 30, 0x4E4F534A), "has a GLB header of 1073741824 bytes"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_absurd_claims(data: bytes, says: str) -> None:
    with pytest.raises(AssetTooLarge) as caught:
        check_decoded_size("name", data, LIMITS)
    assert str(caught.value).startswith(f"asset name {says}")


@pytest.mark.parametrize(
    "data",
    [
        sprite_png(),
        png_of(100, 100),
        png_of(2**31, 2**31)[:20],
        with_image(png_of(100, 100)),
        with_image(jpeg_of(100, 100)),
        placed(10, 100),
        PLY.format(1000).encode(),
        PLY.format("many").encode(),
        b"",
        b"glTF",
        b"v 0 0 0\n",
        glb({"accessors": 3}),
        glb({"accessors": [3]}),
        glb({"images": [{}]}),
        glb({"meshes": [{"primitives": [{"attributes": {"POSITION": 9}}]}]}),
        glb({"images": [{"uri": "data:image/png;base64,%%%"}]}),
        struct.pack("<4sIIII", b"glTF", 2, 0, 100_000, 0x4E4F534A) + b"[" * 100_000,
    ],
    ids=range(17),
)
def test_everything_else_is_left_to_the_engine(data: bytes) -> None:
    check_decoded_size("name", data, LIMITS)


def test_images_in_the_header_of_a_glb_count_too() -> None:
    import base64

    uri = "data:image/png;base64," + base64.b64encode(png_of(200, 200)).decode()
    with pytest.raises(AssetTooLarge, match="holds a PNG of 200 x 200 pixels"):
        check_decoded_size("name", glb({"images": [{"uri": uri}]}), LIMITS)


def test_the_tests_png_is_one() -> None:
    import numpy as np

    assert png(np.zeros((3, 5), np.uint8))[16:24] == struct.pack(">II", 5, 3)
