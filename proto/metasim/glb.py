"""GLB files: the two chunks, and the numbers of accessors.

https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html, sections 3.6.2 "Accessors" and 4.4 "GLB file format".
"""

import base64
import binascii
import json
import struct
from typing import Any

import numpy as np

_MAGIC, _VERSION = b"glTF", 2
_JSON, _BINARY = 0x4E4F534A, 0x004E4942
_TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_FLOAT, _UNSIGNED = 5126, 5125
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_NAMES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}


def split_glb(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the glTF document of a GLB file and the bytes of its binary chunk.

    Raises:
        ValueError: the data is no whole GLB file.
    """
    parts: dict[int, bytes] = {}
    try:
        magic, version, length = struct.unpack_from("<4sII", data)
        if magic != _MAGIC or version != _VERSION or length > len(data):
            raise ValueError
        offset = 12
        while offset < length:
            size, kind = struct.unpack_from("<II", data, offset)
            parts.setdefault(kind, data[offset + 8 : offset + 8 + size])
            offset += 8 + size
        document = json.loads(parts[_JSON])
        if not isinstance(document, dict):
            raise ValueError
    except (struct.error, ValueError, KeyError, RecursionError) as error:
        raise ValueError("it is not a whole glTF 2.0 binary file") from error
    return document, parts.get(_BINARY, b"")


def pack_glb(document: dict[str, Any], binary: bytes) -> bytes:
    """Return a GLB file of a glTF document and the bytes of its first buffer."""
    text = json.dumps(document, separators=(",", ":")).encode()
    chunks = _chunk(_JSON, text, b" ") + _chunk(_BINARY, binary, b"\0")
    return _MAGIC + struct.pack("<II", _VERSION, 12 + len(chunks)) + chunks


class Buffers:
    """The numbers of a glTF document. New ones go to the end of its one buffer.

    Args:
        document: changed in place: all its buffers become one.
        binary: bytes of the GLB file's binary chunk.

    Raises:
        ValueError: a buffer lies in another file, or is damaged.
    """

    def __init__(self, document: dict[str, Any], binary: bytes) -> None:
        self._document = document
        self._binary = bytearray()
        starts = []
        for number, buffer in enumerate(document.get("buffers", [])):
            content = _content(buffer, binary if number == 0 else b"", number)
            self._align()
            starts.append(len(self._binary))
            self._binary += content[: buffer["byteLength"]]
        for view in document.setdefault("bufferViews", []):
            view["byteOffset"] = view.get("byteOffset", 0) + starts[view["buffer"]]
            view["buffer"] = 0
        document.setdefault("accessors", [])

    def read(self, index: int) -> np.ndarray:
        """Return an accessor's values, [count, width]; float64 if it is normalised, else of its own type.

        Raises:
            ValueError: the accessor reaches beyond its bytes, or is compressed.
        """
        accessor = self._document["accessors"][index]
        width, count = _WIDTHS[accessor["type"]], accessor["count"]
        kind = np.dtype(_TYPES[accessor["componentType"]])
        if "bufferView" in accessor:
            values = self._values(accessor["bufferView"], accessor.get("byteOffset", 0), kind, count, width)
        else:
            values = np.zeros((count, width), kind)
        sparse = accessor.get("sparse")
        if sparse:
            number, where, what = sparse["count"], sparse["indices"], sparse["values"]
            index_kind = np.dtype(_TYPES[where["componentType"]])
            rows = self._values(where["bufferView"], where.get("byteOffset", 0), index_kind, number, 1)[:, 0]
            if number and int(rows.max()) >= count:
                raise ValueError(f"its accessor {index} replaces values that it does not have")
            values = values.copy()
            values[rows] = self._values(what["bufferView"], what.get("byteOffset", 0), kind, number, width)
        if accessor.get("normalized") and kind.kind in "iu":
            return np.maximum(values / (2.0 ** (8 * kind.itemsize - (kind.kind == "i")) - 1), -1.0)
        return values

    def add(self, values: np.ndarray) -> int:
        """Add an accessor of [count, width] floats, or of unsigned integers, and return its index."""
        whole = values.dtype.kind in "iu"
        packed = np.ascontiguousarray(values, "<u4" if whole else "<f4")
        self._align()
        view = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": packed.nbytes}
        self._document["bufferViews"].append(view)
        self._binary += packed.tobytes()
        accessor: dict[str, Any] = {
            "bufferView": len(self._document["bufferViews"]) - 1,
            "componentType": _UNSIGNED if whole else _FLOAT,
            "count": len(packed),
            "type": _NAMES[packed.shape[1]],
        }
        if len(packed):
            accessor["min"], accessor["max"] = packed.min(axis=0).tolist(), packed.max(axis=0).tolist()
        self._document["accessors"].append(accessor)
        return len(self._document["accessors"]) - 1

    def pack(self) -> bytes:
        """Return the GLB file."""
        if self._binary:
            self._document["buffers"] = [{"byteLength": len(self._binary)}]
        return pack_glb(self._document, bytes(self._binary))

    def _values(self, view_index: int, offset: int, kind: np.dtype, count: int, width: int) -> np.ndarray:
        view = self._document["bufferViews"][view_index]
        if "EXT_meshopt_compression" in view.get("extensions", {}):
            raise ValueError("it is compressed with EXT_meshopt_compression; save it without compression")
        size = width * kind.itemsize
        stride = view.get("byteStride") or size
        start = view["byteOffset"] + offset
        end = start + (stride * (count - 1) + size if count else 0)
        if min(offset, count) < 0 or end > min(len(self._binary), view["byteOffset"] + view["byteLength"]):
            raise ValueError("one of its accessors reaches beyond its bytes")
        data = np.frombuffer(bytes(self._binary[start:end]), np.uint8)
        rows = np.lib.stride_tricks.as_strided(data, (count, size), (stride, 1), writeable=False)
        return np.ascontiguousarray(rows).view(kind).reshape(count, width)

    def _align(self) -> None:
        self._binary += b"\0" * (-len(self._binary) % 4)


def _content(buffer: dict[str, Any], binary: bytes, number: int) -> bytes:
    uri = buffer.get("uri")
    if uri is None:
        content = binary
    elif uri.startswith("data:"):
        try:
            content = base64.b64decode(uri.partition(",")[2], validate=True)
        except binascii.Error as error:
            raise ValueError(f"its buffer {number} is no base64") from error
    else:
        raise ValueError(f"it refers to the file {uri!r}; embed it: assets cannot name paths")
    if len(content) < buffer["byteLength"]:
        raise ValueError(f"its buffer {number} has {len(content)} of {buffer['byteLength']} bytes")
    return content


def _chunk(kind: int, data: bytes, padding: bytes) -> bytes:
    data += padding * (-len(data) % 4)
    return struct.pack("<II", len(data), kind) + data
