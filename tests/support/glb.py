"""GLB files for tests."""

import json
import struct
from pathlib import Path

_JSON, _BIN = 0x4E4F534A, 0x004E4942


def embedded(path: Path) -> bytes:
    """A GLB file with the images that lie beside it put inside."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    content = json.loads(data[20 : 20 + length])
    (binary_length,) = struct.unpack_from("<I", data, 20 + length)
    binary = data[28 + length : 28 + length + binary_length]
    for entry in content.get("images", []):
        if "uri" in entry:
            binary += b"\0" * (-len(binary) % 4)
            picture = (path.parent / entry.pop("uri")).read_bytes()
            content["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(picture)})
            entry |= {"bufferView": len(content["bufferViews"]) - 1, "mimeType": "image/png"}
            binary += picture
    binary += b"\0" * (-len(binary) % 4)
    content["buffers"][0]["byteLength"] = len(binary)
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), _JSON) + text + struct.pack("<II", len(binary), _BIN) + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body
