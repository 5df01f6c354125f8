# mypy: disable-error-code="attr-defined, misc, operator, union-attr"
"""Surfaces of meshes."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import bpy
import numpy as np
from metasim.v1 import scene_pb2

from render_server.engines.blender.nodes import NodeTree, Value
from render_server.engines.textures import decode
from render_server.errors import AssetMissing, InvalidTask
from render_server.scene.scene_graph import DEFAULT_BASE_COLOR

#: Properties of objects that materials read.
_COLOUR, _ROUGHNESS, _EMISSION = "metasim_colour", "metasim_roughness", "metasim_emission"
_METALLIC, _SPECULAR = "metasim_metallic", "metasim_specular"
_OPACITY, _UV_SCALE = "metasim_opacity", "metasim_uv_scale"
_LABELS, _TRANSLUCENT = "metasim_labels", "metasim_translucent"
#: The largest single-precision number below one half, so that an opacity of one half exceeds it.
_BELOW_HALF = 0.49999997

_DEFAULT_ROUGHNESS = 0.5
_GREY = scene_pb2.Color(red=DEFAULT_BASE_COLOR, green=DEFAULT_BASE_COLOR, blue=DEFAULT_BASE_COLOR)


class SurfaceKey(NamedTuple):
    """The key of a material. Meshes with the same key share a material; its numbers are set per object."""

    texture: str
    normal: str
    roughness: str
    metallic: str
    glows: bool
    #: Whether metallic or specular are not the default.
    shines: bool
    translucent: bool
    scaled: bool


def surface_key(wire: scene_pb2.Material) -> SurfaceKey:
    """Return the key of a material."""
    return SurfaceKey(
        texture=wire.texture,
        normal=wire.normal_texture,
        roughness=wire.roughness_texture,
        metallic=wire.metallic_texture,
        glows=wire.emission > 0,
        shines=wire.HasField("metallic") or wire.HasField("specular") or bool(wire.metallic_texture),
        translucent=wire.HasField("opacity") and wire.opacity < 1,
        scaled=wire.HasField("uv_scale") and wire.uv_scale != 1,
    )


def surface(key: SurfaceKey, assets: Mapping[str, Path], field: str) -> bpy.types.Material:
    """Return a material that reads its numbers and colour from its object; see `show_material`.

    It is a Principled BSDF, or only an emission if it glows, because Cycles samples any surface that may emit as a
    lamp.

    Args:
        field: path of the material in the task, for errors.

    Raises:
        AssetMissing: a texture is not among the assets.
        InvalidTask: a texture is not a PNG.
    """
    material = bpy.data.materials.new("surface")
    tree = NodeTree(material)
    places: dict[str, Value] = {}
    if key.scaled:
        uv = tree.add("ShaderNodeTexCoord").outputs["UV"]
        places["Vector"] = tree.vector("MULTIPLY", uv, tree.object_attribute(_UV_SCALE, "Fac"))

    def texel(name: str, content_hash: str, *, data: bool = True) -> bpy.types.NodeSocket:
        node = tree.add("ShaderNodeTexImage", **places)
        node.image = _image(content_hash, assets, f"{field}.{name}", data=data)
        return node.outputs["Color"]

    def number(attribute: str, name: str, content_hash: str) -> bpy.types.NodeSocket:
        own = tree.object_attribute(attribute, "Fac")
        return tree.math("MULTIPLY", own, texel(name, content_hash)) if content_hash else own

    colour = tree.object_attribute(_COLOUR, "Color")
    if key.texture:
        colour = tree.vector("MULTIPLY", texel("texture", key.texture, data=False), colour)
    if key.glows:
        shader = tree.add("ShaderNodeEmission", Color=colour, Strength=tree.object_attribute(_EMISSION, "Fac"))
        tree.output(shader.outputs[0])
        return material
    inputs: dict[str, Value] = {"Roughness": number(_ROUGHNESS, "roughness_texture", key.roughness)}
    if key.shines:
        inputs["Metallic"] = number(_METALLIC, "metallic_texture", key.metallic)
        inputs["Specular_IOR_Level"] = tree.object_attribute(_SPECULAR, "Fac")
    if key.normal:
        bump = tree.add("ShaderNodeNormalMap", Color=texel("normal_texture", key.normal))
        inputs["Normal"] = bump.outputs["Normal"]
    if key.translucent:
        inputs["Alpha"] = tree.object_attribute(_OPACITY, "Fac")
    tree.output(tree.add("ShaderNodeBsdfPrincipled", Base_Color=colour, **inputs).outputs[0])
    if key.translucent:
        split_opacity(material)
    return material


def show_material(item: bpy.types.Object, wire: scene_pb2.Material) -> None:
    """Set the properties of an object that its material reads."""
    colour = wire.base_color if wire.HasField("base_color") else _GREY
    item[_COLOUR] = (colour.red, colour.green, colour.blue)
    roughness = 1.0 if wire.roughness_texture else _DEFAULT_ROUGHNESS
    item[_ROUGHNESS] = wire.roughness if wire.HasField("roughness") else roughness
    item[_METALLIC] = wire.metallic if wire.HasField("metallic") else float(bool(wire.metallic_texture))
    item[_SPECULAR] = wire.specular if wire.HasField("specular") else 0.5
    item[_OPACITY] = wire.opacity if wire.HasField("opacity") else 1.0
    item[_UV_SCALE] = wire.uv_scale if wire.HasField("uv_scale") else 1.0
    item[_EMISSION] = wire.emission
    item.update_tag()


def split_opacity(material: bpy.types.Material) -> None:
    """Prepare a translucent material of a file for `show_labels`.

    Cycles decides randomly whether a ray passes a translucent surface. Labels must not depend on that, so surfaces
    count as opaque if their opacity is at least one half, and as absent otherwise.
    """
    tree = NodeTree(material, keep=True)
    for socket in tree.opacities():
        opacity = tree.source(socket)
        if not isinstance(opacity, float) or opacity < 1.0:
            shown = tree.math("GREATER_THAN", opacity, _BELOW_HALF)
            labels = tree.object_attribute(_LABELS, "Fac")
            tree.feed(socket, tree.math("MULTIPLY_ADD", labels, tree.math("SUBTRACT", shown, opacity), opacity))
            material[_TRANSLUCENT] = True


def is_translucent(item: bpy.types.Object) -> bool:
    """Return whether an object has a material that `split_opacity` has changed."""
    return any(slot.material is not None and _TRANSLUCENT in slot.material for slot in item.material_slots)


def show_labels(item: bpy.types.Object, wanted: bool) -> None:
    """Make the translucent surfaces of an object either opaque or absent, or translucent again."""
    item[_LABELS] = float(wanted)
    item.update_tag()


def own_surface(mesh: bpy.types.Mesh) -> bpy.types.Material:
    """Return the surface of a file without materials: its vertex colours, otherwise grey."""
    material = bpy.data.materials.new("own")
    tree = NodeTree(material)
    colour: tuple[float, ...] | bpy.types.NodeSocket = (_GREY.red, _GREY.green, _GREY.blue, 1.0)
    if mesh.color_attributes:
        node = tree.add("ShaderNodeVertexColor")
        node.layer_name = mesh.color_attributes[0].name
        colour = node.outputs["Color"]
    tree.output(tree.add("ShaderNodeBsdfPrincipled", Base_Color=colour, Roughness=_DEFAULT_ROUGHNESS).outputs[0])
    return material


def _image(texture: str, assets: Mapping[str, Path], field: str, *, data: bool) -> bpy.types.Image:
    if texture not in assets:
        raise AssetMissing([texture])
    try:
        pixels = decode(assets[texture])
    except ValueError as error:
        raise InvalidTask(
            field, f"{texture}, which cannot be decoded ({error})", "it must be the content hash of a PNG"
        ) from error
    height, width, _ = pixels.shape
    image = bpy.data.images.new("texture", width, height, alpha=True, is_data=data)
    image.colorspace_settings.name = "Non-Color" if data else "sRGB"
    image.alpha_mode = "CHANNEL_PACKED"
    image.pixels.foreach_set(np.ascontiguousarray(pixels[::-1]).ravel())
    image.update()
    return image
