"""The decoded size of an asset, read from its headers alone.

A few bytes may claim gigabytes. The claim of a file is checked when it arrives. Whether the claim is true, and whether
the file can be read at all, the engine finds out that reads it.
"""

import base64
import json
import math
import re
import struct
from collections.abc import Iterator
from typing import Any

from render_server.errors import RenderServerError
from render_server.limits import Limits

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_SIZE = struct.Struct(">II")
_EXR = b"\x76\x2f\x31\x01"
_EXR_WINDOW = b"dataWindow\0box2i\0\x10\0\0\0"
_HDR_SIZE = re.compile(rb"[-+]Y (\d{1,9}) [-+]X (\d{1,9})")
_GLB_HEADER = struct.Struct("<4sIIII")
_GLB_JSON, _GLB_BINARY = 0x4E4F534A, 0x004E4942
#: The JSON of a GLB file takes twenty times its size once it is parsed.
_MAX_GLB_JSON_BYTES = 8 << 20
_PLY_ELEMENT = re.compile(rb"^\s*element\s+\S+\s+(\S+)", re.MULTILINE)


class AssetRefused(RenderServerError):  # noqa: N818
    """The asset does not match its hash, or exceeds a limit."""


class AssetTooLarge(AssetRefused):
    """One asset, or all assets in use together, exceed the worker's limits."""


def check_decoded_size(name: str, data: bytes, limits: Limits) -> None:
    """Check the size that a PNG, OpenEXR, HDR, GLB or PLY file claims. Other files are accepted as they are.

    Args:
        name: content hash, for error messages.

    Raises:
        AssetTooLarge: an image has more than `limits.texture_pixels`, or a mesh more than `limits.vertices`.
    """
    if data.startswith(_PNG):
        _check_pixels(name, data, limits)
    elif data.startswith(_EXR):
        at = data.find(_EXR_WINDOW, 0, _HEAD)
        if at >= 0 and len(data) >= at + len(_EXR_WINDOW) + 16:
            left, top, right, bottom = struct.unpack_from("<4i", data, at + len(_EXR_WINDOW))
            _check_size(name, "OpenEXR image", right - left + 1, bottom - top + 1, limits)
    elif data.startswith(b"#?"):
        if match := _HDR_SIZE.search(data[:65536]):
            _check_size(name, "HDR image", int(match[2]), int(match[1]), limits)
    elif data.startswith(b"glTF"):
        _check_glb(name, data, limits)
    elif data.startswith(b"ply"):
        header = data[: max(data.find(b"end_header"), 0) or 65536]
        for match in _PLY_ELEMENT.finditer(header):
            _check_count(name, "elements of one kind", match[1].decode("ascii", "replace"), limits)


def _check_pixels(name: str, image: bytes, limits: Limits) -> None:
    if len(image) < 24:
        return
    width, height = _PNG_SIZE.unpack_from(image, 16)
    _check_size(name, "PNG", width, height, limits)


def _check_size(name: str, what: str, width: int, height: int, limits: Limits) -> None:
    if width * height > limits.texture_pixels:
        raise AssetTooLarge(
            f"asset {name} holds a{'n' if what[0] in 'OH' else ''} {what} of {width} x {height} pixels; "
            f"this worker takes at most {limits.texture_pixels} pixels"
        )


def _check_count(name: str, what: str, count: Any, limits: Limits) -> None:
    try:
        number = float(count)
    except (TypeError, ValueError, OverflowError):
        return
    if not number <= limits.vertices:
        shown = f"{number:.6g}" if math.isfinite(number) else "infinitely many"
        raise AssetTooLarge(f"asset {name} claims {shown} {what}; this worker takes at most {limits.vertices}")


def _check_glb(name: str, data: bytes, limits: Limits) -> None:
    if len(data) < _GLB_HEADER.size:
        return
    _, _, _, length, kind = _GLB_HEADER.unpack_from(data)
    if kind != _GLB_JSON:
        return
    if length > _MAX_GLB_JSON_BYTES:
        raise AssetTooLarge(
            f"asset {name} has a GLB header of {length} bytes; this worker takes at most {_MAX_GLB_JSON_BYTES}"
        )
    try:
        content = json.loads(data[_GLB_HEADER.size : _GLB_HEADER.size + length])
        if not isinstance(content, dict):
            return
        _check_meshes(name, content, limits)
        for image in _images(content, _binary_chunk(data, _GLB_HEADER.size + length)):
            if image.startswith(_PNG):
                _check_pixels(name, image, limits)
            elif image.startswith(b"\xff\xd8"):
                _check_jpeg(name, image, limits)
    except (ValueError, RecursionError, TypeError, KeyError, IndexError, AttributeError, struct.error, OverflowError):
        return  # Damaged: the engine reports it.


def _check_meshes(name: str, content: dict[str, Any], limits: Limits) -> None:
    """Check what all nodes draw together: a mesh that is placed a million times is joined a million times."""
    accessors = [accessor.get("count", 0) for accessor in content.get("accessors", [])]
    for count in accessors:
        _check_count(name, "values in an accessor", count, limits)
    sizes = []
    for mesh in content.get("meshes", []):
        used = [index for primitive in mesh.get("primitives", []) for index in _accessors(primitive)]
        sizes.append(sum(float(accessors[index]) for index in used))
    total = sum(sizes[node["mesh"]] for node in content.get("nodes", []) if "mesh" in node)
    _check_count(name, "vertices and corners in all its nodes", max(total, sum(sizes)), limits)


def _accessors(primitive: dict[str, Any]) -> Iterator[int]:
    position = primitive.get("attributes", {}).get("POSITION")
    yield from (index for index in (position, primitive.get("indices")) if index is not None)


def _binary_chunk(data: bytes, at: int) -> memoryview:
    if len(data) < at + 8:
        return memoryview(b"")
    length, kind = struct.unpack_from("<II", data, at)
    return memoryview(data)[at + 8 : at + 8 + length] if kind == _GLB_BINARY else memoryview(b"")


def _images(content: dict[str, Any], binary: memoryview) -> Iterator[bytes]:
    """Yield the beginning of each embedded image."""
    views = content.get("bufferViews", [])
    for image in content.get("images", []):
        uri = image.get("uri")
        if isinstance(uri, str):
            encoded = uri.partition(",")[2][:_HEAD]
            yield base64.b64decode(encoded[: len(encoded) // 4 * 4])
        else:
            view = views[image["bufferView"]]
            start = int(view.get("byteOffset", 0))
            yield bytes(binary[start : start + int(view["byteLength"])][:_HEAD])


#: An image states its size within this many bytes, except JPEGs with long comments, which are not checked.
_HEAD = 1 << 20


def _check_jpeg(name: str, image: bytes, limits: Limits) -> None:
    at = 2
    while at + 9 < len(image):
        marker, length = image[at + 1], int.from_bytes(image[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = int.from_bytes(image[at + 5 : at + 7], "big"), int.from_bytes(image[at + 7 : at + 9], "big")
            if width * height > limits.texture_pixels:
                raise AssetTooLarge(
                    f"asset {name} holds a JPEG of {width} x {height} pixels; "
                    f"this worker takes at most {limits.texture_pixels} pixels"
                )
            return
        at += 2 + length
