"""Binary glTF files made whole: assets travel as one file, so images that lie beside a model are put into it."""

import base64
from pathlib import Path
from urllib.parse import unquote

from metasim import glb
from metasim.glb import pack_glb
from metasim.still_glb import still_glb

from trainer.assets.image_assets import decoded, mime_type
from trainer.errors import InputError


def embed_images(path: Path, root: Path) -> bytes:
    """The bytes of a .glb file with the images that it refers to inside; as they are if it refers to none.

    Args:
        root: images outside of this folder are not read.

    Raises:
        InputError: the file is no GLB, or an image is missing, damaged, outside of `root`, or neither PNG nor JPEG.
    """
    data = _read(path, str(path))
    document, binary = split_glb(data, path)
    _check_buffers(document, path)
    for number, image in enumerate(document.get("images", [])):
        _check_inner_image(image, number, document, binary, path)
    images = [image for image in document.get("images", []) if "uri" in image and not image["uri"].startswith("data:")]
    if not images:
        return data
    buffers = document.setdefault("buffers", [])
    if not buffers:
        buffers.append({"byteLength": 0})
    views = document.setdefault("bufferViews", [])
    packed = bytearray(binary[: buffers[0]["byteLength"]])
    for image in images:
        content, kind = _image(path, root, image.pop("uri"))
        packed += b"\0" * (-len(packed) % 4)
        views.append({"buffer": 0, "byteOffset": len(packed), "byteLength": len(content)})
        image.update(bufferView=len(views) - 1, mimeType=kind)
        packed += content
    buffers[0]["byteLength"] = len(packed)
    return pack_glb(document, bytes(packed))


def split_glb(data: bytes, path: Path) -> tuple[dict, bytes]:
    """Return the glTF document of a GLB file, and the bytes of its binary chunk.

    Raises:
        InputError: the file, of that name, is no GLB.
    """
    try:
        return glb.split_glb(data)
    except ValueError as error:
        raise InputError(f"{path} is not a whole glTF 2.0 binary file, although its name says so") from error


def check_glb(data: bytes, path: Path) -> None:
    """Check that workers can read the shapes of a GLB file.

    Raises:
        InputError: the file, of that name, is damaged or has compressed meshes that move.
    """
    try:
        still_glb(data)
    except ValueError as error:
        raise InputError(f"{path} cannot be used as a mesh: {error}") from error


def has_uvs(path: Path) -> bool:
    """Whether all parts of a GLB file have texture coordinates.

    Raises:
        InputError: the file is no GLB.
    """
    document, _ = split_glb(_read(path, str(path)), path)
    parts = [part for mesh in document.get("meshes", []) for part in mesh.get("primitives", [])]
    return all("TEXCOORD_0" in part.get("attributes", {}) for part in parts)


def _check_buffers(document: dict, path: Path) -> None:
    for buffer in document.get("buffers", []):
        uri = buffer.get("uri", "data:")
        if not uri.startswith("data:"):
            raise InputError(f"{path} refers to the buffer {uri!r}; export it with all data in the GLB file")


def _check_inner_image(image: dict, number: int, document: dict, binary: bytes, path: Path) -> None:
    """
    Raises:
        InputError: an image inside of the file is damaged, or of a format that engines do not read.
    """
    uri = image.get("uri", "")
    if uri.startswith("data:"):
        try:
            data = base64.b64decode(unquote(uri.partition(",")[2]), validate=False)
        except ValueError as error:
            raise InputError(f"{path}: image {number} is no base64 text; export the file again") from error
    elif uri:
        return
    else:
        try:
            view = document["bufferViews"][image["bufferView"]]
            start = view.get("byteOffset", 0)
            data = binary[start : start + view["byteLength"]]
        except (KeyError, IndexError, TypeError) as error:
            raise InputError(f"{path}: image {number} has neither data nor a file; export the file again") from error
    name = f" ({image['name']})" if image.get("name") else ""
    decoded(data, f"{path}: image {number}{name}", None)


def _image(path: Path, root: Path, uri: str) -> tuple[bytes, str]:
    beside = (path.parent / unquote(uri)).resolve()
    if not beside.is_relative_to(root.resolve()):
        raise InputError(f"{path} refers to the image {uri!r}, which lies outside of {root}")
    content = _read(beside, f"{path} refers to {beside}, which")
    found = mime_type(content)
    if found is None:
        raise InputError(f"{path} refers to {beside}, which is neither a PNG nor a JPEG image")
    decoded(content, f"{beside}, which {path} refers to,", None)
    return content, found


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror}") from error
