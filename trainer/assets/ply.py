"""PLY files: what their headers say, and their meshes with colours or textures."""

import io
import re
from pathlib import Path

import numpy as np
from metasim.colour import srgb_to_linear
from PIL import Image

from trainer.assets.image_assets import decoded
from trainer.assets.procedural.glb_writer import Surface, glb_bytes
from trainer.assets.procedural.shape import Shape
from trainer.errors import InputError

_TEXTURE = re.compile(rb"^comment\s+TextureFile\s+(.+?)\s*$", re.MULTILINE | re.IGNORECASE)
#: Names of the properties that hold texture coordinates, of vertices and of faces.
_UV = re.compile(rb"^property\s+(?:list\s+\w+\s+)?\w+\s+(?:s|u|texture_u|texcoord)\s*$", re.MULTILINE)
#: Longest header that is searched.
_HEADER_BYTES = 1 << 16


def header(path: Path) -> bytes:
    """Return the header of a file, or its beginning where the header has no end.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_HEADER_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    end = data.find(b"end_header")
    return (data if end < 0 else data[:end]).replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def has_uvs(path: Path) -> bool:
    """Whether the header declares texture coordinates."""
    return _UV.search(header(path)) is not None


def texture_name(path: Path) -> str | None:
    """Return the image that a `comment TextureFile` of the header names; None if there is none."""
    found = _TEXTURE.search(header(path))
    return None if found is None else found[1].decode("utf-8", errors="replace")


def textured_ply_as_glb(path: Path) -> bytes:
    """Return a PLY file that names a texture as GLB, with the texture inside.

    Raises:
        InputError: the file or its texture cannot be read.
    """
    shape, surface, colors = read_ply(path)
    return glb_bytes([(shape, surface)], [colors])


def read_ply(path: Path) -> tuple[Shape, Surface | None, np.ndarray | None]:
    """Return the shape in the file's units, its textured surface, and the linear colours of its vertices, [n, 3].

    Raises:
        InputError: the file or its texture cannot be read.
    """
    import trimesh  # Takes a third of a second; most worlds do without.
    from trimesh.exchange.ply import load_ply
    from trimesh.visual import ColorVisuals

    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    try:
        mesh = trimesh.Trimesh(**load_ply(io.BytesIO(content), skip_materials=True), process=False)
    except Exception as error:  # The reader has errors of many kinds for damaged files.
        raise InputError(f"{path} is not a whole PLY file: {' '.join(str(error).split())}") from error
    if not len(mesh.faces) or not np.isfinite(mesh.vertices).all():
        raise InputError(f"{path} holds no mesh: it needs faces and finite vertices")
    uv = getattr(mesh.visual, "uv", None)
    shape = Shape(
        np.asarray(mesh.vertices, dtype=np.float64),
        np.asarray(mesh.vertex_normals, dtype=np.float64),
        np.zeros((len(mesh.vertices), 2)) if uv is None else np.asarray(uv, dtype=np.float64),
        np.asarray(mesh.faces),
    )
    name = texture_name(path)
    if name is not None and uv is not None:
        return shape, Surface(texture=_texture(path, name)), None
    if isinstance(mesh.visual, ColorVisuals) and mesh.visual.kind == "vertex":
        return shape, None, srgb_to_linear(mesh.visual.vertex_colors[:, :3] / 255)
    return shape, None, None


def _texture(path: Path, name: str) -> Image.Image:
    """Return the image that a PLY file refers to, which must lie in the file's folder."""
    beside = path.parent / name.replace("\\", "/")
    if beside.resolve().parent != path.parent.resolve():
        raise InputError(f"{path} refers to the texture {name!r}, which does not lie beside it")
    try:
        data = beside.read_bytes()
    except OSError as error:
        raise InputError(f"{path} refers to {beside}, which cannot be read: {error.strerror}") from error
    return decoded(data, f"{beside}, which {path} refers to,").convert("RGB")
