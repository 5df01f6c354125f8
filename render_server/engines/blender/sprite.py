# mypy: disable-error-code="attr-defined, union-attr"
"""Sprites in Blender: textured, emitting faces, blended as in the raster engine."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import bpy
import numpy as np

from render_server.engines.blender.nodes import NodeTree
from render_server.engines.textures import Texture

#: Materials kept for later tasks.
_MAX_IDLE = 64


@dataclass
class _Slot:
    """A material and its float image."""

    shape: tuple[int, ...]
    standard: bool
    image: bpy.types.Image
    material: bpy.types.Material
    texture_hash: str = ""


class SpriteMaterials:
    """Materials for textures. Tasks reuse them and replace only the pixels of their images."""

    def __init__(self) -> None:
        self._slots: list[_Slot] = []  # Most recently used last

    def of(self, textures: Iterable[tuple[str, Texture]], *, standard: bool) -> dict[str, bpy.types.Material]:
        """Return a material for each texture, by content hash. They are valid until the next call.

        Args:
            textures: pairs of content hash and texture.
            standard: interpolate texels as display values, then decode them to linear light.
        """
        wanted = dict(textures)
        used = {
            slot.texture_hash: slot for slot in self._slots if slot.standard == standard and slot.texture_hash in wanted
        }
        for texture_hash, texture in wanted.items():
            if texture_hash not in used:
                used[texture_hash] = self._filled(texture_hash, texture, standard, list(used.values()))
        busy = list(used.values())
        idle = [slot for slot in self._slots if not any(slot is other for other in busy)]
        for slot in idle[: max(0, len(idle) - _MAX_IDLE)]:
            bpy.data.materials.remove(slot.material)
            bpy.data.images.remove(slot.image)
        self._slots = idle[max(0, len(idle) - _MAX_IDLE) :] + busy
        return {texture_hash: slot.material for texture_hash, slot in used.items()}

    def _filled(self, texture_hash: str, texture: Texture, standard: bool, busy: Sequence[_Slot]) -> _Slot:
        shape = texture.padded.shape
        for slot in self._slots:
            if slot.shape == shape and slot.standard == standard and not any(slot is other for other in busy):
                break
        else:
            # Cycles does not convert float images marked as non-colour data: premultiplied display values.
            image = bpy.data.images.new("sprite", shape[1], shape[0], alpha=True, float_buffer=True, is_data=True)
            image.alpha_mode = "CHANNEL_PACKED"
            slot = _Slot(shape, standard, image, _material(image, standard))
            self._slots.append(slot)
        # Blender's first row is the lowest.
        slot.image.pixels.foreach_set(np.ascontiguousarray(texture.padded[::-1]).ravel())
        slot.image.update()
        slot.texture_hash = texture_hash
        return slot


def fill_faces(
    mesh: bpy.types.Mesh,
    points: np.ndarray,
    uv: np.ndarray,
    tints: np.ndarray,
    sizes: np.ndarray,
    material: bpy.types.Material,
) -> None:
    """Replace a mesh by polygons that show a sprite's padded texture.

    Args:
        points: [n, 3] corners, polygon after polygon.
        uv: [n, 2] where each corner lies in the texture; (0, 0) is its lower left corner.
        tints: [n, 3] multiplies the texture's colour.
        sizes: [polygons] number of corners of each.
    """
    count = len(points)
    mesh.clear_geometry()
    mesh.vertices.add(count)
    mesh.loops.add(count)
    mesh.polygons.add(len(sizes))
    mesh.vertices.foreach_set("co", points.astype(np.float32).ravel())
    mesh.loops.foreach_set("vertex_index", np.arange(count, dtype=np.int32))
    mesh.polygons.foreach_set("loop_start", (np.cumsum(sizes) - sizes).astype(np.int32))
    mesh.attributes.new("uv", "FLOAT2", "CORNER").data.foreach_set("vector", uv.astype(np.float32).ravel())
    mesh.attributes.new("tint", "FLOAT_VECTOR", "CORNER").data.foreach_set("vector", tints.astype(np.float32).ravel())
    mesh.update(calc_edges=True)
    if len(mesh.materials) == 1:
        mesh.materials[0] = material
    else:
        mesh.materials.append(material)


def _material(image: bpy.types.Image, standard: bool) -> bpy.types.Material:
    """Return a material that adds the premultiplied texture to the light that its opacity lets through."""
    material = bpy.data.materials.new("sprite")
    # A sprite does not light other objects.
    material.cycles.emission_sampling = "NONE"
    tree = NodeTree(material)
    texture = tree.add("ShaderNodeTexImage", Vector=tree.attribute("uv"))
    texture.image = image
    texture.interpolation = "Linear"
    texture.extension = "EXTEND"
    colour, alpha = texture.outputs["Color"], texture.outputs["Alpha"]
    if standard:
        straight = tree.vector("DIVIDE", colour, tree.math("MAXIMUM", alpha, 1e-20))
        colour = tree.vector("MULTIPLY", tree.srgb_to_linear(straight), alpha)
    colour = tree.vector("MULTIPLY", colour, tree.attribute("tint"))
    light = tree.add("ShaderNodeEmission", Color=colour).outputs[0]
    rest = tree.add("ShaderNodeBsdfTransparent", Color=tree.math("SUBTRACT", 1.0, alpha)).outputs[0]
    tree.output(tree.sum(light, rest))
    return material
