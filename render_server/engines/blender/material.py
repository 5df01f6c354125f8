# mypy: disable-error-code="attr-defined, misc, operator, union-attr"
"""Surfaces of meshes."""

from collections.abc import Mapping
from pathlib import Path

import bpy
import numpy as np
from metasim.v1 import scene_pb2

from render_server.engines.blender.nodes import NodeTree
from render_server.engines.textures import decode
from render_server.errors import AssetMissing, InvalidTask
from render_server.scene.scene_graph import DEFAULT_BASE_COLOR

#: Properties of objects that their materials read.
_COLOUR, _ROUGHNESS, _EMISSION = "metasim_colour", "metasim_roughness", "metasim_emission"
_LABELS, _TRANSLUCENT = "metasim_labels", "metasim_translucent"
#: The largest number below one half in single precision: an opacity of one half is above it.
_BELOW_HALF = 0.49999997

_DEFAULT_ROUGHNESS = 0.5
_GREY = scene_pb2.Color(red=DEFAULT_BASE_COLOR, green=DEFAULT_BASE_COLOR, blue=DEFAULT_BASE_COLOR)


def surface(texture: str, assets: Mapping[str, Path], field: str, *, glows: bool) -> bpy.types.Material:
    """Return a material that reads colour, roughness or emission from the object that shows it; see `show_material`.

    It is a Principled BSDF, or an emission alone if it glows: a surface that might do either would be a lamp to Cycles.

    Args:
        texture: content hash of its texture; empty: none.
        field: path of the material in the task, for errors.

    Raises:
        AssetMissing: the texture is not among the assets.
        InvalidTask: the texture is no PNG.
    """
    image = _image(texture, assets, f"{field}.texture") if texture else None
    material = bpy.data.materials.new("surface")
    tree = NodeTree(material)
    colour = tree.object_attribute(_COLOUR, "Color")
    if image is not None:
        node = tree.add("ShaderNodeTexImage")
        node.image = image
        colour = tree.vector("MULTIPLY", node.outputs["Color"], colour)
    if glows:
        shader = tree.add("ShaderNodeEmission", Color=colour, Strength=tree.object_attribute(_EMISSION, "Fac"))
    else:
        roughness = tree.object_attribute(_ROUGHNESS, "Fac")
        shader = tree.add("ShaderNodeBsdfPrincipled", Base_Color=colour, Roughness=roughness)
    tree.output(shader.outputs[0])
    return material


def show_material(item: bpy.types.Object, wire: scene_pb2.Material) -> None:
    """Set the properties of an object that its `surface` reads."""
    colour = wire.base_color if wire.HasField("base_color") else _GREY
    item[_COLOUR] = (colour.red, colour.green, colour.blue)
    item[_ROUGHNESS] = wire.roughness if wire.HasField("roughness") else _DEFAULT_ROUGHNESS
    item[_EMISSION] = wire.emission
    item.update_tag()


def split_opacity(material: bpy.types.Material) -> None:
    """Make a file's material ready for `show_labels`, where it is translucent.

    Cycles decides at random whether a ray passes a translucent surface. Labels must not depend on that: for them,
    surfaces whose opacity is at least one half are opaque and others are absent.
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
    """Return whether an object shows a material that `split_opacity` has changed."""
    return any(slot.material is not None and _TRANSLUCENT in slot.material for slot in item.material_slots)


def show_labels(item: bpy.types.Object, wanted: bool) -> None:
    """Make the translucent surfaces of an object either opaque or absent, or translucent again."""
    item[_LABELS] = float(wanted)
    item.update_tag()


def own_surface(mesh: bpy.types.Mesh) -> bpy.types.Material:
    """Return the surface of a file without materials: its vertex colours, else grey."""
    material = bpy.data.materials.new("own")
    tree = NodeTree(material)
    colour: tuple[float, ...] | bpy.types.NodeSocket = (_GREY.red, _GREY.green, _GREY.blue, 1.0)
    if mesh.color_attributes:
        node = tree.add("ShaderNodeVertexColor")
        node.layer_name = mesh.color_attributes[0].name
        colour = node.outputs["Color"]
    tree.output(tree.add("ShaderNodeBsdfPrincipled", Base_Color=colour, Roughness=_DEFAULT_ROUGHNESS).outputs[0])
    return material


def _image(texture: str, assets: Mapping[str, Path], field: str) -> bpy.types.Image:
    if texture not in assets:
        raise AssetMissing([texture])
    try:
        pixels = decode(assets[texture])
    except ValueError as error:
        raise InvalidTask(
            field, f"{texture}, which cannot be decoded ({error})", "it must be the content hash of a PNG"
        ) from error
    height, width, _ = pixels.shape
    image = bpy.data.images.new("texture", width, height, alpha=True)
    image.colorspace_settings.name = "sRGB"
    image.alpha_mode = "CHANNEL_PACKED"
    image.pixels.foreach_set(np.ascontiguousarray(pixels[::-1]).ravel())
    image.update()
    return image
