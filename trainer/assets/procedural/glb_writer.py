"""Writer of meshes as binary glTF with embedded textures, so that a model travels as one file.

https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html. Shapes stand in the frame of our scenes, z up; in the file y
is up, and whoever reads it turns it back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from metasim.colour import srgb_to_linear
from metasim.glb import pack_glb
from PIL import Image

from trainer.assets.image_assets import mime_type, png_bytes
from trainer.assets.procedural.shape import Shape
from trainer.errors import InputError

# Section 3.6.2.2 "Accessor data types", 3.6.2.4 "bufferView.target".
_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125
_VERTICES, _INDICES = 34962, 34963


@dataclass(frozen=True)
class Surface:
    """The material of a shape."""

    #: Red, green, blue in linear light, 0 to 1; multiplies the texture.
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    #: RGB or RGBA in sRGB, or a PNG or JPEG file; None: the colour alone. Repeats outside of 0 to 1.
    texture: Image.Image | bytes | None = field(default=None, repr=False)
    roughness: float = 0.5
    metallic: float = 0.0
    #: Multiplies the texture's opacity.
    opacity: float = 1.0
    #: What opacity below 1 means (section 3.9.4): OPAQUE, nothing; MASK, a hole below one half; BLEND, light passes.
    alpha_mode: str = "OPAQUE"


def linear(color: str) -> tuple[float, float, float]:
    """Return the linear red, green and blue of an sRGB colour `#rrggbb`."""
    light = srgb_to_linear(np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255)
    return float(light[0]), float(light[1]), float(light[2])


def glb_bytes(parts: Sequence[tuple[Shape, Surface | None]], colors: Sequence[np.ndarray | None] = ()) -> bytes:
    """Return a GLB file of one mesh with a primitive for each part. The same parts give the same bytes.

    Args:
        parts: shapes and their surfaces; None: no material, for a part that is shown in the colours of its vertices.
        colors: for each part, if given, the colours of its vertices: [n, 3] in linear light, 0 to 1.

    Raises:
        InputError: there is no part, or arrays of a part do not fit together.
    """
    if not parts:
        raise InputError("a model has no parts; at least one is needed")
    buffer = _Buffer()
    materials: list[dict] = []
    images: list[dict] = []
    known: dict[int, int] = {}  # Material of each surface, by its identity
    primitives = []
    for number, (shape, surface) in enumerate(parts):
        _check(shape, number)
        points, normals = (_y_up(values) for values in (shape.points, shape.normals))
        attributes = {
            "POSITION": buffer.vectors(points, bounds=True),
            "NORMAL": buffer.vectors(normals),
            # Section 3.8.3: v runs downwards.
            "TEXCOORD_0": buffer.vectors(np.stack((shape.uvs[:, 0], 1 - shape.uvs[:, 1]), axis=1)),
        }
        if colors and (own := colors[number]) is not None:
            attributes["COLOR_0"] = buffer.vectors(own)
        primitive: dict = {"attributes": attributes, "indices": buffer.indices(shape.triangles)}
        if surface is not None:
            if id(surface) not in known:
                known[id(surface)] = len(materials)
                materials.append(_material(surface, images, buffer))
            primitive["material"] = known[id(surface)]
        primitives.append(primitive)
    document = {
        "asset": {"version": "2.0", "generator": "metasim"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": primitives}],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    if materials:
        document["materials"] = materials
    if images:
        document |= {"images": images, "textures": [{"source": place} for place in range(len(images))]}
    return pack_glb(document, bytes(buffer.data))


class _Buffer:
    """The binary chunk with its buffer views and accessors."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict] = []
        self.accessors: list[dict] = []

    def add(self, content: bytes, target: int | None = None) -> int:
        self.data += b"\0" * (-len(self.data) % 4)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)}
        self.views.append(view if target is None else {**view, "target": target})
        self.data += content
        return len(self.views) - 1

    def vectors(self, values: np.ndarray, *, bounds: bool = False) -> int:
        packed = np.ascontiguousarray(values, dtype="<f4")
        accessor = {
            "bufferView": self.add(packed.tobytes(), _VERTICES),
            "componentType": _FLOAT,
            "count": len(packed),
            "type": f"VEC{packed.shape[1]}",
        }
        if bounds:
            accessor |= {"min": packed.min(axis=0).tolist(), "max": packed.max(axis=0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def indices(self, triangles: np.ndarray) -> int:
        small = triangles.max() < 2**16 - 1
        packed = np.ascontiguousarray(triangles, dtype="<u2" if small else "<u4")
        self.accessors.append(
            {
                "bufferView": self.add(packed.tobytes(), _INDICES),
                "componentType": _UINT16 if small else _UINT32,
                "count": packed.size,
                "type": "SCALAR",
            }
        )
        return len(self.accessors) - 1


def _material(surface: Surface, images: list[dict], buffer: _Buffer) -> dict:
    look: dict = {
        "baseColorFactor": [*surface.color, surface.opacity],
        "roughnessFactor": surface.roughness,
        "metallicFactor": surface.metallic,
    }
    if surface.texture is not None:
        texture = surface.texture if isinstance(surface.texture, bytes) else png_bytes(surface.texture)
        look["baseColorTexture"] = {"index": len(images)}
        images.append({"bufferView": buffer.add(texture), "mimeType": mime_type(texture)})
    material: dict = {"pbrMetallicRoughness": look}
    if surface.alpha_mode != "OPAQUE":
        material["alphaMode"] = surface.alpha_mode
    if surface.alpha_mode == "MASK":
        material["alphaCutoff"] = 0.5
    return material


def _y_up(vectors: np.ndarray) -> np.ndarray:
    return np.stack((vectors[:, 0], vectors[:, 2], -vectors[:, 1]), axis=1)


def _check(shape: Shape, number: int) -> None:
    count = len(shape.points)
    sizes = {"points": (count, 3), "normals": (count, 3), "uvs": (count, 2), "triangles": (len(shape.triangles), 3)}
    for name, wanted in sizes.items():
        found = np.shape(getattr(shape, name))
        if found != wanted:
            raise InputError(f"{name} of part {number} are {found}; with {count} points they must be {wanted}")
    if not len(shape.triangles) or shape.triangles.min() < 0 or shape.triangles.max() >= count:
        raise InputError(f"part {number} needs triangles whose corners are among its vertices 0 to {count - 1}")
